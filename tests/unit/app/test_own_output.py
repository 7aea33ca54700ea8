"""Our own output never passes for a drawing, whatever a viewer or a router made of it; what a reader changed in it counts.

Through the whole path: an object in an archive in memory, its round, what is known after it, and what is learned from.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from annotation_phantoms import Frame, seg, structure_set
from node_harness import now
from other_makers import centres, changed, half_way, restamp, smoothed
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid
from scipy import ndimage
from test_rounds_of_a_case import Ward

from dicom_io.annotation import PlaneKind
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_contour_sr
from dicom_io.results import SegmentDescription
from dicom_io.volume import ImageSeries
from learner.demo.reader import Reader
from learner.domain.case import Round, RoundState
from learner.domain.task import Label, MatchingRule, Task

Masks = dict[int, npt.NDArray[np.bool_]]
NAMES = {1: ("Left lobe", Code("1", "99TEST", "Left lobe")), 2: ("Right lobe", Code("2", "99TEST", "Right lobe"))}
SEGMENTS = tuple(
    SegmentDescription(n, name, ANATOMICAL_STRUCTURE, kind, (200, 100, 50 * n)) for n, (name, kind) in NAMES.items()
)
LABELS = tuple(Label(n, name, ANATOMICAL_STRUCTURE, kind, (200, 100, 50 * n)) for n, (name, kind) in NAMES.items())
TASK = Task("lobes", "Lobes", LABELS, MatchingRule(("MR",)))
EDITED = 6
"""A slice that nobody drew, near the middle."""


class Scene(Ward):
    """A case of two labels with one answer, in which a reader drew slices 3 and 9."""

    def __init__(self, folder: Path, archive: MemoryArchive | None = None, *, from_annotations: bool = False) -> None:
        super().__init__(folder, TASK, from_annotations=from_annotations, archive=archive)
        middle = self.truth_DHW.shape[2] // 2
        self.truth_DHW[:, :, middle:][self.truth_DHW[:, :, middle:] > 0] = 2
        if archive is None:
            first = self.stored(Reader(self.images, self.truth_DHW, SEGMENTS, "Eva").draw([3, 9], now()))
            assert first.state is RoundState.ANSWERED
        (self.prediction,) = self.shown()
        self.labels_DHW = self.store.files.get_record(1).labels_DHW

    @property
    def ours(self) -> Masks:
        """The prediction as it is."""
        return {n: self.labels_DHW == n for n in NAMES}

    @property
    def mended(self) -> Masks:
        """The prediction with label 1 greatly enlarged on one slice."""
        masks = self.ours
        masks[1][EDITED] = ndimage.binary_dilation(masks[1][EDITED], iterations=5) & ~masks[2][EDITED]
        return masks

    def known(self) -> dict[int, set[int]]:
        """Slices on which each label is known by the end, beside those that Eva drew."""
        latest = self.store.records.rounds_of(1)[-1].round_id
        annotation = self.store.files.get_record(latest).annotation
        assert annotation is not None
        return {n: {int(i) for i in np.flatnonzero(annotation.known_LDHW[n - 1].any(axis=(1, 2)))} - {3, 9} for n in NAMES}


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """A scene that tests take copies of: to make one takes a second."""
    made = Scene(tmp_path_factory.mktemp("answered"))
    made.store.close()
    return made


MakeScene = Callable[..., Scene]


@pytest.fixture
def make_scene(answered: Scene, tmp_path: Path) -> MakeScene:
    def make(**options: bool) -> Scene:
        folder = tmp_path / "data"
        shutil.copytree(answered.store.folder, folder)
        archive = MemoryArchive()
        for series in answered.archive.scan():
            for instance in series.instance_ids:
                archive.store(answered.archive.fetch(instance))
        return Scene(folder, archive, **options)

    return make


@pytest.fixture
def scene(make_scene: MakeScene) -> Scene:
    return make_scene()


def viewer_seg(scene: Scene, frames: list[Frame], names: dict[int, str] | None = None) -> bytes:
    """A SEG of a viewer that keeps the labels' names at most."""
    named = names or {n: name for n, (name, _) in NAMES.items()}

    def finish(dataset: Dataset) -> None:
        for segment in dataset.SegmentSequence:
            segment.SegmentLabel = named[segment.SegmentNumber]
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.FrameOfReferenceUID = scene.images.headers[0].FrameOfReferenceUID
        dataset.StudyInstanceUID = scene.images.headers[0].StudyInstanceUID
        reference = Dataset()
        reference.SeriesInstanceUID = scene.images.headers[0].SeriesInstanceUID
        image = Dataset()
        image.ReferencedSOPClassUID = scene.images.headers[0].SOPClassUID
        image.ReferencedSOPInstanceUID = scene.images.slices[0].sop_instance_uid
        reference.ReferencedInstanceSequence = [image]
        dataset.ReferencedSeriesSequence = [reference]

    return seg(frames, numbers=sorted(named), edit=finish)


