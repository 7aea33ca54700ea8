"""The whole loop as a reader does it: OHIF in a real browser, a real Orthanc, a real learner, a real head.

Another case is drawn first by a program, so that there is a model whose answer can differ from what propagation makes of a
drawing. Then everything is done with the mouse in the viewer. What is seen is compared, pixel by pixel of the picture on the
screen, with the masks that stand in the archive.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import numpy.typing as npt
import pytest
from brain import TASK_FILE, Brain, brain, teach
from browser_harness import Browsing
from node_harness import RunningNode, running_node, wait_for
from ohif_harness import Ohif, ohif_folder, part10_of
from overlay import Overlay
from pydicom import dcmread

from dicom_io.read_annotation import read_annotation
from dicom_io.volume import ImageSeries
from learner.demo.orthanc import LocalOrthanc

pytestmark = [
    pytest.mark.browser,
    pytest.mark.orthanc,
    pytest.mark.slow,
    pytest.mark.timeout(1800),  # a browser without a graphics card on a busy machine
]
BoolArray = npt.NDArray[np.bool_]
BRUSH_MM = 14.0
PATIENCE_S = 600.0
FIRST, SECOND = 4, 9
"""The slices that are drawn."""


@dataclass(eq=False)
class Reading:
    """A reader in front of OHIF with one case."""

    node: RunningNode
    ohif: Ohif
    case: Brain
    images: ImageSeries

    @property
    def sops(self) -> tuple[str, ...]:
        return self.images.volume.series.sop_instance_uids

    def mask(self, file: bytes) -> BoolArray:
        """All segments of an object on the grid of the images, as one mask."""
        found = np.zeros(self.images.volume.geometry.shape, dtype=np.bool_)
        for segment in read_annotation(file, self.images).segments:
            found |= segment.mask_DHW
        return found

    def answer_to(self, file: bytes) -> Answer:
        round_ = self.node.answered(file, timeout_s=PATIENCE_S)
        detail = self.node.get(f"/rounds/{round_.round_id}")
        series = {one["kind"]: one["series_instance_uid"] for one in detail["results"]}
        return Answer(self, round_.facts, detail["round"], series)

    def sees(self, index: int, mask_DHW: BoolArray) -> None:
        """Turns to a slice; the segmentation on it is seen where the mask is."""
        self.ohif.scroll_to(self.sops, self.sops[index])
        Overlay.of(self.ohif, self.images, index).lies_on(mask_DHW[index])


@dataclass(eq=False)
class Answer:
    """A round's answer: what the API tells of it, and its objects in the archive."""

    reading: Reading
    facts: dict[str, Any]
    view: dict[str, Any]
    series: dict[str, str]

    def file(self, kind: str) -> bytes:
        archive = self.reading.node.archive
        (file,) = archive.fetch_series(archive.find_series(self.series[kind]))
        return file

    def link(self, kind: str = "prediction", sop: str = "") -> str:
        """The answer's link, with another of its objects laid over, at another image."""
        link = str(self.view["link"]).replace(self.series["prediction"], self.series[kind])
        return f"{link}&initialSopInstanceUID={sop}" if sop else link


@pytest.fixture
def reading(tmp_path: Path, make_orthanc: Callable[..., LocalOrthanc], browser: Browsing) -> Iterator[Reading]:
    """A case of which the answer before anything is drawn has come, and a reader who has opened it in OHIF."""
    viewer = f'[viewer]\nfolder = "{ohif_folder()}"\n'
    with running_node(tmp_path / "node", make_orthanc, steps=2, pacs=viewer, task=TASK_FILE) as node:
        teach(node, PATIENCE_S)
        case = brain("reader", number=2, first=30)
        images = node.send(case.files)
        series = images.volume.series
        rounds = f"/series/{series.series_instance_uid}/rounds"
        wait_for(lambda: [one for one in node.get(rounds) if one["answered_at"]], "round 0", PATIENCE_S)
        ohif = Ohif(browser.page(), node.url)
        ohif.open(f"/ohif/segmentation?StudyInstanceUIDs={series.study_instance_uid}")
        yield Reading(node, ohif, case, images)
        assert browser.outside == [], "no address outside of the machine is asked"
        assert '"level": "error"' not in node.log()


