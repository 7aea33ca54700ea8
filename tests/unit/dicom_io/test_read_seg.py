from __future__ import annotations

from io import BytesIO

import highdicom as hd
import numpy as np
import pytest
from dicom_phantoms import SEGMENTS, blobs, edited, identity, make_series
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ImplicitVRLittleEndian

from dicom_io.annotation import Drawing
from dicom_io.codes import Code
from dicom_io.datasets import lenient
from dicom_io.errors import EmptyAnnotation, GeometryMismatch, InvalidObject, SourceMissing, UnsupportedObject
from dicom_io.read_annotation import inspect, read_annotation
from dicom_io.read_series import read_series
from dicom_io.reader_objects import write_drawing_seg
from dicom_io.source_headers import source_headers
from dicom_io.write_seg import write_prediction

SHAPE = (5, 20, 24)
SOURCE = read_series(make_series(SHAPE, angles=(0.2, 0.1, -0.4)))
LABELS = blobs(SHAPE)
SEG = write_prediction(SOURCE, LABELS, SEGMENTS, identity())


def assert_is(drawing: Drawing, labels_DHW: np.ndarray = LABELS) -> None:
    assert [segment.number for segment in drawing.segments] == [1, 2, 3]
    for segment in drawing.segments:
        assert np.array_equal(segment.mask_DHW, labels_DHW == segment.number)


def test_what_was_written_is_read_with_its_codes() -> None:
    drawing = read_annotation(SEG, SOURCE)
    assert_is(drawing)
    assert drawing.remarks == ()
    first = drawing.segments[0]
    assert first.label == "Liver"
    assert first.type == SEGMENTS[0].type
    assert first.category == SEGMENTS[0].category
    assert (first.algorithm_type, first.algorithm_name) == ("AUTOMATIC", "PACS Apprentice")
    assert first.tracking_identifier == "liver Liver"


def test_inspect_needs_no_images() -> None:
    header = inspect(SEG)
    assert header.modality == "SEG"
    assert header.referenced_series_uids == (SOURCE.volume.series.series_instance_uid,)
    assert set(header.referenced_sop_instance_uids) == set(SOURCE.volume.series.sop_instance_uids)
    assert (header.manufacturer, header.created) == ("PACS Apprentice", "20260102030405")
    assert header.referenced_frames == ()
    with edited(SEG) as (dataset, encode):
        dataset.ContentLabel, dataset.ContentDescription, dataset.StationName = "STROKES", "reviewed", "WS1"
        described = inspect(encode())
    assert (described.content_label, described.content_description, described.station) == ("STROKES", "reviewed", "WS1")
    drawn = inspect(write_drawing_seg(SOURCE, {1: LABELS == 1}, SEGMENTS, "Reader^One", "mine"))
    assert (drawn.reader, drawn.description) == ("Reader^One", "mine")


def test_frames_are_matched_by_reference_and_position_never_by_order() -> None:
    with edited(SEG) as (dataset, encode):
        order = np.random.default_rng(3).permutation(int(dataset.NumberOfFrames))
        bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
        frames = bits[: len(order) * 20 * 24].reshape(len(order), -1)
        dataset.PixelData = np.packbits(frames[order].ravel(), bitorder="little").tobytes()
        groups = dataset.PerFrameFunctionalGroupsSequence
        dataset.PerFrameFunctionalGroupsSequence = Sequence([groups[int(i)] for i in order])
        shuffled = encode()
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence
        by_position = encode()
        for group, original in zip(dataset.PerFrameFunctionalGroupsSequence, order, strict=True):
            group.DerivationImageSequence = (
                dcmread(BytesIO(SEG)).PerFrameFunctionalGroupsSequence[original].DerivationImageSequence
            )
            del group.PlanePositionSequence
        by_reference = encode()
    for file in (shuffled, by_position, by_reference):
        assert_is(read_annotation(file, SOURCE))


def test_what_ohif_saves() -> None:
    """Only drawn frames, no pixel spacing, everything MANUAL and "Tissue", sequences of undefined length, no maker."""
    with edited(SEG) as (dataset, encode):
        dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence = Sequence([Dataset()])
        dataset.Manufacturer = "Unspecified"
        for segment in dataset.SegmentSequence:
            segment.SegmentAlgorithmType = "MANUAL"
            for keyword in ("SegmentedPropertyCategoryCodeSequence", "SegmentedPropertyTypeCodeSequence"):
                item = segment[keyword].value[0]
                item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = "T-D0050", "SRT", "Tissue"
        for element in dataset.iterall():
            if element.VR == "SQ":
                element.is_undefined_length = True
                for item in element.value:
                    item.is_undefined_length_sequence_item = True
        file = encode()
    drawing = read_annotation(file, SOURCE)
    assert_is(drawing)
    assert drawing.remarks == ()
    assert [segment.algorithm_type for segment in drawing.segments] == ["MANUAL"] * 3
    assert {segment.type for segment in drawing.segments} == {Code("85756007", "SCT", "Tissue")}


def test_implicit_value_representations() -> None:
    with edited(SEG) as (dataset, _):
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        buffer = BytesIO()
        dataset.save_as(buffer, implicit_vr=True)
    assert_is(read_annotation(buffer.getvalue(), SOURCE))


