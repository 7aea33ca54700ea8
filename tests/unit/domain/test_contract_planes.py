"""Drawings in other planes than those of the series (rule 4)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from drawings import TASK, drawing, labels, of_labels, segment

from dicom_io.annotation import DrawnSegment, PlaneKind, SparseAnnotation
from learner.domain.contract import EarlierAnswer, interpret
from learner.domain.contract.planes import other_planes

SHAPE = (16, 24, 24)
Z, Y, X = np.ogrid[: SHAPE[0], : SHAPE[1], : SHAPE[2]]
BALL = ((Z - 8) / 6.5) ** 2 + ((Y - 12) / 9) ** 2 + ((X - 12) / 9) ** 2 < 1


def on(*planes: tuple[int, int]) -> np.ndarray:
    """The ball on some planes, and nothing elsewhere."""
    mask = np.zeros(SHAPE, bool)
    for axis, index in planes:
        where = (slice(None),) * axis + (index,)
        mask[where] = BALL[where]
    return mask


def places(annotation: SparseAnnotation | None) -> list[tuple[int, int]]:
    return [] if annotation is None else [(plane.axis, plane.index) for plane in annotation.planes]


class TestFreshDrawings:
    @pytest.mark.parametrize(
        "planes",
        [
            [(2, 10)],
            [(1, 7), (1, 15)],
            [(2, 10), (2, 11)],
            [(1, 12), (2, 8), (2, 14)],
            [(0, 5), (0, 9), (2, 10)],
            [(0, 8), (1, 9), (2, 16)],
        ],
    )
    def test_planes_are_found(self, planes: list[tuple[int, int]]) -> None:
        found = interpret(drawing(segment(1, "Liver", on(*planes))), TASK, [])
        annotation = found.annotation
        assert annotation is not None
        assert places(annotation) == sorted(planes)
        assert all(plane.kind is PlaneKind.DRAWN for plane in annotation.planes)
        known = np.zeros(SHAPE, bool)
        for axis, index in planes:
            known[(slice(None),) * axis + (index,)] = True
        assert np.array_equal(annotation.known_LDHW[0], known), "no slice is known for being crossed"
        assert any("across the slices" in remark for remark in found.remarks) == any(axis for axis, _ in planes)

    @pytest.mark.parametrize(
        "mask",
        [
            on(*((0, i) for i in range(3, 12))),
            BALL & (X >= 11) & (X <= 13),
            BALL & (abs(X - 12) < 2) & (abs(Y - 12) < 2),
            BALL & (X == 10) & (Z % 2 == 0),
            BALL & (X == 10) & (Z >= 7) & (Z <= 9),
        ],
        ids=["consecutive slices", "three columns side by side", "a vessel", "every other slice", "three slices"],
    )
    def test_what_may_be_drawn_in_the_slices_is_taken_so(self, mask: np.ndarray) -> None:
        found = interpret(drawing(segment(1, "Liver", mask)), TASK, []).annotation
        assert places(found) == [(0, int(i)) for i in np.flatnonzero(mask.any(axis=(1, 2)))]

    def test_contours_say_where_they_lie(self) -> None:
        """Three contours on columns side by side could not be told from a volume by their voxels."""
        planes = frozenset({(2, 11), (2, 12), (2, 13), (0, 4)})
        contours = DrawnSegment(1, "Liver", None, None, on(*planes), planes=planes)
        assert places(interpret(drawing(contours), TASK, []).annotation) == sorted(planes)

    def test_nothing_drawn_across_is_complete(self) -> None:
        found = interpret(drawing(segment(1, "Liver", on((2, 10))), description="complete"), TASK, [])
        assert places(found.annotation) == [(2, 10)]
        assert any("complete" in remark for remark in found.remarks)

    def test_interpolated_slices_between_do_not_hide_a_plane(self) -> None:
        mask = on((2, 10))
        mask[1::2] = False
        found = interpret(drawing(segment(1, "Liver", mask)), TASK, [], acquired=frozenset(range(0, 16, 2))).annotation
        assert places(found) == [(2, 10)]


class TestEditedPredictions:
    predicted = labels((1, BALL))

    def test_an_edit_in_a_column_makes_that_column_known(self) -> None:
        saved = self.predicted.copy()
        saved[4:13, 4:20, 10] = 0
        found = interpret(of_labels(saved), TASK, [EarlierAnswer(self.predicted, frozenset())])
        assert found.edited
        assert places(found.annotation) == [(2, 10)]

    def test_even_where_it_touches_every_slice(self) -> None:
        saved = self.predicted.copy()
        saved[:, 2:22, 10] = 0
        saved[:, 1:23, 15] = 1
        found = interpret(of_labels(saved), TASK, [EarlierAnswer(self.predicted, frozenset())])
        assert found.edited, "or all of our own output would pass for drawn"
        assert found.annotation is not None
        assert not any(axis == 0 and 3 <= index <= 12 for axis, index in places(found.annotation))

    def test_a_border_moved_on_consecutive_slices_is_drawn_in_these(self) -> None:
        box = np.zeros(SHAPE, np.uint8)
        box[2:14, 6:18, 6:18] = 1
        saved = box.copy()
        saved[4:10, 6:18, 18] = 1
        found = interpret(of_labels(saved), TASK, [EarlierAnswer(box, frozenset())]).annotation
        assert places(found) == [(0, index) for index in range(4, 10)]


def volumes(data_dir: Path) -> Iterator[np.ndarray]:
    """Every volume of real drawings, slices first."""
    for collection in ("hippocampus", "promise12", "acdc"):
        for path in sorted((data_dir / collection / "labels").glob("*.nii.gz")):
            yield np.ascontiguousarray(np.moveaxis(np.asarray(nibabel.load(path).dataobj).astype(np.uint8), 2, 0))


@pytest.mark.data
def test_slices_of_real_structures_are_never_taken_for_other_planes(data_dir: Path) -> None:
    random, drawings = np.random.default_rng(3), 0
    for volume in volumes(data_dir):
        occupied = np.flatnonzero(volume.any(axis=(1, 2)))
        start = int(random.integers(len(occupied)))
        for chosen in (
            occupied,
            occupied[start : start + int(random.integers(1, 9))],
            random.choice(occupied, int(random.integers(1, len(occupied) + 1)), replace=False),
        ):
            drawn = np.zeros_like(volume)
            drawn[chosen] = volume[chosen]
            assert not other_planes(drawn, drawn > 0)
            drawings += 1
    assert drawings > 700


@pytest.mark.data
def test_columns_of_real_structures_are_found(data_dir: Path) -> None:
    random, asked, found = np.random.default_rng(3), 0, 0
    for volume in volumes(data_dir):
        areas = (volume > 0).sum(axis=(0, 1))
        column = int(random.choice(np.flatnonzero(areas > areas.max() / 2)))
        drawn = np.zeros_like(volume)
        drawn[:, :, column] = volume[:, :, column]
        planes = other_planes(drawn, drawn > 0)
        assert planes <= {(2, column)}
        asked, found = asked + 1, found + len(planes)
    assert found >= 0.99 * asked
