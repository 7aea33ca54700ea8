"""``apprentice lint``: exit codes, JSON, the choice of the images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dicom_phantoms import SEGMENTS, blobs, edited, identity, make_series

from dicom_io.read_series import read_series
from dicom_io.write_seg import write_prediction, write_residual_fractional

Run = Callable[..., tuple[int, str, str]]
SHAPE = (5, 16, 24)
IMAGES = make_series(SHAPE)
SOURCE = read_series(IMAGES)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A clean SEG, a FRACTIONAL one, and a folder with their images, another series and a text."""
    (tmp_path / "clean.dcm").write_bytes(write_prediction(SOURCE, blobs(SHAPE), SEGMENTS, identity()))
    residual = np.linspace(0, 1, SOURCE.volume.voxels_DHW.size, dtype=np.float32).reshape(SHAPE)
    (tmp_path / "fractional.dcm").write_bytes(write_residual_fractional(SOURCE, residual, identity("residual")))
    (tmp_path / "images" / "deep").mkdir(parents=True)
    for place, file in enumerate(IMAGES):
        (tmp_path / "images" / "deep" / f"{place}").write_bytes(file)
    for place, file in enumerate(make_series((4, 8, 8), name="other")):
        (tmp_path / "images" / f"other-{place}.dcm").write_bytes(file)
    (tmp_path / "images" / "read.me").write_text("no DICOM", encoding="utf-8")
    return tmp_path


def test_a_clean_object_is_code_0(run: Run, site: Path) -> None:
    code, out, err = run("lint", site / "clean.dcm", "--source", site / "images")
    assert (code, err) == (0, "")
    assert "clean.dcm: no rule is broken" in out
    assert "nothing was compared" not in out


def test_an_error_is_code_1_and_says_which_viewers(run: Run, site: Path) -> None:
    code, out, _ = run("lint", site / "fractional.dcm", site / "clean.dcm")
    assert code == 1
    (line,) = [line for line in out.splitlines() if " fractional " in line and "refuses it" in line]
    assert "OHIF" in line
    assert "clean.dcm: no rule is broken" in out


def test_a_warning_alone_is_code_0(run: Run, site: Path) -> None:
    with edited((site / "clean.dcm").read_bytes()) as (dataset, encode):
        dataset.SegmentSequence[0].SegmentLabel = "couch"
        (site / "couch.dcm").write_bytes(encode())
    code, out, _ = run("lint", site / "couch.dcm")
    assert code == 0
    assert "hidden-word" in out


def test_what_cannot_be_read_is_code_2_in_one_line_and_the_rest_is_judged(run: Run, site: Path) -> None:
    (site / "cut.dcm").write_bytes((site / "clean.dcm").read_bytes()[:-50])
    code, out, err = run("lint", site / "images" / "read.me", site / "cut.dcm", site / "nowhere.dcm", site / "clean.dcm")
    assert code == 2
    assert len(err.splitlines()) == 3
    assert "these bytes are no DICOM file" in err
    assert "nowhere.dcm: No such file" in err
    assert "clean.dcm: no rule is broken" in out


def test_json_has_the_documented_form(run: Run, site: Path) -> None:
    code, out, _ = run("lint", site / "fractional.dcm", site / "nowhere.dcm", "--source", site / "images", "--json")
    report = json.loads(out)
    assert code == 2
    assert report["version"] == 1
    judged, missing = report["files"]
    assert set(judged) == set(missing) == {"file", "source", "error", "findings"}
    assert judged["file"] == str(site / "fractional.dcm")
    assert judged["source"] == SOURCE.volume.series.series_instance_uid
    assert judged["error"] is None
    assert missing["error"] == "No such file or directory"
    first = judged["findings"][0]
    assert set(first) == {"rule", "severity", "viewers", "what", "reason", "remedy"}
    assert (first["rule"], first["severity"], first["viewers"]) == ("fractional", "error", ["OHIF"])


def test_objects_of_one_series_shadow_each_other(run: Run, site: Path) -> None:
    with edited((site / "clean.dcm").read_bytes()) as (dataset, encode):
        dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
        (site / "second.dcm").write_bytes(encode())
    code, out, _ = run("lint", site / "clean.dcm", site / "second.dcm", "--json")
    assert code == 1
    assert [finding["rule"] for file in json.loads(out)["files"] for finding in file["findings"]] == ["last-instance"] * 2


def test_a_folder_without_the_images_is_said(run: Run, site: Path) -> None:
    (site / "elsewhere").mkdir()
    code, out, _ = run("lint", site / "clean.dcm", "--source", site / "elsewhere")
    assert code == 0
    assert "nothing was compared" in out


def test_the_only_series_is_compared_even_if_it_is_not_named(run: Run, site: Path) -> None:
    (site / "wrong").mkdir()
    for place, file in enumerate(make_series((4, 8, 8), name="other")):
        (site / "wrong" / f"{place}.dcm").write_bytes(file)
    code, out, _ = run("lint", site / "clean.dcm", "--source", site / "wrong", "--json")
    assert code == 1
    assert "referenced-series" in {finding["rule"] for finding in json.loads(out)["files"][0]["findings"]}


def test_images_that_are_no_volume_are_said_and_the_object_is_judged_alone(run: Run, site: Path) -> None:
    (site / "one").mkdir()
    (site / "one" / "slice.dcm").write_bytes(IMAGES[0])
    code, out, err = run("lint", site / "fractional.dcm", "--source", site / "one")
    assert code == 2
    assert "its images cannot be compared" in err
    assert "refuses it" in out
