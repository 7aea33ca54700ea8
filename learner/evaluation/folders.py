"""Folders of images and labels with the same names: NIfTI files, or one DICOM series a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from dicom_io.annotation import Drawing
from dicom_io.read_annotation import read_annotation
from dicom_io.read_series import read_series
from learner.errors import ConfigurationError

_NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True, eq=False)
class LabelledCase:
    """An image and its truth, slice axis first.

    Attributes:
        name: file name without its ending.
        image_DHW: float32 voxels.
        labels_DHW: uint8 truth.
        spacing_DHW: voxel spacing in mm.
    """

    name: str
    image_DHW: npt.NDArray[np.float32]
    labels_DHW: npt.NDArray[np.uint8]
    spacing_DHW: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class LabelledFolders:
    """Where images and labels lie.

    Attributes:
        images: NIfTI files, or one folder of DICOM images a case.
        labels: NIfTI files of the same names, or for DICOM a SEG: ``<name>.dcm`` or a folder of one file.
        axis: array axis of the NIfTI files that becomes the slice axis; DICOM series have their own.
    """

    images: Path
    labels: Path
    axis: int = 2

    def names(self) -> tuple[str, ...]:
        """Names of the cases, sorted.

        Raises:
            ConfigurationError: if a folder is missing, there is no case in it, or a case has no labels.
        """
        for folder in (self.images, self.labels):
            if not folder.is_dir():
                raise ConfigurationError(f"there is no folder {folder}: name a folder of NIfTI files or DICOM series")
        names = sorted({_stem(path) for path in self.images.iterdir() if path.is_dir() or path.name.endswith(_NIFTI)})
        if not names:
            raise ConfigurationError(f"{self.images} holds neither NIfTI files nor folders of DICOM images")
        lacking = [name for name in names if _find(self.labels, name) is None]
        if lacking:
            raise ConfigurationError(f"{self.labels} has no labels for {len(lacking)} images, the first being {lacking[0]}")
        return tuple(names)

    def load(self, name: str) -> LabelledCase:
        """The case called ``name``.

        Raises:
            ConfigurationError: if its files are missing or differ in shape.
            DicomIoError: if a DICOM object cannot be read.
        """
        image, labels = _find(self.images, name), _find(self.labels, name)
        if image is None or labels is None:
            raise ConfigurationError(f"case {name} has no image or no labels")
        case = _load_dicom(name, image, labels) if image.is_dir() else _load_nifti(name, image, labels, self.axis)
        if case.image_DHW.shape != case.labels_DHW.shape:
            raise ConfigurationError(f"case {name}: image {case.image_DHW.shape} and labels {case.labels_DHW.shape} differ")
        return case


def _stem(path: Path) -> str:
    for ending in (*_NIFTI, ".dcm"):
        if path.name.endswith(ending):
            return path.name[: -len(ending)]
    return path.name


def _find(folder: Path, name: str) -> Path | None:
    candidates = [folder / f"{name}{ending}" for ending in (*_NIFTI, ".dcm", "")]
    return next((path for path in candidates if path.exists()), None)


def _load_nifti(name: str, image: Path, labels: Path, axis: int) -> LabelledCase:
    if axis not in (0, 1, 2):
        raise ConfigurationError(f"axis {axis} is none of 0, 1 and 2")
    try:
        source, truth = nibabel.Nifti1Image.from_filename(image), nibabel.Nifti1Image.from_filename(labels)
        voxels, numbers = np.asarray(source.dataobj, dtype=np.float32), np.asarray(truth.dataobj)
    except (OSError, nibabel.filebasedimages.ImageFileError, EOFError) as error:
        raise ConfigurationError(f"case {name} cannot be read as NIfTI: {error}") from error
    if voxels.ndim != 3:
        raise ConfigurationError(f"case {name} has {voxels.ndim} dimensions; a volume has three")
    zooms = [float(z) for z in np.linalg.norm(np.asarray(source.affine)[:3, :3], axis=0)]
    image_DHW = np.moveaxis(voxels, axis, 0)
    labels_DHW = np.moveaxis(np.rint(numbers).astype(np.uint8), axis, 0)
    row, column = (z for i, z in enumerate(zooms) if i != axis)
    return LabelledCase(name, np.ascontiguousarray(image_DHW), np.ascontiguousarray(labels_DHW), (zooms[axis], row, column))


def _load_dicom(name: str, image: Path, labels: Path) -> LabelledCase:
    series = read_series(path.read_bytes() for path in sorted(image.iterdir()) if path.is_file())
    files = [labels] if labels.is_file() else sorted(path for path in labels.iterdir() if path.is_file())
    if len(files) != 1:
        raise ConfigurationError(f"case {name} has {len(files)} label objects; one SEG or RTSTRUCT is needed")
    drawing = read_annotation(files[0].read_bytes(), series)
    volume = series.volume
    return LabelledCase(
        name, np.array(volume.voxels_DHW), _labels_of(drawing, volume.voxels_DHW.shape), volume.geometry.spacing_DHW
    )


def _labels_of(drawing: Drawing, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Segment numbers as labels; where segments overlap, the one with the higher number."""
    labels_DHW = np.zeros(shape, dtype=np.uint8)
    for segment in sorted(drawing.segments, key=lambda s: s.number):
        labels_DHW[segment.mask_DHW] = segment.number
    return labels_DHW
