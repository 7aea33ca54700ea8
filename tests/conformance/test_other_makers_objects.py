"""The display rules on objects of other makers, judged by hand: what is found is true, and what is there is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from dicom_io.datasets import parse, text
from dicom_io.viewer_lint import Kind, lint
from dicom_io.viewer_lint.folder import SourceFolder
from dicom_io.viewer_lint.model import kind_of

pytestmark = pytest.mark.data

_NO_COLOUR = {"segment-colour"}
_COMPREHENSIVE_3D = {"report-class-slicer", "report-class-stone", "report-library"}
EXPECTED = {
    # dcmqi and the treatment planning system name their slices; only the narrow one meets an old fault of Weasis
    "seg_dcmqi/liver.dcm": set(),
    "seg_dcmqi/24x38x3/seg/label.seg": set(),
    "seg_dcmqi/23x38x3/seg/label.seg": {"columns"},
    "rtstruct_aria/RS_Body_SpinalCord.dcm": set(),
    # highdicom's fixtures have no colours; "fractional" with two values is shown by OHIF, with more it is not
    "seg_highdicom/seg_image_ct_binary.dcm": _NO_COLOUR,
    "seg_highdicom/seg_image_ct_binary_overlap.dcm": _NO_COLOUR,
    "seg_highdicom/seg_image_ct_binary_single_frame.dcm": _NO_COLOUR,
    "seg_highdicom/seg_image_ct_binary_fractional.dcm": _NO_COLOUR | {"not-binary"},
    "seg_highdicom/seg_image_ct_true_fractional.dcm": _NO_COLOUR | {"not-binary", "fractional"},
    "seg_highdicom/sr_document.dcm": _COMPREHENSIVE_3D | {"report-shapes"},
    "seg_highdicom/sr_document_with_multiple_groups.dcm": _COMPREHENSIVE_3D
    | {"report-shapes", "report-numbers", "region-coordinates"},
    "sr_tid1500_dwv/sr-roi.dcm": _COMPREHENSIVE_3D,
    "sr_tid1500_dwv/sr-rectangle.dcm": _COMPREHENSIVE_3D,
}
COMPARED = [name for name in EXPECTED if name.startswith(("seg_dcmqi", "rtstruct"))]
"""Objects whose images are there too and are a volume; the others' images are one slice, or are not there."""


@pytest.mark.parametrize("name", EXPECTED)
def test_the_findings_are_those_expected(data_dir: Path, name: str) -> None:
    assert {finding.rule for finding in lint((data_dir / "dicom" / name).read_bytes())} == EXPECTED[name]


@pytest.mark.parametrize("name", COMPARED)
def test_they_fit_the_images_that_they_name(data_dir: Path, name: str) -> None:
    """The folder of the liver holds the images of two other segmentations as well."""
    file = (data_dir / "dicom" / name).read_bytes()
    source = SourceFolder.open(data_dir / "dicom" / name.partition("/")[0]).source_of(file)
    assert source is not None
    assert {finding.rule for finding in lint(file, source)} == EXPECTED[name]


def test_they_do_not_fit_other_images(data_dir: Path) -> None:
    folder = data_dir / "dicom" / "seg_dcmqi"
    other = SourceFolder.open(folder / "24x38x3" / "image").source_of((folder / "24x38x3/seg/label.seg").read_bytes())
    found = {finding.rule for finding in lint((folder / "liver.dcm").read_bytes(), other)}
    assert found >= {"same-study", "same-patient", "referenced-series", "same-grid", "frame-of-reference", "frame-source"}


def test_every_such_object_is_expected(data_dir: Path) -> None:
    found = set()
    for path in (data_dir / "dicom").rglob("*"):
        if path.is_file() and path.suffix != ".gz" and kind_of(text(parse(path.read_bytes()), "SOPClassUID")) is not Kind.OTHER:
            found.add(path.relative_to(data_dir / "dicom").as_posix())
    assert found == set(EXPECTED)