def _segmentation(pixels: np.ndarray, kind: str) -> bytes:
    described = [
        hd.seg.SegmentDescription(
            segment_number=segment.number,
            segment_label=segment.name,
            segmented_property_category=hd.sr.CodedConcept(segment.category.value, "SCT", segment.category.meaning),
            segmented_property_type=hd.sr.CodedConcept(segment.type.value, "SCT", segment.type.meaning),
            algorithm_type="MANUAL",
        )
        for segment in SEGMENTS[: 1 if kind == "FRACTIONAL" else 3]
    ]
    with lenient():
        dataset = hd.seg.Segmentation(
            source_headers(SOURCE), pixels, kind, described, "1.2.3.1", 1, "1.2.3.2", 1, "maker", "model", "1", "1"
        )
    buffer = BytesIO()
    dataset.save_as(buffer)
    return buffer.getvalue()


def test_fractional_counts_from_half_the_maximum() -> None:
    fractions = np.linspace(0, 1, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)
    drawing = read_annotation(_segmentation(fractions, "FRACTIONAL"), SOURCE)
    assert np.array_equal(drawing.segments[0].mask_DHW, np.around(fractions * 255) >= 127.5)
    assert "FRACTIONAL" in drawing.remarks[0]


def test_label_maps_are_read_without_their_background() -> None:
    assert_is(read_annotation(_segmentation(LABELS, "LABELMAP"), SOURCE))


def test_overlapping_segments_stay_apart() -> None:
    masks = {1: LABELS > 0, 2: LABELS == 2}
    drawing = read_annotation(write_drawing_seg(SOURCE, masks, SEGMENTS, "R", "d"), SOURCE)
    assert np.array_equal(drawing.segments[0].mask_DHW, masks[1])
    assert np.array_equal(drawing.segments[1].mask_DHW, masks[2])
    assert not drawing.segments[2].mask_DHW.any()


def test_another_grid_in_the_same_space_is_resampled() -> None:
    fine = read_series(make_series((10, 40, 48), (1.5, 0.4, 0.3), (0.2, 0.1, -0.4), name="fine"))
    fine_labels = LABELS.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2)
    # The fine grid shares its first voxel centre with the source, so that even fine indices fall on source voxels.
    drawing = read_annotation(write_prediction(fine, fine_labels, SEGMENTS, identity()), SOURCE)
    assert_is(drawing)
    assert "resampled" in drawing.remarks[0]


def test_a_sagittal_drawing_appears_as_a_stripe_in_axial_slices() -> None:
    axial = read_series(make_series((8, 10, 12), (1.0, 1.0, 1.0), origin=(0, 0, 0)))

    def sagittal(dataset: Dataset, index: int) -> None:
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
        dataset.ImagePositionPatient = [index, 0, 0]

    other = read_series(make_series((12, 8, 10), (1.0, 1.0, 1.0), name="sagittal", edit=sagittal))
    drawn = np.zeros((12, 8, 10), np.uint8)
    drawn[5, 2:6, 3:7] = 1
    mask = read_annotation(write_prediction(other, drawn, SEGMENTS, identity()), axial).segments[0].mask_DHW
    expected = np.zeros((8, 10, 12), bool)
    expected[2:6, 3:7, 5] = True
    assert np.array_equal(mask, expected)


def test_other_spaces_and_other_series_are_refused() -> None:
    elsewhere = read_series(make_series(SHAPE, name="other", frame_of_reference="1.2.99"))
    with pytest.raises(GeometryMismatch, match=r"its frame of reference is 1\.2\.3\.4, the image's is 1\.2\.99"):
        read_annotation(SEG, elsewhere)
    without = read_series(make_series(SHAPE, name="other", frame_of_reference=""))
    with pytest.raises(SourceMissing, match="not of series"):
        read_annotation(SEG, without)
    far = read_series(make_series(SHAPE, name="far", origin=(500, 500, 500)))
    with pytest.raises(GeometryMismatch, match="nothing of it lies within"):
        read_annotation(SEG, far)


def test_a_source_without_frame_of_reference_is_matched_by_its_images() -> None:
    source = read_series(make_series(SHAPE, frame_of_reference=""))
    file = write_prediction(source, LABELS, SEGMENTS, identity())
    assert_is(read_annotation(file, source))
    with edited(file) as (dataset, encode):
        dataset.FrameOfReferenceUID = "1.2.77"
        assert_is(read_annotation(encode(), source))
        for group in dataset.PerFrameFunctionalGroupsSequence:
            del group.DerivationImageSequence
        with pytest.raises(GeometryMismatch, match="no frame of reference to compare"):
            read_annotation(encode(), source)


def test_a_segmentation_without_foreground_is_empty() -> None:
    with pytest.raises(EmptyAnnotation, match="no frame of it has foreground"):
        read_annotation(write_prediction(SOURCE, np.zeros(SHAPE, np.uint8), SEGMENTS, identity()), SOURCE)


def test_damaged_files_are_invalid_at_every_length() -> None:
    for length in range(0, len(SEG), 151):
        with pytest.raises(InvalidObject):
            read_annotation(SEG[:length], SOURCE)
    with pytest.raises(InvalidObject):
        inspect(b"not DICOM at all")


def test_contradictions_are_invalid() -> None:
    with edited(SEG) as (dataset, encode):
        dataset.PerFrameFunctionalGroupsSequence.pop()
        with pytest.raises(InvalidObject, match="describes"):
            read_annotation(encode(), SOURCE)
    with edited(SEG) as (dataset, encode):
        dataset.SegmentSequence.pop(1)
        with pytest.raises(InvalidObject, match="segment 2"):
            read_annotation(encode(), SOURCE)


def test_an_image_is_no_annotation() -> None:
    with pytest.raises(UnsupportedObject, match="no annotation"):
        inspect(make_series()[0])
