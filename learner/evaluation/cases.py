"""Cases as a run sees them: loaded once, varied where a stream is played again, boxed where the paper is compared with."""

from __future__ import annotations

import zlib
from dataclasses import replace

import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from learner.errors import ConfigurationError
from learner.evaluation.folders import LabelledCase
from learner.evaluation.streams import StreamCase

PAPER_GRID_DHW = (30, 55, 55)
"""The paper's code brings every volume to this grid, slices first."""

_VARIATION = 0.1


class CaseLoader:
    """Loads cases; those that are asked for again and again stay in memory.

    Args:
        seed: of the variations of cases that are played again.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._kept: dict[str, LabelledCase] = {}

    def load(self, case: StreamCase, *, keep: bool = False) -> LabelledCase:
        """The volume and its truth.

        Args:
            case: which.
            keep: whether it will be asked for again, as test cases are.

        Raises:
            ConfigurationError: if the files cannot be read.
            DicomIoError: if a DICOM object cannot be read.
        """
        found = self._kept.get(case.key)
        if found is None:
            found = case.task.folders.load(case.name)
            if case.task.boxed:
                found = boxed(found)
            if case.cycle:
                found = varied(found, self.seed_of(case))
            if keep:
                self._kept[case.key] = found
        return found

    def seed_of(self, case: StreamCase) -> int:
        """A seed of its own for each case of a run."""
        return zlib.crc32(f"{self._seed}:{case.key}".encode())


def scribbles_of(case: StreamCase) -> npt.NDArray[np.uint8]:
    """The strokes that somebody drew on a case, slice axis first.

    Raises:
        ConfigurationError: if the task has none.
    """
    if case.task.scribbles is None:
        raise ConfigurationError(f"task {case.task.name} names no folder of scribbles")
    files = [case.task.scribbles / f"{case.name}{ending}" for ending in (".nii.gz", ".nii")]
    file = next((path for path in files if path.exists()), None)
    if file is None:
        raise ConfigurationError(f"{case.task.scribbles} has no strokes for case {case.name}")
    strokes = np.asarray(nibabel.Nifti1Image.from_filename(file).dataobj)
    return np.ascontiguousarray(np.moveaxis(strokes.astype(np.uint8), case.task.axis, 0))


def varied(case: LabelledCase, seed: int) -> LabelledCase:
    """The case as another scan of it might look: other contrast, other noise, shifted by up to two pixels."""
    rng = np.random.default_rng(seed)
    shift = tuple(int(step) for step in rng.integers(-2, 3, size=2))
    deviation = float(case.image_DHW.std()) or 1.0
    noise_DHW = rng.normal(0.0, 0.05 * deviation, case.image_DHW.shape)
    image_DHW = case.image_DHW * rng.uniform(1 - _VARIATION, 1 + _VARIATION) + noise_DHW
    return replace(
        case,
        image_DHW=np.roll(image_DHW.astype(np.float32), shift, axis=(1, 2)),
        labels_DHW=np.roll(case.labels_DHW, shift, axis=(1, 2)),
    )


def boxed(case: LabelledCase) -> LabelledCase:
    """The case cropped to the box of its truth and resampled to :data:`PAPER_GRID_DHW`; as it is where there is no truth."""
    where = ndimage.find_objects((case.labels_DHW > 0).astype(np.uint8))
    if not where:
        return case
    box = where[0]
    factors = [size / (s.stop - s.start) for size, s in zip(PAPER_GRID_DHW, box, strict=True)]
    spacing = [float(old / factor) for old, factor in zip(case.spacing_DHW, factors, strict=True)]
    options = {"grid_mode": True, "mode": "nearest"}
    return replace(
        case,
        image_DHW=ndimage.zoom(case.image_DHW[box], factors, order=1, **options).astype(np.float32),
        labels_DHW=ndimage.zoom(case.labels_DHW[box], factors, order=0, **options),
        spacing_DHW=(spacing[0], spacing[1], spacing[2]),
    )
