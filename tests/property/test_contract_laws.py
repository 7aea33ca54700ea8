"""Laws of the annotation contract that hold for any drawings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dicom_io.annotation import AnnotationHeader, Drawing, DrawnSegment, PlaneKind, SparseAnnotation
from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from learner.domain.contract import EarlierAnswer, accumulate, adds_nothing, agreement, combine, interpret
from learner.domain.contract.planes import LENGTH, THICKNESS
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


every_label = sparse_maps.filter(lambda labels_DHW: bool(labels_DHW.any())).map(
    lambda labels_DHW: interpret(drawing(labels_DHW, {1, 2}, "1.1"), TASK, []).annotation
)


@given(every_label, every_label, every_label)
def test_objects_that_define_the_same_labels_add_up_in_any_grouping(
    first: SparseAnnotation, second: SparseAnnotation, third: SparseAnnotation
) -> None:
    left, right = accumulate(accumulate(first, second), third), accumulate(first, accumulate(second, third))
    assert np.array_equal(left.labels_DHW, right.labels_DHW)
    assert np.array_equal(left.known_LDHW, right.known_LDHW)
    assert left.planes == right.planes


@given(st.lists(annotations("1.1"), min_size=1, max_size=4))
def test_combining_is_adding_up_and_repeats_nothing(drawings: list[SparseAnnotation]) -> None:
    together = combine(drawings)
    assert together is not None
    again = combine([*drawings, together])
    assert again is not None
    assert np.array_equal(again.labels_DHW, together.labels_DHW)
    assert np.array_equal(again.known_LDHW, together.known_LDHW)
    assert not together.labels_DHW[~together.known_LDHW.any(axis=0)].any(), "labels are zero where nothing is known"


@given(st.lists(st.tuples(annotations("1.1"), st.sampled_from("ABC")), min_size=1, max_size=4))
def test_agreement_is_a_share_and_someone_agrees_where_something_is_known(pairs: list[tuple[SparseAnnotation, str]]) -> None:
    drawings = [replace(annotation, readers=(reader,)) for annotation, reader in pairs]
    share_DHW = agreement(drawings)
    if share_DHW is not None:
        assert len({reader for _, reader in pairs}) > 1
        assert share_DHW.min() >= 0
        assert (share_DHW < 1).sum() > 0
        assert np.all(share_DHW[~np.any([d.known_LDHW.any(axis=0) for d in drawings], axis=0)] == 1)


@given(label_maps, st.sets(st.integers(0, 4)), label_maps)
@settings(max_examples=200)
def test_an_answer_edited_on_some_slices_says_just_these(
    prediction_DHW: np.ndarray, edited: set[int], other_DHW: np.ndarray
) -> None:
    """Slices that differ, where at least as many predicted slices are untouched as were erased, of all labels and of each.

    A label of which nothing is as it was predicted may be somebody else's drawing, who said nothing of other slices.
    """
    saved_DHW = prediction_DHW.copy()
    saved_DHW[sorted(edited)] = other_DHW[sorted(edited)]
    for labels in ((1, 2), (1,), (2,)):
        before_DHW, after_DHW = (np.where(np.isin(one, labels), one, 0) for one in (prediction_DHW, saved_DHW))
        predicted, shown = before_DHW.any(axis=(1, 2)), after_DHW.any(axis=(1, 2))
        untouched = predicted & (before_DHW == after_DHW).all(axis=(1, 2))
        assume(untouched.sum() >= max(predicted.any() or len(labels) == 2, (predicted & ~shown).sum()))
    found = interpret(drawing(saved_DHW, {1, 2}, "1.1"), TASK, [EarlierAnswer(prediction_DHW, frozenset())])
    changed = [i for i in range(5) if not np.array_equal(saved_DHW[i], prediction_DHW[i])]
    assert found.edited
    assert ([] if found.annotation is None else list(found.annotation.planes_of())) == changed


@given(label_maps.filter(lambda m: bool(m.any())), st.permutations([1, 2]), st.permutations([0, 1]), label_maps)
def test_an_unchanged_copy_says_nothing_however_its_segments_are_ordered(
    prediction_DHW: np.ndarray, numbers: list[int], rounds: list[int], other_DHW: np.ndarray
) -> None:
    segments = tuple(
        DrawnSegment(place, f"{NAMES[n - 1]} (r{place})", None, None, prediction_DHW == n) for place, n in enumerate(numbers, 5)
    )
    header = AnnotationHeader("1.9", "1.1", "1.2", "1.3", "SEG")
    answers = [EarlierAnswer((prediction_DHW, other_DHW)[i], frozenset()) for i in rounds]
    found = interpret(Drawing(header, segments), TASK, answers)
    assert found.annotation is None
    assert found.edited
    assert found.share_changed == 0


@st.composite
def planes_apart(draw: st.DrawFn, size: int) -> list[int]:
    """Places, in pairs side by side at most, with room between."""
    places: list[int] = []
    position = draw(st.integers(4, 7))
    while position < size - 6 and len(places) < 6:
        places += range(position, position + draw(st.integers(1, THICKNESS)))
        position += draw(st.integers(4, 8))
    return places


@given(
    st.tuples(st.floats(6.5, 9), st.floats(10, 13), st.floats(10, 13)),
    st.sampled_from([(1,), (2,), (1, 2), (0, 1), (0, 2)]),
    st.data(),
)
@settings(max_examples=150, deadline=None)
def test_the_planes_of_a_drawing_are_found(
    radii: tuple[float, float, float], axes: tuple[int, ...], data: st.DataObject
) -> None:
    grid = np.ogrid[:20, :28, :28]
    centres = (9.5, 13.5, 13.5)
    blob = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, centres, radii, strict=True)) < 1
    planes: set[tuple[int, int]] = set()
    for axis in axes:
        if axis:
            found = [i for i in data.draw(planes_apart(28)) if 4 < i < 23]
        else:
            found = sorted(data.draw(st.sets(st.sampled_from([3, 8, 13]), max_size=3)))
        planes |= {(axis, index) for index in found}
    drawn = np.zeros(blob.shape, bool)
    for axis, index in planes:
        where = (slice(None),) * axis + (index,)
        drawn[where] = blob[where]
    planes = {(axis, index) for axis, index in planes if drawn[(slice(None),) * axis + (index,)].any()}
    assume(all(axis == 0 or tall(blob, axis, index) for axis, index in planes))
    annotation = interpret(drawing(drawn.astype(np.uint8), {1}, "1.1"), TASK, []).annotation
    assert {(plane.axis, plane.index) for plane in (annotation.planes if annotation is not None else ())} == planes


def tall(blob: np.ndarray, axis: int, index: int) -> bool:
    """Whether enough slices show a stripe long enough, those through drawn slices not counted."""
    section = np.take(blob, index, axis=axis)
    return int((section.sum(axis=1) >= LENGTH).sum()) >= LENGTH + 3


@given(label_maps, st.permutations((1, 2)))
def test_our_own_answer_is_no_annotation_whatever_its_labels_are_called(labels_DHW: np.ndarray, names: list[int]) -> None:
    assume(labels_DHW.any())
    answer = EarlierAnswer(labels_DHW, frozenset())
    renamed_DHW = np.array([0, *names], np.uint8)[labels_DHW]
    found = interpret(drawing(renamed_DHW, {1, 2}, "1.1"), TASK, [answer])
    assert (found.annotation, found.edited) == (None, True)
    elsewhere = replace(answer, elsewhere=True)
    assert interpret(drawing(renamed_DHW, {1, 2}, "1.1"), TASK, [elsewhere]).annotation is None


@given(label_maps, label_maps)
def test_beside_what_somebody_else_drew_our_own_answer_is_no_annotation(ours_DHW: np.ndarray, theirs_DHW: np.ndarray) -> None:
    predicted_DHW = (ours_DHW == 1).astype(np.uint8)
    drawn_DHW = (theirs_DHW == 2) & (predicted_DHW == 0)
    assume(predicted_DHW.any() and drawn_DHW.any())
    merged_DHW = np.where(drawn_DHW, 2, predicted_DHW).astype(np.uint8)
    found = interpret(drawing(merged_DHW, {1, 2}, "1.1"), TASK, [EarlierAnswer(predicted_DHW, frozenset())])
    assert found.annotation is not None
    assert not found.annotation.known_LDHW[0].any()
    assert set(found.annotation.planes_of()) == set(np.flatnonzero(drawn_DHW.any(axis=(1, 2))).tolist())
