"""Cases as DICOM: a folder of images each, and a segmentation of the same name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from node_harness import SEGMENTS, phantom

from dicom_io.errors import DicomIoError
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_drawing_seg
from learner.errors import ConfigurationError
from learner.evaluation.folders import LabelledFolders


def case(root: Path, name: str, seed: int) -> np.ndarray:
    """Writes a case; gives its truth."""
    files, truth_DHW = phantom(slices=6, size=24, seed=seed, number=seed)
    (root / "images" / name).mkdir(parents=True)
    (root / "labels").mkdir(exist_ok=True)
    for number, file in enumerate(reversed(files)):
        (root / "images" / name / f"{number}.dcm").write_bytes(file)
    segmentation = write_drawing_seg(read_series(files), {1: truth_DHW > 0}, SEGMENTS, "Reader", "truth")
    (root / "labels" / f"{name}.dcm").write_bytes(segmentation)
    return truth_DHW


def test_series_and_segmentations_are_read_in_the_order_of_position(tmp_path: Path) -> None:
    truths = {name: case(tmp_path, name, seed) for seed, name in enumerate(("b", "a"), start=1)}
    folders = LabelledFolders(tmp_path / "images", tmp_path / "labels")
    assert folders.names() == ("a", "b")
    for name, truth_DHW in truths.items():
        found = folders.load(name)
        assert np.array_equal(found.labels_DHW, truth_DHW)
        assert found.spacing_DHW == pytest.approx((3.0, 1.0, 1.0))
        assert found.image_DHW[truth_DHW > 0].mean() > found.image_DHW[truth_DHW == 0].mean() + 200


def test_a_segmentation_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    truth_DHW = case(tmp_path, "a", 1)
    (tmp_path / "labels" / "a").mkdir()
    (tmp_path / "labels" / "a.dcm").rename(tmp_path / "labels" / "a" / "seg.dcm")
    found = LabelledFolders(tmp_path / "images", tmp_path / "labels").load("a")
    assert np.array_equal(found.labels_DHW, truth_DHW)


def test_faults_name_the_case(tmp_path: Path) -> None:
    case(tmp_path, "a", 1)
    folders = LabelledFolders(tmp_path / "images", tmp_path / "labels")
    (tmp_path / "images" / "b").mkdir()
    with pytest.raises(ConfigurationError, match="no labels for 1 images, the first being b"):
        folders.names()
    (tmp_path / "labels" / "a.dcm").write_bytes(b"no DICOM")
    with pytest.raises(DicomIoError):
        folders.load("a")