def on_grid(
    scene: Scene, masks: Masks, axes: tuple[int, int, int], zoom: tuple[float, float, float], *, flip: bool = False
) -> bytes:
    """Masks on a grid of other planes, spacing or order, as a viewer resamples: each voxel by the majority within it."""
    affine = scene.images.volume.geometry.affine
    step = affine[:3, :3] * np.array(zoom)
    corner = affine[:3, 3] + affine[:3, :3] @ ((np.array(zoom) - 1) / 2)
    shape = [round(size / z) for size, z in zip(scene.labels_DHW.shape, zoom, strict=True)]
    places = [(np.arange(n) + 0.5) * z - 0.5 for n, z in zip(shape, zoom, strict=True)]
    grid = np.meshgrid(*places, indexing="ij")
    lengths = [float(np.linalg.norm(step[:, axis])) for axis in axes]
    frames = []
    for number, mask in masks.items():
        stack = (ndimage.map_coordinates(mask.astype(float), grid, order=1, mode="nearest") >= 0.5).transpose(axes)
        order = range(len(stack))
        for index in reversed(order) if flip else order:
            orientation = [*(step[:, axes[2]] / lengths[2]), *(step[:, axes[1]] / lengths[1])]
            position = corner + index * step[:, axes[0]]
            if stack[index].any():
                frames.append(Frame(stack[index], number, position, orientation, (lengths[1], lengths[2])))
    return viewer_seg(scene, frames)


def saved(scene: Scene, masks: Masks, segments: tuple[SegmentDescription, ...] = SEGMENTS, reader: str = "Bob") -> bytes:
    """What a viewer saves on the grid of the image, as drawn by hand."""
    labels_DHW = np.zeros(scene.labels_DHW.shape, np.uint8)
    for number, mask in masks.items():
        labels_DHW[mask] = number
    slices = [int(i) for i in np.flatnonzero(labels_DHW.any(axis=(1, 2)))]
    return Reader(scene.images, labels_DHW, segments, reader).draw(slices, now())


def rtstruct(scene: Scene, masks: Masks, vertices: Callable[[npt.NDArray[np.bool_]], list[npt.NDArray[np.float64]]]) -> bytes:
    """Contours of masks, whose vertices ``(column, row)`` are given in pixels."""
    affine = scene.images.volume.geometry.affine
    structures = {}
    for number, mask in masks.items():
        contours = []
        for index in np.flatnonzero(mask.any(axis=(1, 2))):
            for points in vertices(mask[index]):
                places = np.stack([np.full(len(points), index), points[:, 1], points[:, 0]], axis=1)
                contours.append(("CLOSED_PLANAR", places @ affine[:3, :3].T + affine[:3, 3]))
        structures[NAMES[number][0]] = contours
    header = scene.images.headers[0]

    def finish(dataset: Dataset) -> None:
        dataset.StudyInstanceUID = header.StudyInstanceUID
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        frame = dataset.ReferencedFrameOfReferenceSequence[0]
        frame.RTReferencedStudySequence[0].RTReferencedSeriesSequence[0].SeriesInstanceUID = header.SeriesInstanceUID

    images = [one.sop_instance_uid for one in scene.images.slices]
    return structure_set(structures, frame_of_reference=header.FrameOfReferenceUID, images=images, edit=finish)


