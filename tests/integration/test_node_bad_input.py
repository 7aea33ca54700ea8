"""Bad input: a clear error in the log and the API, nothing lost, Orthanc and the learner still serving."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO

import numpy as np
import pytest
from node_harness import SEGMENTS, RunningNode, dice, now, phantom, reader, running_node, wait_for
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_drawing_seg
from learner.demo.orthanc import LocalOrthanc

pytestmark = [pytest.mark.orthanc, pytest.mark.xdist_group("bad input")]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, make_orthanc_once: Callable[..., LocalOrthanc]) -> Iterator[RunningNode]:
    with running_node(tmp_path_factory.mktemp("node"), make_orthanc_once) as running:
        yield running


def edited(file: bytes, change: Callable[[Dataset], None]) -> bytes:
    dataset = dcmread(BytesIO(file))
    change(dataset)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def renamed(file: bytes) -> bytes:
    def change(dataset: Dataset) -> None:
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = generate_uid()

    return edited(file, change)


def refused(node: RunningNode, file: bytes, *words: str) -> None:
    """The object is refused for that reason, the API says so, and the node answers the next one."""
    node.archive.store(file)
    found = node.answered(file, "refused")
    for word in words:
        assert word in found.reason
    shown = node.get(f"/rounds/{found.round_id}")["round"]
    assert shown["state"] == "refused"
    assert shown["reason"] == found.reason
    assert f'"round": {found.round_id}' in node.log()
    still_serving(node)


def still_serving(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=50, number=int(np.random.default_rng().integers(1, 10**6)))
    images = node.send(files)
    drawing = reader(images, truth_DHW).draw([4, 9], now())
    node.archive.store(drawing)
    assert node.answered(drawing).state == "answered"
    assert dice(node.prediction(images), truth_DHW) > 0.5


def test_an_annotation_before_its_images_is_answered_once_they_arrive(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=3, number=3)
    drawing = reader(read_series(files), truth_DHW).draw([4, 9], now())
    node.archive.store(drawing)
    waiting = node.answered(drawing, "waiting")
    assert "not in the archive" in waiting.reason
    images = node.send(files)
    node.answered(drawing)
    assert dice(node.prediction(images), truth_DHW) > 0.5


def test_a_seg_in_another_frame_of_reference(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=4, number=4)
    images = node.send(files)

    def strange(dataset: Dataset) -> None:
        dataset.FrameOfReferenceUID = generate_uid()
        dataset.SharedFunctionalGroupsSequence[0].pop("DerivationImageSequence", None)
        for group in dataset.PerFrameFunctionalGroupsSequence:
            group.pop("DerivationImageSequence", None)
        for series in dataset.ReferencedSeriesSequence:
            for instance in series.ReferencedInstanceSequence:
                instance.ReferencedSOPInstanceUID = generate_uid()

    refused(node, edited(reader(images, truth_DHW).draw([4, 9], now()), strange), "frame of reference")


def test_a_truncated_file(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=5, number=5)
    images = node.send(files)

    def cut(dataset: Dataset) -> None:
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4]

    refused(node, edited(reader(images, truth_DHW).draw([4, 5, 6, 9], now()), cut))


def test_an_empty_seg(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=6, number=6)
    images = node.send(files)

    def empty(dataset: Dataset) -> None:
        dataset.PixelData = bytes(len(dataset.PixelData))

    refused(node, edited(reader(images, truth_DHW).draw([4, 9], now()), empty), "Draw")


def test_an_sr_without_contours(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=7, number=7)
    images = node.send(files)

    def without(dataset: Dataset) -> None:
        def strip(item: Dataset) -> None:
            kept = [child for child in item.get("ContentSequence", []) if child.get("ValueType") != "SCOORD"]
            if "ContentSequence" in item:
                item.ContentSequence = kept
            for child in kept:
                strip(child)

        strip(dataset)

    refused(node, edited(reader(images, truth_DHW).contour([4, 9], now()), without), "contour")


def test_a_series_of_one_slice(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=8, number=8)
    images = read_series(files)
    node.archive.store(files[4])
    uid = images.volume.series.series_instance_uid
    wait_for(lambda: node.archive.find_series(uid).is_stable, "the series to be stable")
    refused(node, reader(images, truth_DHW).draw([4], now()), "slice")


def test_two_series_with_the_same_sop_uids(node: RunningNode) -> None:
    """Each annotation is answered for the series that it names; the log says that the UIDs stand twice."""
    files, truth_DHW = phantom(seed=9, number=9)
    images = node.send(files)
    series_uid = generate_uid()

    def other_series(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = series_uid

    twin = node.send([edited(file, other_series) for file in files])
    for source in (images, twin):
        drawing = reader(source, truth_DHW).draw([4, 9], now())
        node.archive.store(drawing)
        answered = node.answered(drawing)
        case = node.store.records.find_case(answered.case_id)
        assert case.series_instance_uid == source.volume.series.series_instance_uid
    wait_for(lambda: "SOP Instance UIDs" in node.log(), "the warning")


def test_a_source_without_frame_of_reference(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=10, number=10)

    def without(dataset: Dataset) -> None:
        del dataset.FrameOfReferenceUID

    images = node.send([edited(file, without) for file in files])
    drawing = reader(images, truth_DHW).draw([4, 9], now())
    node.archive.store(drawing)
    answered = node.answered(drawing)
    assert any("rame of reference" in remark for remark in answered.facts["remarks"])
    assert dice(node.prediction(images), truth_DHW) > 0.5


def test_a_label_that_no_task_knows(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=11, number=11)
    images = node.send(files)
    unknown = SEGMENTS[0].__class__(1, "Segment 1", SEGMENTS[0].category, SEGMENTS[0].category, (1, 2, 3))
    mask_DHW = np.zeros(truth_DHW.shape, dtype=bool)
    mask_DHW[5] = truth_DHW[5] > 0
    refused(node, write_drawing_seg(images, {1: mask_DHW}, (unknown,), "A^B", "drawing"), "Prostate")


def test_an_object_that_names_no_series(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=12, number=12)
    images = node.send(files)

    def nameless(dataset: Dataset) -> None:
        del dataset.ReferencedSeriesSequence

    refused(node, edited(reader(images, truth_DHW).draw([4], now()), nameless), "names no image series")


def test_a_report_stored_twice_is_answered_once(node: RunningNode) -> None:
    files, truth_DHW = phantom(seed=13, number=13)
    images = node.send(files)
    drawing = reader(images, truth_DHW).draw([4, 9], now())
    node.archive.store(drawing)
    node.answered(drawing)
    node.archive.store(drawing)
    again = renamed(drawing)
    node.archive.store(again)
    node.answered(again, "unchanged")
    rounds = [r for r in node.rounds() if r.trigger_uid == node.instance_id(drawing)]
    assert len(rounds) == 1
