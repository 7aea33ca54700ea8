"""What a motion gives is the same wherever in memory its arrays happen to lie, and whatever was registered before."""

from __future__ import annotations

import numpy as np
import pytest

from learner.propagation.inverse_search import InverseSearch
from learner.propagation.memory import Memory
from learner.propagation.motion import ChainedMotion, Registration
from learner.propagation.torch_flow import TorchFlow

REGISTRATIONS = [InverseSearch(), TorchFlow("cpu")]
SIDES = (32, 40, 44, 48, 64)


@pytest.mark.parametrize("registration", REGISTRATIONS, ids=lambda one: one.key)
@pytest.mark.parametrize("size", [(h, w) for h in SIDES for w in SIDES], ids=str)
def test_what_a_pair_gives_does_not_depend_on_the_pairs_beside_it(registration: Registration, size: tuple[int, int]) -> None:
    slices = np.random.default_rng(0).integers(0, 256, (4, *size)).astype(np.uint8)
    pair, other = (slices[0], slices[1]), (slices[2], slices[3])
    (alone,) = registration.register([pair])
    for together in ([pair, other], [other, pair], [other, other, pair]):
        (at,) = (index for index, one in enumerate(together) if one is pair)
        np.testing.assert_array_equal(registration.register(together)[at], alone)


@pytest.mark.parametrize("registration", REGISTRATIONS, ids=lambda one: one.key)
@pytest.mark.parametrize("region", [(3, 5), (8, 10), (10, 23), (30, 17)], ids=str)
def test_motion_is_the_same_again_after_other_motions(registration: Registration, region: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.standard_normal((3, *region)).astype(np.float32)
    other = rng.standard_normal((3, *region)).astype(np.float32)
    first = motion_of(image, registration)
    taken = []
    for size in range(1, 60):
        taken.append(rng.random(size * 7, dtype=np.float32))  # the next arrays lie elsewhere
        motion_of(other, registration)
        for one, again in zip(first, motion_of(image, registration), strict=True):
            np.testing.assert_array_equal(one, again)
        del taken[: size % 3]


def motion_of(image: np.ndarray, registration: Registration) -> list[np.ndarray]:
    """Displacement and inconsistency of both slices after the first."""
    carried = ChainedMotion(image, registration, Memory()).carry(0, [1, 2])
    fields = [field for one in carried for field in (one.displacement_HW2, one.inconsistency_HW)]
    assert all(field is not None for field in fields)
    return [field for field in fields if field is not None]
