"""What a prior study gives to today's: the structure where it is now, or a reason why not. Never an error."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from dicom_io.geometry import Geometry
from learner.domain.prior import CarriedPrior, PriorStudy
from learner.propagation.prior_study import StudyRegistration

FRAME = "1.2.3"


class Body:
    """A textured body with an organ of two halves in it, seen by a scanner anywhere: intensities by place in mm."""

    def __init__(self, seed: int = 3) -> None:
        rng = np.random.default_rng(seed)
        self._texture = ndimage.gaussian_filter(rng.standard_normal((48, 64, 64)), 2.0)
        self._texture /= self._texture.std()

    def scan(self, geometry: Geometry, bent_mm: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
        """Voxels and labels of a grid; ``bent_mm`` is how far the anatomy has moved within itself."""
        index = np.moveaxis(np.indices(geometry.shape), 0, -1)
        x, y, z = np.moveaxis(geometry.to_patient(index), -1, 0)
        x = x + bent_mm * np.sin(y / 20.0)
        radius = np.sqrt((x / 17) ** 2 + (y / 14) ** 2 + (z / 20) ** 2)
        labels = np.where(radius < 1, np.where(x < 0, 1, 2), 0).astype(np.uint8)
        place = [(z + 48) / 2, (y + 64) / 2, (x + 64) / 2]
        texture = ndimage.map_coordinates(self._texture, place, order=1, mode="nearest")
        body = np.sqrt((x / 50) ** 2 + (y / 44) ** 2) < 1
        return ((200 + 60 * labels + 25 * texture) * body).astype(np.float32), labels


def grid(
    shape: tuple[int, int, int], spacing: tuple[float, float, float], turned: tuple[float, float, float] = (0, 0, 0)
) -> Geometry:
    """A grid around the origin: slices, rows and columns along z, y and x, then turned by angles in degrees."""
    axes = np.array([[0, 0, 1.0], [0, 1, 0], [1, 0, 0]])
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turned, degrees=True).as_matrix() @ (axes * np.array(spacing))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Geometry(shape, affine, FRAME)


def moved(geometry: Geometry, turned: tuple[float, float, float], by: tuple[float, float, float]) -> Geometry:
    """The same voxels elsewhere: how the patient lay."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("xyz", turned, degrees=True).as_matrix()
    motion[:3, 3] = by
    return Geometry(geometry.shape, motion @ geometry.affine, FRAME)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * np.count_nonzero(one & other) / (np.count_nonzero(one) + np.count_nonzero(other)))


def carry(prior: tuple[np.ndarray, np.ndarray, Geometry], image: np.ndarray, geometry: Geometry) -> CarriedPrior:
    study = PriorStudy(prior[0], prior[2], prior[1], (), 1, "1.1")
    return StudyRegistration().carry(study, image, geometry, 2)


