from __future__ import annotations

import numpy as np
import pytest

from dicom_io.annotation import Plane, SparseAnnotation

SHAPE = (4, 5, 6)


def blank(label_count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(SHAPE, np.uint8), np.zeros((label_count, *SHAPE), bool)


@pytest.mark.parametrize("axis", range(3))
def test_a_plane_indexes_its_voxels(axis: int) -> None:
    array = np.zeros(SHAPE)
    array[Plane(axis, 2).where] = 1
    assert array.take(2, axis=axis).all()
    assert array.sum() == np.prod(SHAPE) / SHAPE[axis]


def test_where_a_label_stands_the_others_are_absent() -> None:
    labels, known = blank(2)
    labels[1, 2, 3], known[0, 1, 2, 3], known[0, 0, 0, 0] = 1, True, True
    annotation = SparseAnnotation(labels, known)
    assert np.argwhere(annotation.known_DHW).tolist() == [[1, 2, 3]]


def test_a_label_is_unknown_unless_a_plane_shows_it() -> None:
    labels, known = blank(3)
    known[0, 1], known[1, 1, 2:4] = True, True
    labels[1, 2, 2] = 1
    annotation = SparseAnnotation(labels, known, (Plane(0, 1),))
    assert annotation.unknown_labels == (2, 3), "strokes of a label do not say where it is not"
    assert annotation.observed_DHW[1].all()
    assert annotation.observed_DHW.sum() == annotation.observed_DHW[1].size
    assert annotation.known_DHW.sum() == 1


def test_strokes_are_what_lies_on_no_plane() -> None:
    labels, known = blank(1)
    known[0, 1], known[0, 3, 2, 1:4] = True, True
    labels[3, 2, 1:4] = 1
    annotation = SparseAnnotation(labels, known, (Plane(0, 1),))
    assert np.argwhere(annotation.strokes_DHW).tolist() == [[3, 2, 1], [3, 2, 2], [3, 2, 3]]
    unlisted = SparseAnnotation(labels.copy(), known.copy())
    assert unlisted.unknown_labels == (1,), "what covers a slice by chance is no plane"
    np.testing.assert_array_equal(unlisted.observed_DHW, known[0])
