"""Which objects an answer becomes, and what tells them apart."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO
from itertools import product
from typing import get_args

import numpy as np
import pytest
from pydicom import dcmread
from result_phantoms import SOURCES, labels_of, residual_of

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.volume import ImageSeries
from learner.app.results import (
    ResultSettings,
    RoundIdentity,
    build_results,
    refusal_series_number,
    series_number,
)
from learner.domain.answer import Answer
from learner.domain.guidance import Guidance, Suggestion
from learner.domain.result_kinds import DEFAULT_KINDS, KINDS, PREDICTION
from learner.domain.task import Label, MatchingRule, Task
from learner.settings import AnswerSettings

LABELS = tuple(
    Label(number, name, ANATOMICAL_STRUCTURE, Code(code, "SCT", name), (9 * number, 99, 0))
    for number, name, code in ((1, "Liver", "10200004"), (2, "Spleen", "78961009"))
)
TASK = Task("abdomen", "Abdomen", LABELS, MatchingRule(("MR",)))
IDENTITY = RoundIdentity("trigger", 7, 2, "abdomen-3", 1_767_323_045.0)
ALL = ResultSettings(frozenset(KINDS))


def answer_of(source: ImageSeries) -> Answer:
    labels_DHW = labels_of(source)
    soft_CDHW = np.stack([labels_DHW == number for number in range(3)]).astype(np.float32)
    suggestions = (Suggestion(0, 4, 0.8, "far"), Suggestion(2, 4, 0.7, "sagittal"), Suggestion(0, 1, 0.5, "unsure"))
    return Answer(
        labels_DHW, soft_CDHW, residual_of(source), residual_of(source), Guidance(suggestions), labels_DHW, (0.9, 0.8)
    )


def kinds_of(source: ImageSeries, answer: Answer, settings: ResultSettings | None = None) -> list[str]:
    return [result.kind for result in build_results(source, TASK, answer, IDENTITY, settings)]


def test_the_usual_objects_of_an_answer_and_all_that_there_are() -> None:
    source = SOURCES["oblique"]()
    answer = answer_of(source)
    assert kinds_of(source, answer) == [kind for kind in KINDS if kind in DEFAULT_KINDS]
    assert kinds_of(source, answer, ALL) == [*KINDS, KINDS[-1]]  # two suggested slices, two captures
    assert kinds_of(source, answer, ResultSettings(frozenset())) == [PREDICTION]


def test_key_objects_say_where_a_viewer_opens_each_slice() -> None:
    source = SOURCES["axial"]()
    settings = replace(ALL, viewer="http://node/?s={study}&i={instance}&o={segmentation}")
    results = build_results(source, TASK, answer_of(source), IDENTITY, settings)
    (prediction,) = (one for one in results if one.kind == PREDICTION)
    (keys,) = (one for one in results if one.kind == "key-objects")
    said = "".join(item.get("TextValue", "") for item in dcmread(BytesIO(keys.file)).ContentSequence)
    series = source.volume.series
    for plane in (4, 1):
        image = series.sop_instance_uids[plane]
        assert f"http://node/?s={series.study_instance_uid}&i={image}&o={prediction.series_instance_uid}" in said


@pytest.mark.parametrize("source", ["multi-frame", "tilted", "missing-slice", "whole-bytes"])
def test_every_object_of_every_geometry_passes_the_display_rules(source: str) -> None:
    series = SOURCES[source]()
    kinds = kinds_of(series, answer_of(series), ALL)
    assert set(kinds) == set(KINDS)


def test_what_there_is_nothing_of_is_left_out() -> None:
    source = SOURCES["axial"]()
    nothing = replace(
        answer_of(source),
        labels_DHW=labels_of(source) * 0,
        residual_DHW=residual_of(source) * 0,
        guidance=Guidance((Suggestion(1, 3, 0.5, "coronal"),)),
        estimated_dice=None,
    )
    assert kinds_of(source, nothing, ALL) == [PREDICTION]


def test_a_slice_that_was_not_acquired_is_never_suggested() -> None:
    source = SOURCES["missing-slice"]()
    assert source.slice_at(4) is None
    results = build_results(source, TASK, answer_of(source), IDENTITY)
    (key_objects,) = (result for result in results if result.kind == "key-objects")
    images = [item for item in dcmread(BytesIO(key_objects.file)).ContentSequence if item.ValueType == "IMAGE"]
    acquired = source.slice_at(1)
    assert acquired is not None
    assert [i.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for i in images] == [acquired.sop_instance_uid]


def test_the_report_compares_volumes_with_the_round_before() -> None:
    source = SOURCES["axial"]()
    answer = answer_of(source)
    before_DHW = np.where(answer.labels_DHW == 1, 1, 0).astype(np.uint8)
    results = build_results(source, TASK, answer, IDENTITY, ResultSettings(frozenset({"report"})), before_DHW)
    measured = _measured(results[1].file)
    millilitres = source.volume.geometry.voxel_volume_mm3 / 1000
    volumes = [round(float((answer.labels_DHW == number).sum()) * millilitres, 4) for number in (1, 2)]
    assert measured["118565006"] == volumes
    assert measured["volume-before"] == [volumes[0], 0.0]
    assert measured["estimated-dice"] == [0.9, 0.8]


def _measured(file: bytes) -> dict[str, list[float]]:
    """Values of a report by the code of their name."""
    found: dict[str, list[float]] = {}
    waiting = list(dcmread(BytesIO(file)).ContentSequence)
    while waiting:
        item = waiting.pop(0)
        waiting += item.get("ContentSequence", [])
        if item.ValueType == "NUM":
            value = float(item.MeasuredValueSequence[0].NumericValue)
            found.setdefault(item.ConceptNameCodeSequence[0].CodeValue, []).append(value)
    return found


def test_objects_of_an_answer_are_told_apart_and_repeat_byte_for_byte() -> None:
    source = SOURCES["axial"]()
    first = build_results(source, TASK, answer_of(source), IDENTITY, ALL)
    assert first == build_results(source, TASK, answer_of(source), IDENTITY, ALL)
    assert len({result.sop_instance_uid for result in first}) == len(first)
    assert len({result.series_instance_uid for result in first}) == len(KINDS)
    for result in first:
        dataset = dcmread(BytesIO(result.file))
        assert (dataset.SOPInstanceUID, dataset.SeriesInstanceUID) == (result.sop_instance_uid, result.series_instance_uid)
        assert dataset.SeriesNumber == series_number(7, 2, result.kind)
        assert dataset.SeriesDescription == f"abdomen {result.kind} r2 (research use) abdomen-3"


def test_series_numbers_clash_neither_between_cases_nor_rounds_nor_kinds_and_fit_their_value_representation() -> None:
    numbers = [series_number(*one) for one in product((1, 2, 199_999, 200_000, 123), (0, 1, 9, 10, 999), KINDS)]
    numbers += [refusal_series_number(round_id) for round_id in (1, 2, 39_999_999)]
    assert len(set(numbers)) == len(numbers)
    assert min(numbers) >= 100_000
    assert max(numbers) < 2**31
    assert series_number(10**12, 10**6, PREDICTION) < 2**31
    assert series_number(1, 2, "residual-bands") == 110_021


def test_settings_offer_every_kind_and_the_usual_ones_by_default() -> None:
    element = get_args(AnswerSettings.model_fields["results"].annotation)[0]
    assert set(get_args(element)) == set(KINDS) - {PREDICTION}
    assert {PREDICTION, *AnswerSettings().results} == DEFAULT_KINDS
    assert AnswerSettings().report_class == ResultSettings().report_class
