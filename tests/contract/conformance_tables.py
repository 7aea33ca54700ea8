"""What the node writes, found out by writing: attributes by module, where their values come from, functional groups, codes."""

from __future__ import annotations

import json
import pkgutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import cache
from io import BytesIO
from typing import Any, cast

import numpy as np
from dicom_phantoms import CREATED, SEGMENTS, blobs, identity, make_series
from pydicom import dcmread
from pydicom.datadict import dictionary_description, tag_for_keyword
from pydicom.dataset import Dataset

from dicom_io.read_series import read_series
from dicom_io.results import LabelMeasurement, ResultIdentity, SuggestedSlice
from dicom_io.volume import ImageSeries
from dicom_io.write_captures import write_captures
from dicom_io.write_key_objects import write_key_objects
from dicom_io.write_map import write_residual_map
from dicom_io.write_refusal import write_refusal
from dicom_io.write_report import ReportContent, write_report
from dicom_io.write_rtstruct import write_contours
from dicom_io.write_seg import write_prediction, write_residual_bands, write_residual_fractional

SHAPE = (4, 12, 16)


def _one(dataset: Dataset, _: int) -> None:
    """All that can be inherited is there."""
    dataset.PatientAge, dataset.PatientSize, dataset.PatientWeight, dataset.StudyDescription = "050Y", "1.7", "70", "one"
    dataset.IssuerOfPatientID, dataset.ReferringPhysicianName, dataset.ManufacturerModelName = "H1", "A^B", "M1"
    dataset.PositionReferenceIndicator = "XY"


def _other(dataset: Dataset, index: int) -> None:
    """Another patient, study, scanner and place."""
    _one(dataset, index)
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate, dataset.PatientSex = "Roe^John", "P2", "19800202", "M"
    dataset.PatientAge, dataset.PatientSize, dataset.PatientWeight, dataset.StudyDescription = "040Y", "1.8", "80", "other"
    dataset.IssuerOfPatientID, dataset.ReferringPhysicianName, dataset.ManufacturerModelName = "H2", "C^D", "M2"
    dataset.StudyInstanceUID, dataset.StudyDate, dataset.StudyTime = "1.2.3.5", "20240101", "010203"
    dataset.StudyID, dataset.AccessionNumber, dataset.Manufacturer = "2", "A2", "Other"
    dataset.PositionReferenceIndicator = "SN"


@cache
def source(name: str) -> ImageSeries:
    if name == "one":
        return read_series(make_series(SHAPE, edit=_one))
    return read_series(
        make_series((5, 14, 18), (2.0, 0.5, 0.7), (0.3, 0.2, 0.1), (1, 2, 3), name="x", frame_of_reference="1.2.9", edit=_other)
    )


def identity_of(name: str) -> ResultIdentity:
    """Who the result is; the other one differs in everything."""
    if name == "one":
        return identity()
    return replace(
        identity("else"),
        task_id="else",
        round_number=7,
        algorithm_version="v9",
        series_number=77,
        created=CREATED + timedelta(days=9, seconds=3661),
    )


class Answer:
    """What is written, for a source: the other one differs in everything."""

    def __init__(self, images: ImageSeries, name: str) -> None:
        shape, first = images.volume.geometry.shape, name == "one"
        self.labels_DHW = blobs(shape, 2 if first else 1)
        self.residual_DHW = np.linspace(0, 1 if first else 0.8, self.labels_DHW.size, dtype=np.float32).reshape(shape)
        self.segments = SEGMENTS[:2] if first else [replace(SEGMENTS[2], number=1)]
        self.suggestions = [SuggestedSlice(2, 0.9, "far")] if first else [SuggestedSlice(1, 0.5, "near")]
        self.measurements = [LabelMeasurement(self.segments[0], 1.5 if first else 2.5, 1.0, 0.9)]
        self.identity = identity_of(name)


def _content(a: Answer) -> ReportContent:
    return ReportContent(a.suggestions, a.measurements, a.residual_DHW, a.labels_DHW, a.identity)


