"""Several volumes in one series: which attributes tell them apart, which volume is taken, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from dicom_phantoms import make_series
from enhanced_phantoms import ENHANCED_CT, make_enhanced
from pydicom.dataset import Dataset

from dicom_io.datasets import lenient
from dicom_io.errors import SeriesNotAVolume
from dicom_io.identifiers import derived_uid
from dicom_io.read_series import read_series, split_series

SHAPE = (3, 4, 5)


def volumes(*attributes: Mapping[str, object], edit: Callable[[Dataset, int, int], None] | None = None) -> list[bytes]:
    """Single-frame volumes at the same positions in one series; all values of the n-th are n."""
    files = []
    for number, own in enumerate(attributes):

        def change(dataset: Dataset, index: int, number: int = number, own: Mapping[str, object] = own) -> None:
            dataset.SOPInstanceUID = derived_uid("volume", str(number), str(index))
            for keyword, value in own.items():
                setattr(dataset, keyword, value)
            if edit:
                edit(dataset, index, number)

        files += make_series(SHAPE, voxels_DHW=np.full(SHAPE, number, np.uint16), edit=change)
    return files


def names(files: Sequence[bytes]) -> list[str]:
    return [part.name for part in split_series(files)]


CASES = [
    ("EchoTime", [30.0, 10.0], ["EchoTime 10", "EchoTime 30"]),
    ("DiffusionBValue", [800.0, 0.0, 50.0], ["DiffusionBValue 0", "DiffusionBValue 50", "DiffusionBValue 800"]),
    ("TemporalPositionIdentifier", [10, 9], ["TemporalPositionIdentifier 9", "TemporalPositionIdentifier 10"]),
    ("TriggerTime", [40.0, 5.0], ["TriggerTime 5", "TriggerTime 40"]),
    ("AcquisitionTime", ["101502.5", "101501"], ["AcquisitionTime 101501", "AcquisitionTime 101502.5"]),
    ("ContentTime", ["101502", "101501"], ["ContentTime 101501", "ContentTime 101502"]),
    ("AcquisitionNumber", [2, 1], ["AcquisitionNumber 1", "AcquisitionNumber 2"]),
    ("InversionTime", [900.0, 150.0], ["InversionTime 150", "InversionTime 900"]),
    ("FlipAngle", [20.0, 5.0], ["FlipAngle 5", "FlipAngle 20"]),
    ("ContrastBolusAgent", ["Gd", ""], ["ContrastBolusAgent absent", "ContrastBolusAgent Gd"]),
    ("SequenceName", ["*ep_b800t", "*ep_b0"], ["SequenceName *ep_b0", "SequenceName *ep_b800t"]),
    (
        "ImageType",
        [["ORIGINAL", "PRIMARY", "P"], ["ORIGINAL", "PRIMARY", "M"]],
        ["ImageType ORIGINAL/PRIMARY/M", "ImageType ORIGINAL/PRIMARY/P"],
    ),
    (
        "ImageType",
        [["DERIVED", "PRIMARY", kind] for kind in ("WATER", "FAT", "IN_PHASE", "OUT_PHASE")],
        [f"ImageType DERIVED/PRIMARY/{kind}" for kind in ("FAT", "IN_PHASE", "OUT_PHASE", "WATER")],
    ),
]


@pytest.mark.parametrize(("keyword", "values", "expected"), CASES)
def test_an_attribute_tells_volumes_apart(keyword: str, values: list[object], expected: list[str]) -> None:
    with lenient():
        files = volumes(*({keyword: value} for value in values))
        assert names(files) == expected
        first = read_series(files)
        assert first.part == expected[0]
        assert f"holds {len(values)} volumes that differ in {keyword}" in first.remarks[0]
        assert "comes first" in first.remarks[0]
        for part in split_series(files):
            series = read_series(files, part.images[:1])
            assert (series.part, len(series.slices)) == (part.name, SHAPE[0])
            assert len(set(series.volume.voxels_DHW.ravel())) == 1


@pytest.mark.parametrize(
    ("group", "creator", "element", "value"),
    [
        (0x0019, "SIEMENS MR HEADER", 0x0C, ["0", "800"]),
        (0x0043, "GEMS_PARM_01", 0x39, [["0", "8", "0", "0"], ["1000000800", "8", "0", "0"]]),
    ],
)
def test_b_values_of_vendors(group: int, creator: str, element: int, value: list[object]) -> None:
    def private(dataset: Dataset, _: int, number: int) -> None:
        dataset.private_block(group, creator, create=True).add_new(element, "IS", value[number])

    assert names(volumes({}, {}, edit=private)) == ["DiffusionBValue 0", "DiffusionBValue 800"]


def test_directions_of_one_b_value_are_told_apart_with_it() -> None:
    files = volumes(
        {"DiffusionBValue": 0.0},
        {"DiffusionBValue": 800.0, "DiffusionGradientOrientation": [0.0, 1.0, 0.0]},
        {"DiffusionBValue": 800.0, "DiffusionGradientOrientation": [1.0, 0.0, 0.0]},
    )
    assert names(files) == [
        "DiffusionBValue 0, DiffusionGradientOrientation absent",
        "DiffusionBValue 800, DiffusionGradientOrientation 0/1/0",
        "DiffusionBValue 800, DiffusionGradientOrientation 1/0/0",
    ]


def test_slices_of_a_beating_heart_are_ordered_by_their_own_trigger_times() -> None:
    def beat(dataset: Dataset, index: int, number: int) -> None:
        dataset.TriggerTime = number * (30 + index) + index

    files = volumes({}, {}, {}, edit=beat)
    assert names(files) == ["TriggerTime 1 of 3", "TriggerTime 2 of 3", "TriggerTime 3 of 3"]
    third = read_series(files, split_series(files)[2].images)
    assert third.volume.voxels_DHW.min() == third.volume.voxels_DHW.max() == 2


def test_what_changes_from_slice_to_slice_does_not_hide_what_tells_volumes_apart() -> None:
    def noise(dataset: Dataset, index: int, number: int) -> None:
        dataset.RepetitionTime = 500 + index
        dataset.AcquisitionTime = f"1015{10 * number + index:02}"

    assert names(volumes({"EchoTime": 5.0}, {"EchoTime": 9.0}, edit=noise)) == ["EchoTime 5", "EchoTime 9"]


def test_an_aborted_time_point_is_a_volume_of_its_own() -> None:
    files = volumes({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2})[:-1]
    assert [len(part.images) for part in split_series(files)] == [3, 2]


def test_the_annotation_chooses_and_strangers_do_not() -> None:
    files = volumes({"EchoTime": 5.0}, {"EchoTime": 9.0})
    chosen = read_series(files, [(derived_uid("volume", "1", "2"), 0)])
    assert chosen.part == "EchoTime 9"
    assert "the annotation refers to" in chosen.remarks[0]
    assert read_series(files, [("1.2.3", 0)]).part == "EchoTime 5"


def test_one_volume_has_no_name() -> None:
    files = make_series(SHAPE)
    assert names(files) == [""]
    assert read_series(files).part == ""


def test_unexplained_repetitions_are_refused() -> None:
    for split in (read_series, split_series):
        with pytest.raises(SeriesNotAVolume, match=r"6 slices lie at 3 positions.*tells them apart"):
            split(volumes({}, {}))


def test_one_slice_at_many_times_is_no_volume() -> None:
    def still(dataset: Dataset, index: int) -> None:
        dataset.ImagePositionPatient, dataset.TriggerTime = [0, 0, 0], 10 * index

    with pytest.raises(SeriesNotAVolume, match="one slice again and again"):
        read_series(make_series(SHAPE, edit=still))


def turned(name: str, count: int) -> list[bytes]:
    def rename(dataset: Dataset, index: int) -> None:
        dataset.SeriesInstanceUID = derived_uid("image")
        dataset.SOPInstanceUID = derived_uid(name, str(index))

    return make_series((count, 4, 5), angles=(0.3, 0, 0), name=name, edit=rename)


def test_stacks_of_several_orientations_are_several_volumes_if_they_have_slices_enough() -> None:
    files = make_series(SHAPE) + turned("turned", 3)
    assert [len(part.images) for part in split_series(files)] == [3, 3]
    assert all(name.startswith("ImageOrientationPatient 1.00/0.00/0.00/0.00/") for name in names(files))
    assert read_series(files, [(derived_uid("turned", "0"), 0)]).slices[0].sop_instance_uid == derived_uid("turned", "0")
    with pytest.raises(SeriesNotAVolume, match="different orientations"):
        read_series(make_series(SHAPE) + turned("turned", 1))


ENHANCED_CASES = [
    ("EffectiveEchoTime", [10.0, 30.0]),
    ("DiffusionBValue", [0.0, 500.0, 1000.0]),
    ("InversionTimes", [150.0, 900.0]),
    ("FlipAngle", [5.0, 20.0]),
    ("FrameType", [["DERIVED", "PRIMARY", "VOLUME", kind] for kind in ("FAT", "WATER")]),
    ("TemporalPositionIndex", [1, 2, 3]),
    ("NominalCardiacTriggerDelayTime", [0.0, 40.0, 80.0]),
    ("FrameAcquisitionDateTime", ["20250102101112", "20250102101130"]),
    ("StackID", ["1", "2"]),
]


@pytest.mark.parametrize("instances", [1, 3])
@pytest.mark.parametrize(("keyword", "values"), ENHANCED_CASES)
def test_an_attribute_tells_frames_apart(keyword: str, values: list[object], instances: int) -> None:
    count = SHAPE[0] * len(values)
    order = np.random.default_rng(0).permutation(count)
    files = make_enhanced(SHAPE, variants=[{keyword: value} for value in values], order=order, instances=instances)
    expected = np.arange(count * 20, dtype=np.float32).reshape(len(values), *SHAPE)
    parts = split_series(files)
    assert len(parts) == len(values)
    for part, voxels_DHW in zip(parts, expected, strict=True):
        assert part.name.startswith(keyword)
        series = read_series(files, part.images[-1:])
        assert np.array_equal(series.volume.voxels_DHW, voxels_DHW)
        assert sorted((one.sop_instance_uid, one.frame_number) for one in series.slices) == sorted(part.images)


def test_a_dimension_that_the_image_declares_explains_when_nothing_else_does() -> None:
    def only_indices(item: Dataset, number: int) -> None:
        variant = item.MREchoSequence[0].EffectiveEchoTime
        del item.MREchoSequence
        item.FrameContentSequence[0].DimensionIndexValues = [1, number % 3 + 1, int(variant)]

    files = make_enhanced(SHAPE, variants=[{"EffectiveEchoTime": 1.0}, {"EffectiveEchoTime": 2.0}], edit_frame=only_indices)
    assert names(files) == ["dimension 3 (EffectiveEchoTime) 1", "dimension 3 (EffectiveEchoTime) 2"]


def test_phases_of_an_enhanced_ct() -> None:
    files = make_enhanced(SHAPE, sop_class=ENHANCED_CT, variants=[{"TemporalPositionIndex": 1}, {"TemporalPositionIndex": 2}])
    assert names(files) == ["TemporalPositionIndex 1", "TemporalPositionIndex 2"]