PRIOR_GRID = grid((24, 56, 56), (4.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("today", "lying", "bent"),
    [
        (grid((24, 56, 56), (4.0, 2.0, 2.0)), ((0, 0, 0), (0, 0, 0)), 4.0),
        (grid((24, 56, 56), (4.0, 2.0, 2.0)), ((6, -4, 12), (35, -20, 50)), 2.0),
        (grid((34, 72, 60), (3.0, 1.5, 1.7), (14, 0, 9)), ((0, 0, 0), (8, -5, 3)), 2.0),
        (grid((30, 40, 24), (2.0, 2.0, 4.0), (80, 0, 0)), ((0, 0, 0), (4, 0, 0)), 2.0),
    ],
    ids=["deformed", "lying differently", "another grid, tilted", "another plane and field of view"],
)
def test_the_structure_is_found_where_it_is_today(
    today: Geometry, lying: tuple[tuple[float, float, float], tuple[float, float, float]], bent: float
) -> None:
    body = Body()
    image, truth = body.scan(today, bent)
    found = carry((*body.scan(PRIOR_GRID), moved(PRIOR_GRID, *lying)), 1.4 * image + 30, today)
    assert found.proxy is not None, found.reason
    for number in (1, 2):
        assert dice(found.proxy.labels_DHW == number, truth == number) > 0.9
    assert found.agreement > 0.6
    np.testing.assert_allclose(found.proxy.soft_CDHW.sum(axis=0), 1, atol=1e-5)
    assert 0 <= found.proxy.confidence_DHW.min() <= found.proxy.confidence_DHW.max() < 0.9, "a drawing is worth more"


def test_where_the_prior_study_did_not_look_it_says_nothing() -> None:
    body, narrow = Body(), grid((14, 40, 40), (4.0, 2.0, 2.0))
    image, _ = body.scan(PRIOR_GRID)
    found = carry((*body.scan(narrow), narrow), image, PRIOR_GRID)
    assert found.proxy is not None
    assert not found.proxy.confidence_DHW[[0, -1]].any()
    assert found.proxy.confidence_DHW[12].max() > 0.4


def test_it_is_sure_where_the_images_agree_and_not_where_anatomy_changed() -> None:
    body = Body()
    image, _ = body.scan(PRIOR_GRID)
    prior = (*body.scan(PRIOR_GRID), PRIOR_GRID)
    changed = image.copy()
    changed[:, 28:, :28] = np.random.default_rng(1).permutation(image[:, 28:, :28].ravel()).reshape(image[:, 28:, :28].shape)
    before, after = carry(prior, image, PRIOR_GRID), carry(prior, changed, PRIOR_GRID)
    assert before.proxy is not None
    assert after.proxy is not None
    edge = (before.proxy.soft_CDHW[0] > 0.02) & (before.proxy.soft_CDHW[0] < 0.98)
    lost = np.where(edge, before.proxy.confidence_DHW - after.proxy.confidence_DHW, np.nan)
    assert np.nanmean(lost[:, 32:, :24]) > 0.15
    assert np.nanmean(lost[:, 32:, :24]) > 2 * np.nanmean(lost[:, :24, 32:])


def test_the_same_input_gives_the_same_result() -> None:
    body, today = Body(), grid((16, 40, 40), (5.0, 2.5, 2.5))
    image, _ = body.scan(today, 2.0)
    one, other = (carry((*body.scan(PRIOR_GRID), PRIOR_GRID), image, today) for _ in range(2))
    assert one.proxy is not None
    assert other.proxy is not None
    np.testing.assert_array_equal(one.proxy.soft_CDHW, other.proxy.soft_CDHW)
    np.testing.assert_array_equal(one.proxy.confidence_DHW, other.proxy.confidence_DHW)


def _noise(geometry: Geometry) -> np.ndarray:
    return np.random.default_rng(7).normal(size=geometry.shape).astype(np.float32)


@pytest.mark.parametrize(
    ("today", "shape", "reason"),
    [
        (_noise, (24, 56, 56), "do not match"),
        (lambda g: np.full(g.shape, 7.0, np.float32), (24, 56, 56), "do not match"),
        (lambda g: np.zeros(g.shape, np.float32), (4, 4, 4), ""),
        (lambda g: np.full(g.shape, np.nan, np.float32), (9, 12, 12), ""),
        (_noise, (2, 40, 40), "fewer than 4 voxels"),
        (_noise, (30, 5, 5), ""),
    ],
    ids=["noise", "constant", "tiny", "not a number", "two slices", "narrow"],
)
def test_a_hopeless_match_gives_nothing_and_says_why(today: object, shape: tuple[int, int, int], reason: str) -> None:
    place = grid(shape, (4.0, 2.0, 2.0))
    found = carry((*Body().scan(PRIOR_GRID), PRIOR_GRID), today(place), place)  # type: ignore[operator]
    assert found.proxy is None
    assert found.reason
    assert reason in found.reason


@pytest.mark.parametrize("shape", [(4, 4, 4), (4, 40, 40), (24, 5, 6)])
def test_a_prior_study_of_any_size_is_no_error(shape: tuple[int, int, int]) -> None:
    place = grid(shape, (4.0, 2.0, 2.0))
    image, _ = Body().scan(PRIOR_GRID)
    labels = np.ones(shape, np.uint8)
    found = carry((np.zeros(shape, np.float32), labels, place), image, PRIOR_GRID)
    assert (found.proxy, bool(found.reason)) == (None, True)


def test_a_prior_study_without_the_structure_gives_nothing() -> None:
    image, labels = Body().scan(PRIOR_GRID)
    found = carry((image, np.zeros_like(labels), PRIOR_GRID), image, PRIOR_GRID)
    assert (found.proxy, found.reason) == (None, "the prior study shows no structure")
