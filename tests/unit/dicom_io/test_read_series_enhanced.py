"""Multi-frame images are read to the same volumes as the single frames that they could have been."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_phantoms import edited, make_series
from enhanced_phantoms import MODALITIES, group, make_enhanced
from pydicom.dataset import Dataset

from dicom_io.errors import InvalidObject, SeriesNotAVolume
from dicom_io.identifiers import derived_uid
from dicom_io.read_series import read_series

SHAPE = (5, 6, 7)
ANGLES = (0.3, -0.2, 1.1)


@pytest.mark.parametrize("sop_class", MODALITIES)
@pytest.mark.parametrize("per_frame_geometry", [False, True])
def test_a_multi_frame_image_is_the_volume_of_its_single_frames(sop_class: str, per_frame_geometry: bool) -> None:
    order = [3, 0, 4, 1, 2]
    (file,) = make_enhanced(SHAPE, angles=ANGLES, sop_class=sop_class, order=order, per_frame_geometry=per_frame_geometry)
    series, single = read_series([file]), read_series(make_series(SHAPE, angles=ANGLES))
    assert np.array_equal(series.volume.voxels_DHW, single.volume.voxels_DHW)
    assert np.allclose(series.volume.geometry.affine, single.volume.geometry.affine)
    assert [one.frame_number for one in series.slices] == [order.index(index) + 1 for index in range(5)]
    assert series.volume.series.sop_instance_uids == (derived_uid("enhanced", "0"),) * 5
    assert series.volume.series.sop_class_uid == sop_class
    (header,) = series.headers
    assert header.NumberOfFrames == 5
    assert "PixelData" not in header
    assert series.remarks == ()
    assert series.is_regular


def test_a_concatenation_is_one_volume_and_a_part_too_few_is_waited_for() -> None:
    files = make_enhanced(SHAPE, instances=3)
    series = read_series([files[2], files[0], files[1]])
    assert np.array_equal(series.volume.voxels_DHW, read_series(make_enhanced(SHAPE)).volume.voxels_DHW)
    uids = [derived_uid("enhanced", str(part)) for part in (0, 0, 1, 1, 2)]
    assert [(one.sop_instance_uid, one.frame_number) for one in series.slices] == list(zip(uids, [1, 2, 1, 2, 1], strict=True))
    with pytest.raises(SeriesNotAVolume, match="2 of the 3 parts"):
        read_series(files[1:])


def test_a_single_frame_in_each_multi_frame_object() -> None:
    series = read_series(make_enhanced(SHAPE, instances=5))
    assert [one.frame_number for one in series.slices] == [1] * 5
    assert len(series.headers) == 1


def test_rescale_of_the_shared_group_and_of_each_frame() -> None:
    stored = np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE)
    shared = read_series(make_enhanced(SHAPE, sop_class="1.2.840.10008.5.1.4.1.1.2.1", rescale=(2.0, -1024.0)))
    assert np.array_equal(shared.volume.voxels_DHW, stored * 2 - 1024)
    assert shared.volume.unit == "HU"

    def own(item: Dataset, number: int) -> None:
        item.PixelValueTransformationSequence = group(RescaleSlope=number + 1, RescaleIntercept=-number, RescaleType="US")

    frames = read_series(make_enhanced(SHAPE, edit_frame=own)).volume.voxels_DHW
    factors = np.arange(5, dtype=np.float32)[:, None, None]
    assert np.array_equal(frames, stored * (factors + 1) - factors)


def test_a_real_world_mapping_of_the_frames() -> None:
    def mapped(item: Dataset, _: int) -> None:
        unit = group(CodeValue="ms", CodingSchemeDesignator="UCUM", CodeMeaning="ms")
        item.RealWorldValueMappingSequence = group(
            RealWorldValueSlope=0.5, RealWorldValueIntercept=0.0, MeasurementUnitsCodeSequence=unit
        )

    volume = read_series(make_enhanced(SHAPE, edit_frame=mapped)).volume
    assert volume.unit == "ms"
    assert volume.voxels_DHW[4, 5, 6] == (np.prod(SHAPE) - 1) / 2


@pytest.mark.parametrize("keyword", ["PlanePositionSequence", "PixelMeasuresSequence", "PlaneOrientationSequence"])
def test_a_frame_without_a_place_is_named(keyword: str) -> None:
    def spoil(item: Dataset, number: int) -> None:
        if number == 2:
            setattr(item, keyword, group())

    def unshared(dataset: Dataset, _: int) -> None:
        del dataset.SharedFunctionalGroupsSequence

    with pytest.raises(InvalidObject, match=r"^frame 3 of instance"):
        read_series(make_enhanced(SHAPE, per_frame_geometry=True, edit_frame=spoil, edit=unshared))


@pytest.mark.parametrize(("frames", "items"), [(4, 5), (6, 5), (5, 0)])
def test_frames_and_their_descriptions_have_to_agree(frames: int, items: int) -> None:
    (file,) = make_enhanced(SHAPE)
    with edited(file) as (dataset, encode):
        dataset.NumberOfFrames = frames
        dataset.PerFrameFunctionalGroupsSequence = dataset.PerFrameFunctionalGroupsSequence[:items]
        spoilt = encode()
    with pytest.raises(InvalidObject, match=f"announces {frames} frames and describes {items}"):
        read_series([spoilt])


def test_a_localizer_and_a_single_frame_are_no_volume() -> None:
    with pytest.raises(SeriesNotAVolume, match="localizer"):
        read_series(
            make_enhanced(SHAPE, edit=lambda d, _: setattr(d, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]))
        )
    with pytest.raises(SeriesNotAVolume, match="one slice only"):
        read_series(make_enhanced((1, 6, 7)))


def test_single_and_multi_frame_images_do_not_mix() -> None:
    def same(dataset: Dataset, _: int) -> None:
        dataset.SeriesInstanceUID = derived_uid("image")

    with pytest.raises(SeriesNotAVolume, match="SOPClassUID"):
        read_series(make_series(SHAPE) + make_enhanced(SHAPE, edit=same))
