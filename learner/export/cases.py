"""The cases of a task with what was drawn on them: images from the archive, else from the replay memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import nibabel as nib
import numpy as np
import numpy.typing as npt

from dicom_io.annotation import SparseAnnotation
from dicom_io.errors import DicomIoError, NotInPacs, PacsRefused, PacsUnavailable
from dicom_io.geometry import Geometry
from dicom_io.pacs.port import Source
from learner.app.images import SeriesImages, first_image
from learner.domain.case import PRUNED, Case
from learner.domain.contract import with_label_count
from learner.domain.example import Example
from learner.domain.proxy import ProxyMask
from learner.domain.task import Task
from learner.errors import CorruptFile, StoreError
from learner.export.facts import rounds_in_effect
from learner.ports import Propagator
from learner.storage.store import LocalStore

CaseKey = Callable[[str], str]
_CACHE_BYTES = 256 * 2**20
_LETTERS = 12


@dataclass(frozen=True, eq=False)
class AnnotatedCase:
    """One case to export.

    Attributes:
        name: from its keyed hash.
        image_DHW: float32 voxels.
        affine: 4x4, from ``(slice, row, column, 1)`` to LPS mm.
        annotation: what was drawn.
        proxy: what follows from it for the whole volume.
        site: keyed name of the site, or empty.
        held: whether it is held back from training.
        source: ``archive``, or ``replay`` for normalised voxels on the network's grid, whose place in the patient is lost.
    """

    name: str
    image_DHW: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    annotation: SparseAnnotation
    proxy: ProxyMask
    site: str
    held: bool
    source: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A case that was not exported, or not as it should be.

    Attributes:
        name: of the case.
        why: one clause, without any identifier.
    """

    name: str
    why: str


class AnnotatedCases:
    """Reads the cases of a task.

    Args:
        store: of the node.
        archive: where the images are.
        propagator: of the task.
        case_key: keyed hash, see :class:`learner.app.compute.Compute`.
        remembered: examples of the replay memory by keyed hash, each read when it is asked for.
    """

    def __init__(
        self,
        store: LocalStore,
        archive: Source,
        propagator: Propagator,
        case_key: CaseKey,
        remembered: Mapping[str, Callable[[], Example]],
    ) -> None:
        self._store = store
        self._archive = archive
        self._images = SeriesImages(archive, _CACHE_BYTES)
        self._propagator = propagator
        self._case_key = case_key
        self._remembered = remembered
        self._down = ""

    def of(self, task: Task) -> Iterator[AnnotatedCase | LeftOut]:
        """Every case of a task on which somebody drew, one after the other."""
        lessons = {one.case_id: one for one in self._store.lessons.of_model(task.model_id)}
        for case_id in dict.fromkeys(one.case_id for one in rounds_in_effect(self._store, task)):
            assert case_id is not None
            case, lesson = self._store.records.find_case(case_id), lessons.get(case_id)
            site, held = (lesson.site[:8], lesson.held) if lesson is not None else ("", False)
            yield from self._case(task, case, site, held=held)

    def _case(self, task: Task, case: Case, site: str, *, held: bool) -> Iterator[AnnotatedCase | LeftOut]:
        key = self._case_key(case.identity)
        name = f"case_{key[:_LETTERS]}"
        latest = self._store.records.rounds_of(case.case_id)[-1]
        if latest.facts.get(PRUNED):
            yield LeftOut(name, "the record of what was drawn is not kept any more (retention.rounds_days)")
            return
        try:
            record = self._store.files.get_record(latest.round_id)
        except CorruptFile:
            yield LeftOut(name, "the record of what was drawn is damaged")
            return
        if record.annotation is None:
            yield LeftOut(name, "nothing is drawn on it any more")
            return
        annotation = with_label_count(record.annotation, len(task.labels))
        try:
            images = self._from_archive(case, first_image(latest))
        except DicomIoError as error:
            why = self._down or _why(error)
            self._down = why if isinstance(error, PacsUnavailable) else self._down
            yield from self._from_replay(name, key, why, site, task, held=held)
            return
        voxels_DHW, geometry = images
        if voxels_DHW.shape != annotation.labels_DHW.shape:
            yield LeftOut(name, "its images in the archive are not those that were drawn on")
            return
        proxy = self._propagator.propagate(voxels_DHW, geometry.spacing_DHW, annotation)
        yield AnnotatedCase(name, voxels_DHW, geometry.affine, annotation, proxy, site, held, "archive")

    def _from_archive(self, case: Case, wanted: object) -> tuple[npt.NDArray[np.float32], Geometry]:
        if self._down:
            raise PacsUnavailable("archive", self._down, "")
        volume = self._images.get(self._archive.find_series(case.series_instance_uid), wanted).volume  # type: ignore[arg-type]
        return volume.voxels_DHW, volume.geometry

    def _from_replay(
        self, name: str, key: str, why: str, site: str, task: Task, *, held: bool
    ) -> Iterator[AnnotatedCase | LeftOut]:
        read = self._remembered.get(key)
        if read is None:
            yield LeftOut(name, f"{why}, and the replay memory does not have it")
            return
        try:
            example = read().with_label_count(len(task.labels))
        except StoreError:
            yield LeftOut(name, f"{why}, and its file in the replay memory is damaged")
            return
        yield LeftOut(name, f"{why}: its images are those of the replay memory")
        affine = np.zeros((4, 4))
        affine[[2, 1, 0, 3], range(4)] = [*example.spacing_DHW, 1.0]
        yield AnnotatedCase(name, example.image_DHW, affine, example.annotation, example.proxy, site, held, "replay")


def _why(error: DicomIoError) -> str:
    """Why the archive gave no images, without the identifiers that the error names."""
    if isinstance(error, NotInPacs):
        return "its images are no longer in the archive"
    if isinstance(error, PacsUnavailable):
        return "the archive did not answer"
    if isinstance(error, PacsRefused):
        return "the archive refused to give its images"
    return "its images cannot be read any more"


def nifti_affine(affine: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From ``(column, row, slice, 1)`` to RAS mm, as NIfTI has it.

    Args:
        affine: from ``(slice, row, column, 1)`` to LPS mm.
    """
    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine[:, [2, 1, 0, 3]])


def axis_codes(affine: npt.NDArray[np.float64]) -> str:
    """Where (column, row, slice) point, as nibabel's axis codes: ``LPS`` for axial slices.

    Args:
        affine: from ``(slice, row, column, 1)`` to LPS mm.
    """
    return "".join(nib.aff2axcodes(nifti_affine(affine)))
