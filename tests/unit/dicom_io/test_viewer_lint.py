"""Each display rule: an object that breaks it is found, ours are clean, damaged ones are judged or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from broken_objects import BROKEN, LABELS, SHAPE, SOURCE, Broken, frames_of, made, multi_frame, name_one_image, without_sources
from dicom_phantoms import SEGMENTS, edited, identity, make_series
from pydicom.sequence import Sequence

from dicom_io.datasets import lenient
from dicom_io.errors import DicomIoError, InvalidObject
from dicom_io.read_series import read_series
from dicom_io.viewer_lint import RULES, Kind, Severity, lint, series_of
from dicom_io.viewer_lint.reference import reference
from dicom_io.write_seg import write_prediction


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: f"{broken.rule}-{broken.file}")
def test_each_rule_catches_what_breaks_it(broken: Broken) -> None:
    (rule,) = (rule for rule in RULES if rule.name == broken.rule)
    with edited(made(broken.file)) as (dataset, encode), lenient():
        broken.spoil(dataset)
        found = [f for f in lint(encode(), broken.source(), siblings=broken.siblings) if f.rule == broken.rule]
    assert found
    assert {finding.severity for finding in found} == {rule.severity}
    assert all(finding.what.endswith(".") and finding.reason and finding.remedy and finding.viewers for finding in found)


def test_each_rule_is_broken_by_a_test_and_has_a_name_of_its_own() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(set(names)) == sorted(names) == sorted({broken.rule for broken in BROKEN})


@pytest.mark.parametrize(
    ("name", "warnings"),
    [
        ("seg", set()),
        ("map", set()),
        ("sr", set()),
        ("report", set()),
        ("keys", {"key-objects"}),
        ("structures", set()),
        ("capture", set()),
    ],
)
def test_our_results_break_no_rule_but_those_that_cannot_be_kept(name: str, warnings: set[str]) -> None:
    for source in (SOURCE, None):
        found = lint(made(name), source)
        assert [finding for finding in found if finding.severity is Severity.ERROR] == []
        assert {finding.rule for finding in found} == warnings


def test_errors_come_first() -> None:
    severities = [finding.severity for finding in lint(made("fractional"), SOURCE)]
    assert severities == sorted(severities, key=list(Severity).index)
    assert len(set(severities)) == 2


def test_what_a_caller_accepts_is_not_found() -> None:
    accepted = lint(made("fractional"), SOURCE, accept=("fractional",))
    assert {finding.rule for finding in accepted} == {"not-binary"}
    with pytest.raises(ValueError, match="there is no rule 'fractoinal'"):
        lint(made("fractional"), SOURCE, accept=("fractoinal",))


def test_a_fractional_object_of_two_values_is_shown_by_ohif() -> None:
    with edited(made("fractional")) as (dataset, encode):
        pixels = np.frombuffer(dataset.PixelData, np.uint8)
        dataset.PixelData = np.where(pixels > 99, dataset.MaximumFractionalValue, 0).astype(np.uint8).tobytes()
        assert "fractional" not in {finding.rule for finding in lint(encode(), SOURCE)}


def test_frames_by_position_alone_are_found_on_their_slices() -> None:
    with edited(made("seg")) as (dataset, encode):
        without_sources(dataset)
        assert lint(encode(), SOURCE) == ()


def test_frames_of_a_multi_frame_image_are_told_apart() -> None:
    with edited(made("map")) as (dataset, encode):
        name_one_image(dataset)
        for number, group in enumerate(frames_of(dataset), start=1):
            group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = number
        assert lint(encode(), multi_frame()) == ()


def test_a_source_without_frame_of_reference_is_not_compared_by_it() -> None:
    source = read_series(make_series(SHAPE, frame_of_reference=""))
    with edited(write_prediction(source, LABELS, SEGMENTS, identity())) as (dataset, encode):
        dataset.FrameOfReferenceUID = "1.2.9"
        assert lint(encode(), source) == ()


def test_a_cut_off_result_is_invalid() -> None:
    with pytest.raises(InvalidObject):
        lint(made("seg")[:-50], SOURCE)
    with pytest.raises(InvalidObject):
        series_of(b"no DICOM")


def test_no_finding_names_a_patient() -> None:
    for broken in BROKEN:
        for finding in lint(made(broken.file), broken.source()):
            assert "P1" not in finding.what
            assert "Doe" not in finding.what


@pytest.mark.parametrize("name", ["seg", "fractional", "labelmap", "map", "sr", "keys", "structures", "capture"])
def test_damaged_objects_are_judged_or_refused(name: str) -> None:
    """Bytes changed at random places: findings, or an error of ours, and nothing else."""
    random = np.random.default_rng(sum(name.encode()))
    file = made(name)
    head = min(len(file), 12_000)
    judged = 0
    for _ in range(60):
        damaged = bytearray(file)
        for place in random.integers(132, head, random.integers(1, 12)):
            damaged[place] = random.integers(0, 256)
        try:
            lint(bytes(damaged), SOURCE)
            judged += 1
        except DicomIoError:
            continue
    assert judged > 0


@pytest.mark.parametrize("name", ["seg", "map", "sr", "keys", "structures"])
def test_objects_with_attributes_of_the_wrong_kind_are_judged(name: str) -> None:
    """Each attribute at the top, and in the first item of each sequence, in turn empty, text instead of items, or gone."""
    with edited(made(name)) as (whole, _):
        paths = [(element.tag, None) for element in whole]
        paths += [(e.tag, inner.tag) for e in whole if e.VR == "SQ" and e.value for inner in e.value[0]]
    for outer, inner in paths:
        for change in ("empty", "gone", "text"):
            with edited(made(name)) as (dataset, encode), lenient():
                target, tag = (dataset, outer) if inner is None else (dataset[outer].value[0], inner)
                if tag == 0x00080018:  # without SOP Instance UID it is no object
                    continue
                if change == "gone":
                    del target[tag]
                elif change == "text" and target[tag].VR == "SQ":
                    del target[tag]
                    target.add_new(tag, "LO", "12\\34")
                else:
                    target[tag].value = None if target[tag].VR != "SQ" else Sequence()
                try:
                    lint(encode(), SOURCE)
                except DicomIoError:
                    continue


def test_the_page_lists_the_rules_as_they_are() -> None:
    page = Path(__file__).resolve().parents[3] / "docs" / "viewer-lint.md"
    assert page.read_text(encoding="utf-8") == reference(), (
        "run: python -m dicom_io.viewer_lint.reference > docs/viewer-lint.md"
    )
    assert all(page.read_text(encoding="utf-8").count(f"| `{rule.name}` |") == 1 for rule in RULES)


def test_every_kind_has_rules_of_its_own() -> None:
    for kind in Kind:
        assert any(kind in rule.kinds and len(rule.kinds) < len(Kind) for rule in RULES)


def test_pixels_of_an_unknown_kind_are_none() -> None:
    file = made("seg").replace(b"\xe0\x7f\x10\x00OB", b"\xe0\x7f\x10\x00EB")
    assert file != made("seg")
    assert "pixel-data" in {finding.rule for finding in lint(file, SOURCE)}