FORMS: dict[str, Callable[[Scene, Masks], bytes]] = {
    "saved by another viewer": saved,
    "half resolution": lambda s, m: on_grid(s, m, (0, 1, 2), (1, 2, 2)),
    "finer resolution": lambda s, m: on_grid(s, m, (0, 1, 2), (1, 0.5, 0.5)),
    "slices of twice the thickness": lambda s, m: on_grid(s, m, (0, 1, 2), (2, 1, 1)),
    "isotropic": lambda s, m: on_grid(s, m, (0, 1, 2), (1 / 3, 1, 1)),
    "sagittal": lambda s, m: on_grid(s, m, (2, 0, 1), (1, 1, 1)),
    "coronal": lambda s, m: on_grid(s, m, (1, 0, 2), (1, 1, 1)),
    "sagittal, half resolution": lambda s, m: on_grid(s, m, (2, 0, 1), (1, 2, 2)),
    "other order of slices": lambda s, m: on_grid(s, m, (0, 1, 2), (1, 1, 1), flip=True),
    "contours half-way": lambda s, m: rtstruct(s, m, half_way),
    "contours through centres": lambda s, m: rtstruct(s, m, centres),
    "smoothed contours": lambda s, m: rtstruct(s, m, smoothed),
    "report": lambda s, m: write_contour_sr(s.images, m, SEGMENTS, "Bob", "Contours", created=now()),
}


def no_annotation(scene: Scene, round_: Round) -> None:
    """The object taught nothing: nothing is known that was not, and nothing more is learned from."""
    assert scene.known() == {1: set(), 2: set()}, scene.known()
    assert round_.state in (RoundState.UNCHANGED, RoundState.REFUSED)
    assert [job.round_id for job in scene.store.queries.jobs() if job.kind == "learn"] == [1]


def test_saved_again_with_every_stamp_changed(scene: Scene) -> None:
    no_annotation(scene, scene.stored(changed(scene.prediction, restamp)))


@pytest.mark.parametrize("form", FORMS)
def test_in_another_form_it_is_no_annotation(form: str, scene: Scene) -> None:
    no_annotation(scene, scene.stored(FORMS[form](scene, scene.ours)))


@pytest.mark.parametrize("form", FORMS)
def test_what_a_reader_changed_in_another_form_counts_and_no_other_slice(form: str, scene: Scene) -> None:
    scene.stored(FORMS[form](scene, scene.mended))
    beside = {EDITED - 1, EDITED + 1} if "thickness" in form else set()
    assert EDITED in scene.known()[1]
    assert scene.known()[1] <= {EDITED} | beside
    assert scene.known()[2] <= {EDITED} | beside


def test_merged_with_what_somebody_else_drew(scene: Scene) -> None:
    """Our left lobe, and a right lobe that Bob drew on three slices of his own."""
    bobs = np.zeros(scene.labels_DHW.shape, bool)
    bobs[4:7, 12:20, 22:28] = True
    scene.stored(saved(scene, {1: scene.ours[1], 2: bobs & ~scene.ours[1]}))
    assert scene.known() == {1: set(), 2: {4, 5, 6}}


def test_merged_with_somebody_elses_and_mended_itself(scene: Scene) -> None:
    bobs = np.zeros(scene.labels_DHW.shape, bool)
    bobs[7:9, 12:20, 24:28] = True
    scene.stored(saved(scene, {1: scene.mended[1], 2: bobs & ~scene.mended[1]}))
    assert scene.known() == {1: {EDITED}, 2: {7, 8}}