WRITERS: dict[str, Callable[[ImageSeries, Answer], bytes]] = {
    "SEG": lambda s, a: write_prediction(s, a.labels_DHW, a.segments, a.identity),
    "bands": lambda s, a: write_residual_bands(s, a.residual_DHW, a.identity),
    "FRACTIONAL": lambda s, a: write_residual_fractional(s, a.residual_DHW, a.identity),
    "Map": lambda s, a: write_residual_map(s, a.residual_DHW, a.identity),
    "SR": lambda s, a: write_report(s, _content(a), a.identity),
    "SR 3D": lambda s, a: write_report(s, _content(a), a.identity, "comprehensive-3d"),
    "KO": lambda s, a: write_key_objects(s, a.suggestions, a.identity),
    "RTSTRUCT": lambda s, a: write_contours(s, a.labels_DHW, a.segments, a.identity),
    "SC": lambda s, a: write_captures(s, a.suggestions, a.labels_DHW, a.residual_DHW, a.segments, a.identity)[0][1],
    "Text": lambda s, a: write_refusal(
        write_prediction(s, blobs(s.volume.geometry.shape), SEGMENTS, identity("drawn")),
        f"reason {a.identity.task_id}",
        "remedy",
        a.identity,
    ),
}
_INITIALS = ("rt", "roi", "sc", "sop", "sr")
COLUMNS = ("SEG", "Map", "SR", "KO", "RTSTRUCT", "SC", "Text")
"""Kinds with a column of their own; FRACTIONAL and SR 3D have the attributes of SEG and SR and a few more."""


@cache
def written(kind: str, images: str = "one", answer: str = "one") -> Dataset:
    found = source(images)
    return dcmread(BytesIO(WRITERS[kind](found, Answer(found, answer))))


def _standard(name: str) -> Any:
    """A table of PS3.3 as highdicom ships it."""
    data = pkgutil.get_data("highdicom", f"_standard/{name}.json")
    assert data is not None
    return json.loads(data)


@cache
def modules_of(kind: str) -> Mapping[str, tuple[str, str, str]]:
    """For each top-level keyword of an IOD: its module, the type of the attribute, the usage of the module."""
    iod = _standard("sop_class_iod_map")[str(written(kind).SOPClassUID)]
    attributes = _standard("module_attribute_map")
    found: dict[str, tuple[str, str, str]] = {}
    for module in _standard("iod_module_map")[iod]:
        for attribute in attributes.get(module["key"], []):
            if not attribute["path"]:
                found.setdefault(attribute["keyword"], (module["key"], attribute["type"], module["usage"]))
    return cast("Mapping[str, tuple[str, str, str]]", found)


def origin(kind: str, keyword: str) -> str:
    """Where a value comes from: I the images, A the answer, F fixed, E empty; a blank where it is not written."""
    if keyword not in written(kind):
        return ""
    here = written(kind)[keyword]
    letters = ""
    for letter, images, answer in (("I", "other", "one"), ("A", "one", "other")):
        there = written(kind, images, answer)
        if keyword not in there or there[keyword] != here:
            letters += letter
    return letters or ("E" if here.is_empty else "F")


def attribute_rows() -> Iterator[tuple[str, ...]]:
    """Module, attribute, tag, type, and the origin of the value for each kind; in the order of modules and tags."""
    seen: dict[tuple[str, str], set[str]] = {}
    for kind in COLUMNS:
        for element in written(kind):
            module, type_, _ = modules_of(kind).get(element.keyword, ("", "", ""))
            seen.setdefault((module, element.keyword), set()).add(type_)
    order = {module: place for place, module in enumerate(dict.fromkeys(module for module, _ in seen))}
    for module, keyword in sorted(seen, key=lambda key: (order[key[0]], tag_for_keyword(key[1]))):
        tag = tag_for_keyword(keyword)
        assert tag is not None
        kinds = [kind for kind in COLUMNS if modules_of(kind).get(keyword, ("", "", ""))[0] == module]
        name = " ".join(word.upper() if word in _INITIALS else word.capitalize() for word in module.split("-"))
        cells = [origin(kind, keyword) if kind in kinds else "" for kind in COLUMNS]
        types = ", ".join(sorted(seen[module, keyword]))
        yield (name, dictionary_description(tag), f"({tag >> 16:04X},{tag & 0xFFFF:04X})", types, *cells)


def functional_groups(kind: str) -> dict[str, str]:
    """Keyword of each functional group to where it stands: shared or frame."""
    dataset = written(kind)
    found = {element.keyword: "shared" for element in dataset.SharedFunctionalGroupsSequence[0]}
    return found | {element.keyword: "frame" for group in dataset.PerFrameFunctionalGroupsSequence for element in group}


def private_codes() -> set[tuple[str, str]]:
    """Value and meaning of each code of our own scheme in what is written."""
    found = set()

    def look(dataset: Dataset) -> None:
        for element in dataset:
            if element.VR == "SQ":
                for item in element.value:
                    look(item)
        if str(dataset.get("CodingSchemeDesignator", "")) == "99PACSAPP" and "CodeValue" in dataset:
            found.add((str(dataset.CodeValue), str(dataset.CodeMeaning)))

    for kind in WRITERS:
        look(written(kind))
    return found


def table(rows: Iterator[tuple[str, ...]]) -> str:
    """Rows as Markdown, to paste."""
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
