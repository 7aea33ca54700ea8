"""All rules, and their run over one object."""

from __future__ import annotations

from collections.abc import Collection

from dicom_io.datasets import lenient, parse, text
from dicom_io.viewer_lint import captures, frames, general, key_objects, maps, rtstruct, seg, sr
from dicom_io.viewer_lint.model import Finding, Rule, Severity, Subject, kind_of
from dicom_io.volume import ImageSeries

RULES: tuple[Rule, ...] = (
    *general.RULES,
    *frames.RULES,
    *seg.RULES,
    *maps.RULES,
    *sr.RULES,
    *key_objects.RULES,
    *rtstruct.RULES,
    *captures.RULES,
)
_NAMES = frozenset(rule.name for rule in RULES)


def lint(
    file: bytes, source: ImageSeries | None = None, *, accept: Collection[str] = (), siblings: int = 1
) -> tuple[Finding, ...]:
    """What viewers would trip over in an object.

    Args:
        file: any object as a DICOM Part 10 file; what is neither a result nor an annotation is held against general rules only.
        source: the image series that it belongs to; without it, rules that compare with the source are left out.
        accept: names of rules that the caller knows to be broken and accepts; nothing is found by them.
        siblings: how many objects of its series there are, itself included.

    Returns:
        Findings, errors first, else in the order of the rules; none where all is well.

    Raises:
        InvalidObject: the bytes are no DICOM object, or are cut off.
        ValueError: ``accept`` names a rule that there is not.
    """
    if unknown := set(accept) - _NAMES:
        raise ValueError(f"there is no rule {min(unknown)!r}")
    dataset = parse(file)
    with lenient():
        subject, kind = Subject(dataset, source, siblings), kind_of(text(dataset, "SOPClassUID"))
        rules = [rule for rule in RULES if kind in rule.kinds and rule.name not in accept]
        found = [finding for rule in rules for finding in rule.findings(subject)]
    return tuple(sorted(found, key=lambda finding: finding.severity is not Severity.ERROR))


def series_of(file: bytes) -> str:
    """Series Instance UID of a file, empty where it has none.

    Raises:
        InvalidObject: the bytes are no DICOM object, or are cut off.
    """
    return text(parse(file), "SeriesInstanceUID")
