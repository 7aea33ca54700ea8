"""Laws of the annotation contract that hold for any drawings."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment, PlaneKind, SparseAnnotation
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.domain.contract import EarlierAnswer, accumulate, adds_nothing, interpret
from learner.domain.proxy import imprint
from learner.domain.task import Label, MatchingRule, Task

SHAPE = (5, 3, 4)
NAMES = ("Liver", "Spleen")
TASK = Task(
    "abdomen",
    "Abdomen",
    tuple(
        Label(n, name, ANATOMICAL_STRUCTURE, Code(str(n), "99TEST", name), (1, 2, 3)) for n, name in enumerate(NAMES, start=1)
    ),
    MatchingRule(("CT",)),
)
label_maps = hnp.arrays(np.uint8, SHAPE, elements=st.integers(0, 2))
sparse_maps = st.tuples(label_maps, st.lists(st.integers(0, 4), max_size=3)).map(lambda pair: keep(*pair))


def keep(labels_DHW: np.ndarray, slices: list[int]) -> np.ndarray:
    kept = np.zeros_like(labels_DHW)
    kept[slices] = labels_DHW[slices]
    return kept


def drawing(labels_DHW: np.ndarray, defined: set[int], uid: str) -> Drawing:
    segments = tuple(DrawnSegment(n, NAMES[n - 1], None, None, labels_DHW == n) for n in sorted(defined))
    return Drawing(AnnotationHeader(uid, "1.1", "1.2", "1.3", "SEG"), segments)


def annotations(uid: str) -> st.SearchStrategy[SparseAnnotation]:
    found = st.tuples(sparse_maps, st.sets(st.integers(1, 2), min_size=1)).map(
        lambda pair: interpret(drawing(*pair, uid), TASK, []).annotation
    )
    return found.filter(lambda annotation: annotation is not None)


@given(annotations("1.1"))
def test_saying_it_twice_says_no_more(annotation: SparseAnnotation) -> None:
    assert adds_nothing(annotation, annotation)
    twice = accumulate(annotation, annotation)
    assert np.array_equal(twice.labels_DHW, annotation.labels_DHW)
    assert np.array_equal(twice.known_LDHW, annotation.known_LDHW)
    assert twice.planes == annotation.planes


@given(annotations("1.1"), annotations("1.2"))
def test_the_newer_word_counts_and_nothing_known_is_forgotten(older: SparseAnnotation, newer: SparseAnnotation) -> None:
    both = accumulate(older, newer)
    assert np.all(both.known_LDHW >= (older.known_LDHW | newer.known_LDHW))
    assert adds_nothing(both, newer)
    for number, known_DHW in enumerate(newer.known_LDHW, start=1):
        assert np.array_equal((both.labels_DHW == number)[known_DHW], (newer.labels_DHW == number)[known_DHW])


@given(label_maps, label_maps)
@settings(max_examples=200)
def test_an_edited_prediction_never_teaches_what_was_predicted(prediction_DHW: np.ndarray, saved_DHW: np.ndarray) -> None:
    found = interpret(drawing(saved_DHW, {1, 2}, "1.1"), TASK, [EarlierAnswer(prediction_DHW, frozenset())]).annotation
    if found is None:
        return
    for index in found.planes_of(PlaneKind.DRAWN, PlaneKind.ABSENT):
        assert not np.array_equal(saved_DHW[index], prediction_DHW[index])


def probabilities(scores_CDHW: np.ndarray) -> np.ndarray:
    powers = np.exp(scores_CDHW)
    return np.asarray(powers / powers.sum(axis=0), dtype=np.float32)


@given(annotations("1.1"), hnp.arrays(np.float32, (3, *SHAPE), elements=st.floats(-9, 9, width=32)).map(probabilities))
def test_an_imprinted_mask_equals_the_annotation_and_sums_to_one(annotation: SparseAnnotation, soft_CDHW: np.ndarray) -> None:
    result = imprint(soft_CDHW, annotation)
    assert np.allclose(result.sum(axis=0), 1, atol=1e-5)
    known_DHW = annotation.known_DHW
    assert np.array_equal(result.argmax(axis=0)[known_DHW], annotation.labels_DHW[known_DHW])
    for number, label_known_DHW in enumerate(annotation.known_LDHW, start=1):
        absent_DHW = label_known_DHW & (annotation.labels_DHW != number)
        assert not result[number][absent_DHW].any()
