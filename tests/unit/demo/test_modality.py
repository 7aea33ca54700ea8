from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from dicom_io.geometry import Geometry
from dicom_io.identifiers import is_valid_uid
from dicom_io.read_series import read_series
from learner.demo.data import Head
from learner.demo.modality import Order, image_series
from learner.demo.variations import Acquisition, Scan, Variation, vary

DCIODVFY = Path(sys.executable).with_name("dciodvfy")


@pytest.fixture(scope="module")
def scan(head: Head) -> Scan:
    return vary(head, Variation("oblique", "tilted", Acquisition(4.0, 2.0, (9.0, -5.0, 3.0)), seed=3))


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_the_series_reads_back_voxel_by_voxel_in_its_place(scan: Scan, modality: str) -> None:
    series = read_series(image_series(scan, Order(3, "run", modality=modality))[::-1])
    assert np.array_equal(series.volume.voxels_DHW, scan.voxels_DHW)
    assert np.abs(series.volume.geometry.affine - scan.geometry.affine).max() < 1e-4
    assert series.volume.series.modality == modality
    assert series.remarks == ()


@pytest.mark.parametrize("modality", ["MR", "CT"])
def test_dciodvfy_finds_no_error(scan: Scan, modality: str, tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    path.write_bytes(image_series(scan, Order(1, "run", modality=modality))[2])
    told = subprocess.run([DCIODVFY, "-new", path], capture_output=True, text=True, check=False, timeout=60)
    assert "Error" not in told.stdout + told.stderr
    assert f"{modality}Image" in told.stdout + told.stderr  # it did look


def test_negative_values_survive_as_hounsfield_units(scan: Scan) -> None:
    series = read_series(image_series(replace(scan, voxels_DHW=scan.voxels_DHW - np.int16(1000)), Order(1, "r", modality="CT")))
    assert series.volume.voxels_DHW.min() < -900
    assert series.volume.unit == "HU"


def test_patients_are_fictitious_and_identifiers_follow_from_the_run(scan: Scan) -> None:
    def heads(order: Order) -> list[tuple[str, str, str]]:
        read = [dcmread(BytesIO(file), stop_before_pixels=True) for file in image_series(scan, order)]
        assert all(str(one.PatientName).startswith("Demo^") for one in read)
        return [(one.StudyInstanceUID, one.SeriesInstanceUID, one.SOPInstanceUID) for one in read]

    first = heads(Order(1, "a"))
    assert first == heads(Order(1, "a"))
    assert not {uid for uids in first for uid in uids} & {uid for uids in heads(Order(1, "b")) for uid in uids}
    assert len({uids[2] for uids in first}) == len(first)
    assert all(is_valid_uid(uid) for uids in first for uid in uids)


def test_a_left_handed_grid_and_values_beyond_16_bits_are_refused(scan: Scan) -> None:
    mirrored = np.array(scan.geometry.affine)
    mirrored[:, 0] *= -1
    with pytest.raises(ValueError, match="left-handed"):
        image_series(replace(scan, geometry=Geometry(scan.geometry.shape, mirrored, "1.2")), Order(1, "run"))
    with pytest.raises(ValueError, match="16 bits"):
        image_series(replace(scan, voxels_DHW=np.full(scan.geometry.shape, 40000)), Order(1, "run"))