def test_draw_save_look_follow_guidance_mend_save_look(reading: Reading, tmp_path: Path) -> None:
    saved = draws_two_slices(reading)
    answer = reading.answer_to(saved)
    assert answer.facts["drawn_slices"] == [FIRST, SECOND]
    prediction_DHW = reading.mask(answer.file("prediction"))
    drawn_DHW = reading.mask(saved)
    assert np.array_equal(prediction_DHW[[FIRST, SECOND]], drawn_DHW[[FIRST, SECOND]])
    independent_readers_agree(reading, measured(saved, reading.images), drawn_DHW, tmp_path / "saved")
    independent_readers_agree(reading, answer.file("prediction"), prediction_DHW, tmp_path / "prediction")
    no_display_rule_is_broken(reading, [answer.file(kind) for kind in answer.series], tmp_path / "lint")

    wanted = next(one for one in answer.view["guidance"] if one["link"] and prediction_DHW[one["index"]].any())
    goes_where_guidance_points(reading, answer, wanted)
    for index in (wanted["index"], SECOND, (FIRST + SECOND) // 2, FIRST):
        reading.sees(index, prediction_DHW)
    sees_the_bands(reading, answer)

    mended = mends(reading, prediction_DHW, wanted)
    mended_DHW = reading.mask(mended)
    assert np.flatnonzero((mended_DHW != prediction_DHW).any(axis=(1, 2))).tolist() == [wanted["index"]]
    second = reading.answer_to(mended)
    assert second.facts["edited"]
    assert second.facts["new_slices"] == 1
    assert second.facts["drawn_slices"] == sorted([FIRST, SECOND, wanted["index"]])
    assert np.array_equal(reading.mask(second.file("prediction"))[wanted["index"]], mended_DHW[wanted["index"]])
    reading.ohif.open(second.link(sop=wanted["sop_instance_uid"]), wanted["sop_instance_uid"])
    reading.sees(wanted["index"], mended_DHW)


def draws_two_slices(reading: Reading) -> bytes:
    """A new segmentation, drawn with the brush on two slices and saved to the archive."""
    reading.ohif.add_segmentation()
    reading.ohif.take("Brush", BRUSH_MM)
    for index in (FIRST, SECOND):
        reading.ohif.scroll_to(reading.sops, reading.sops[index])
        for round_ in reading.case.strokes(index, BRUSH_MM):
            reading.ohif.stroke(reading.case.points(index, round_))
    saved = part10_of(reading.ohif.save())
    drawn_DHW, truth_DHW = reading.mask(saved), reading.case.truth_DHW
    assert np.flatnonzero(drawn_DHW.any(axis=(1, 2))).tolist() == [FIRST, SECOND]
    for index in (FIRST, SECOND):
        overlap = np.count_nonzero(drawn_DHW[index] & truth_DHW[index])
        assert 2 * overlap / (drawn_DHW[index].sum() + truth_DHW[index].sum()) > 0.85, "the brush went where it was led"
    return saved


def goes_where_guidance_points(reading: Reading, answer: Answer, wanted: dict[str, Any]) -> None:
    """A suggestion's link shows that very slice; it stands in the key objects, too, with the node's address."""
    key_objects = dcmread(BytesIO(answer.file("key-objects"))).ContentSequence
    assert any(f"{reading.node.url}{wanted['link']}" in item.get("TextValue", "") for item in key_objects)
    reading.ohif.open(wanted["link"], wanted["sop_instance_uid"])
    assert reading.ohif.shown == reading.sops[wanted["index"]]


def sees_the_bands(reading: Reading, answer: Answer) -> None:
    """The residual's bands on the three slices that have most of them."""
    bands_DHW = reading.mask(answer.file("residual-bands"))
    fullest = np.argsort(bands_DHW.sum(axis=(1, 2)))[-3:]
    assert bands_DHW[fullest].any(axis=(1, 2)).all()
    reading.ohif.open(answer.link("residual-bands"))
    for index in sorted(int(one) for one in fullest):
        reading.sees(index, bands_DHW)


def mends(reading: Reading, prediction_DHW: BoolArray, wanted: dict[str, Any]) -> bytes:
    """The prediction, opened by the suggestion's link, with a part of that one slice erased, saved."""
    reading.ohif.open(wanted["link"], wanted["sop_instance_uid"])
    reading.ohif.settled_pixels()
    reading.ohif.take("Eraser", BRUSH_MM)
    row, column = np.argwhere(prediction_DHW[wanted["index"]])[0]
    reading.ohif.stroke(reading.case.points(wanted["index"], np.array([[row, column], [row + 3.0, column]])))
    return part10_of(reading.ohif.save())


def measured(file: bytes, images: ImageSeries) -> bytes:
    """An object of OHIF's with the pixel measures that OHIF leaves empty, and without which dcmqi reads nothing."""
    dataset = dcmread(BytesIO(file))
    (measures,) = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    if "PixelSpacing" not in measures:
        slices_mm, rows_mm, columns_mm = images.volume.geometry.spacing_DHW
        measures.PixelSpacing = [rows_mm, columns_mm]
        measures.SliceThickness = measures.SpacingBetweenSlices = slices_mm
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def independent_readers_agree(reading: Reading, file: bytes, expected_DHW: BoolArray, folder: Path) -> None:
    """dcmqi, the reader of 3D Slicer, finds the same voxels in the same place."""
    folder.mkdir()
    (folder / "object.dcm").write_bytes(file)
    program = shutil.which("segimage2itkimage", path=str(Path(sys.executable).parent)) or shutil.which("segimage2itkimage")
    assert program, "part of the 'dev' extra"
    command = [program, "--inputDICOM", folder / "object.dcm", "--outputDirectory", folder, "--outputType", "nii"]
    subprocess.run(command, check=True, capture_output=True)
    found_DHW = np.zeros_like(expected_DHW)
    to_index = np.linalg.inv(reading.images.volume.geometry.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0])
    for path in folder.glob("*.nii.gz"):
        image = nibabel.load(path)
        voxels = np.argwhere(np.asarray(image.dataobj) > 0)
        index = np.column_stack([voxels, np.ones(len(voxels))]) @ (to_index @ image.affine).T
        found_DHW[tuple(np.rint(index[:, :3]).astype(int).T)] = True
    assert np.array_equal(found_DHW, expected_DHW)


def no_display_rule_is_broken(reading: Reading, files: list[bytes], folder: Path) -> None:
    """``apprentice lint`` on all objects of an answer, as imaging IT runs it."""
    (folder / "source").mkdir(parents=True)
    for number, file in enumerate(reading.case.files):
        (folder / "source" / f"{number}.dcm").write_bytes(file)
    paths = [folder / f"{number}.dcm" for number in range(len(files))]
    for path, file in zip(paths, files, strict=True):
        path.write_bytes(file)
    command = [sys.executable, "-m", "learner", "lint", *paths, "--source", folder / "source", "--json"]
    said = subprocess.run(command, check=False, capture_output=True, text=True)
    assert said.returncode == 0, said.stdout + said.stderr
    assert all(report["source"] for report in json.loads(said.stdout)["files"])
