from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.domain.planes import drawn_planes, main_axis, section, without_planes

SHAPE = (5, 6, 7)


def annotation(*planes: Plane, label_count: int = 2) -> SparseAnnotation:
    """Label 1 all over the planes that are not empty."""
    labels, known = np.zeros(SHAPE, np.uint8), np.zeros((label_count, *SHAPE), bool)
    for plane in planes:
        known[(slice(None), *plane.where)] = True
        if plane.kind is not PlaneKind.ABSENT:
            labels[plane.where] = 1
    return SparseAnnotation(labels, known, tuple(sorted(planes)))


@pytest.mark.parametrize("axis", range(3))
def test_leaving_a_plane_out_keeps_what_other_planes_say(axis: int) -> None:
    held, crossing = Plane(axis, 2), Plane((axis + 1) % 3, 3)
    rest = without_planes(annotation(held, crossing), [held])
    assert rest.planes == (crossing,)
    assert rest.known_DHW[crossing.where].all()
    assert rest.known_DHW.sum() == np.prod(SHAPE) / SHAPE[crossing.axis]
    assert (rest.labels_DHW == rest.known_DHW).all()


def test_all_planes_of_a_fold_are_left_out_together() -> None:
    rest = without_planes(annotation(Plane(0, 1), Plane(0, 3), Plane(2, 0)), [Plane(0, 1), Plane(0, 3)])
    assert rest.known_DHW.sum() == SHAPE[0] * SHAPE[1]


@pytest.mark.parametrize("axis", range(3))
def test_a_section_is_what_lies_on_the_plane(axis: int) -> None:
    array = np.arange(2 * np.prod(SHAPE)).reshape(2, *SHAPE)
    np.testing.assert_array_equal(section(array, Plane(axis, 2)), array.take(2, axis=axis + 1))
    np.testing.assert_array_equal(section(array[0], Plane(axis, 2)), array[0].take(2, axis=axis))


def test_accepted_and_empty_planes_are_not_drawn() -> None:
    drawn = Plane(2, 4)
    known = annotation(Plane(0, 1, PlaneKind.CONFIRMED), Plane(0, 3, PlaneKind.ABSENT), Plane(1, 0, PlaneKind.ABSENT), drawn)
    assert drawn_planes(known) == (drawn,)
    assert main_axis(known) == 2


def test_the_slice_axis_is_the_main_one_in_doubt() -> None:
    assert main_axis(annotation()) == 0
    assert main_axis(annotation(Plane(0, 1), Plane(2, 2))) == 0
    assert main_axis(annotation(Plane(0, 1), Plane(1, 1), Plane(1, 2))) == 1