def test_merged_on_another_grid(scene: Scene) -> None:
    bobs = np.zeros(scene.labels_DHW.shape, bool)
    bobs[4:7, 12:20, 22:30] = True
    scene.stored(on_grid(scene, {1: scene.ours[1], 2: bobs & ~scene.ours[1]}, (0, 1, 2), (1, 2, 2)))
    assert scene.known() == {1: set(), 2: {4, 5, 6}}


def test_merged_with_a_label_that_nobody_predicted(tmp_path: Path) -> None:
    """The answer shows one label alone; a reader saves it with a second one of their own."""
    scene = Ward(tmp_path, TASK)
    first = scene.stored(Reader(scene.images, scene.truth_DHW, SEGMENTS[:1], "Eva").draw([3, 9], now()))
    labels_DHW = np.array(scene.store.files.get_record(first.round_id).labels_DHW)
    assert set(np.unique(labels_DHW)) == {0, 1}
    labels_DHW[5:7, 2:8, 2:8] = 2
    slices = [int(i) for i in np.flatnonzero(labels_DHW.any(axis=(1, 2)))]
    second = scene.stored(Reader(scene.images, labels_DHW, SEGMENTS, "Bob").draw(slices, now()))
    annotation = scene.store.files.get_record(second.round_id).annotation
    assert annotation is not None
    known = [set(np.flatnonzero(one.any(axis=(1, 2))).tolist()) - {3, 9} for one in annotation.known_LDHW]
    assert known == [set(), {5, 6}]


def test_labels_exchanged(scene: Scene) -> None:
    no_annotation(scene, scene.stored(saved(scene, {1: scene.ours[2], 2: scene.ours[1]})))


def test_one_segment_named_as_the_other_label(scene: Scene) -> None:
    no_annotation(scene, scene.stored(saved(scene, {2: scene.ours[1]}, SEGMENTS)))


def test_both_segments_merged_into_one(scene: Scene) -> None:
    no_annotation(scene, scene.stored(saved(scene, {1: scene.ours[1] | scene.ours[2]}, SEGMENTS[:1])))


def test_renamed_to_what_no_task_has(scene: Scene) -> None:
    other = replace(SEGMENTS[0], name="Thing", type=Code("9", "99TEST", "Thing"))
    no_annotation(scene, scene.stored(saved(scene, {1: scene.ours[1]}, (other,))))


def test_renamed_it_makes_no_task(make_scene: MakeScene) -> None:
    scene = make_scene(from_annotations=True)
    other = replace(SEGMENTS[0], name="Thing", type=Code("9", "99TEST", "Thing"))
    no_annotation(scene, scene.stored(saved(scene, {1: scene.ours[1]}, (other,))))
    assert [task.task_id for task in scene.tasks] == ["lobes"]


def anew(dataset: Dataset, made: dict[str, str]) -> None:
    """All UIDs of a study exchanged, references alike, as a router that anonymises does."""
    for element in dataset.iterall():
        if element.VR == "UI" and not str(element.value).startswith("1.2.840.10008"):
            element.value = made.setdefault(str(element.value), generate_uid())


@pytest.fixture
def rerouted(scene: Scene) -> tuple[Scene, dict[str, str], ImageSeries]:
    """The study once more, all UIDs of its images exchanged."""
    made: dict[str, str] = {}
    files = []
    for one in scene.images.slices:
        files.append(changed(scene.archive.fetch(one.sop_instance_uid), lambda dataset: anew(dataset, made)))
        scene.archive.store(files[-1])
    scene.archive.settle()
    scene.worked()
    return scene, made, read_series(files)


def test_a_router_changed_all_uids(rerouted: tuple[Scene, dict[str, str], ImageSeries]) -> None:
    scene, made, _ = rerouted

    def change(dataset: Dataset) -> None:
        anew(dataset, made)
        restamp(dataset)

    round_ = scene.stored(changed(scene.prediction, change))
    assert round_.state is RoundState.UNCHANGED
    assert [job.round_id for job in scene.store.queries.jobs() if job.kind == "learn"] == [1]


def test_a_router_changed_all_uids_and_a_reader_mended_a_slice(rerouted: tuple[Scene, dict[str, str], ImageSeries]) -> None:
    scene, _, images = rerouted
    labels_DHW = np.array(scene.labels_DHW)
    labels_DHW[scene.mended[1]] = 1
    slices = [int(i) for i in np.flatnonzero(labels_DHW.any(axis=(1, 2)))]
    round_ = scene.stored(Reader(images, labels_DHW, SEGMENTS, "Bob").draw(slices, now()))
    assert round_.state is RoundState.ANSWERED
    assert round_.facts["drawn_slices"] == [EDITED]
    assert round_.case_id != 1


def test_after_the_data_was_lost_it_is_known_by_its_maker(scene: Scene, tmp_path: Path) -> None:
    lost = Ward(tmp_path / "new", TASK)
    round_ = lost.stored(scene.prediction)
    assert round_.state is RoundState.UNCHANGED
    assert "result of another node" in round_.reason


def test_after_the_data_was_lost_a_segment_is_known_by_its_algorithm(scene: Scene, tmp_path: Path) -> None:
    """A viewer put its own name on the object, and left what made the segments."""

    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.Manufacturer, dataset.ContentCreatorName = "Viewer", "Bob"

    lost = Ward(tmp_path / "new", TASK)
    assert lost.stored(changed(scene.prediction, change)).state is RoundState.UNCHANGED


def test_merged_after_the_data_was_lost_only_what_others_drew_counts(scene: Scene, tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
        dataset.Manufacturer = "Viewer"
        dataset.SegmentSequence[1].SegmentAlgorithmType = "MANUAL"
        del dataset.SegmentSequence[1].SegmentAlgorithmName

    lost = Ward(tmp_path / "new", TASK)
    round_ = lost.stored(changed(scene.prediction, change))
    assert round_.state is RoundState.ANSWERED
    annotation = lost.store.files.get_record(round_.round_id).annotation
    assert annotation is not None
    assert not annotation.known_LDHW[0].any()
    assert annotation.planes_of(PlaneKind.DRAWN)


def test_a_viewer_that_keeps_the_algorithms_name_does_not_hide_what_its_reader_changed(scene: Scene) -> None:
    def ours(dataset: Dataset) -> None:
        made = dcmread(BytesIO(scene.prediction), stop_before_pixels=True)
        for segment, own in zip(dataset.SegmentSequence, made.SegmentSequence, strict=True):
            segment.SegmentAlgorithmType, segment.SegmentAlgorithmName = own.SegmentAlgorithmType, own.SegmentAlgorithmName

    scene.stored(changed(saved(scene, scene.mended), ours))
    assert scene.known() == {1: {EDITED}, 2: {EDITED}}


def test_a_forged_result_is_no_annotation(scene: Scene) -> None:
    """An object that claims to be ours, of slices that we never predicted."""
    forged = np.zeros(scene.labels_DHW.shape, bool)
    forged[2:8, 2:10, 2:10] = True

    def ours(dataset: Dataset) -> None:
        made = dcmread(BytesIO(scene.prediction), stop_before_pixels=True)
        dataset.Manufacturer = made.Manufacturer
        dataset.SOPInstanceUID = f"{made.SOPInstanceUID[:-3]}123"
        for segment in dataset.SegmentSequence:
            segment.SegmentAlgorithmType = "AUTOMATIC"
            segment.SegmentAlgorithmName = made.SegmentSequence[0].SegmentAlgorithmName

    no_annotation(scene, scene.stored(changed(saved(scene, {1: forged}), ours)))
