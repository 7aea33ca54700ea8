from __future__ import annotations

import math

import pytest
import torch

from learner.errors import StoreError
from learner.model.network import build_network
from learner.model.plan import Plan, plan_for

CASES = {
    "hippocampus": ((36, 50, 35), (1.0, 1.0, 1.0)),
    "prostate": ((24, 320, 320), (3.6, 0.6, 0.6)),
    "fine prostate": ((19, 384, 384), (3.0, 0.5, 0.5)),
    "brain, thick": ((60, 217, 181), (3.0, 1.0, 1.0)),
    "brain, isotropic": ((181, 217, 181), (1.0, 1.0, 1.0)),
    "body CT": ((300, 512, 512), (1.0, 0.8, 0.8)),
    "thick CT": ((40, 512, 512), (5.0, 0.9, 0.9)),
    "heart": ((8, 208, 256), (9.0, 1.5, 1.5)),
    "two slices": ((2, 64, 64), (1.0, 1.0, 1.0)),
    "tiny": ((3, 5, 6), (1.0, 1.0, 1.0)),
    "tiny and isotropic": ((9, 9, 9), (1.0, 1.0, 1.0)),
    "sliver": ((9, 11, 300), (1.0, 1.0, 1.0)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_plan_builds_a_network_for_its_patch(name: str) -> None:
    shape, spacing = CASES[name]
    plan = plan_for(shape, spacing, 2)
    assert all(size % factor == 0 for size, factor in zip(plan.patch_DHW, plan.factors, strict=True))
    network = build_network([plan], seed=1)
    patch = plan.patch_DHW[3 - plan.dimensions :]
    output = network(torch.zeros(1, plan.image_channels, *patch))
    assert output.shape == (1, 3, *patch)


@pytest.mark.parametrize("name", CASES)
def test_work_is_bounded(name: str) -> None:
    shape, spacing = CASES[name]
    plan = plan_for(shape, spacing, 2)
    assert plan.batch * math.prod(plan.patch_DHW) <= 210_000
    working = plan.working_shape(shape, spacing)
    assert math.prod(working) <= 3_300_000
    assert all(1 <= new <= max(old, 1) for new, old in zip(working, shape, strict=True))


def test_thick_slices_are_taken_five_at_a_time() -> None:
    assert [plan_for(*CASES[name], 1).context for name in ("prostate", "brain, thick", "heart", "hippocampus")] == [5, 5, 5, 1]


def test_fine_slices_are_coarsened_to_about_128_pixels_but_no_further_than_a_millimetre_and_a_half() -> None:
    shape, spacing = CASES["fine prostate"]
    plan = plan_for(shape, spacing, 1)
    assert plan.working_shape(shape, spacing) == (19, 128, 128)
    assert plan.batch >= 9
    assert plan_for((24, 512, 512), (4.0, 0.7, 0.7), 1).spacing_DHW == (4.0, 1.5, 1.5)
    assert plan_for((10, 100, 100), (4.0, 0.7, 0.7), 1).spacing_DHW == (4.0, 1.0, 1.0), "a small crop stays sharp"


def test_a_small_isotropic_crop_stays_whole() -> None:
    plan = plan_for((36, 50, 35), (1.0, 1.0, 1.0), 2)
    assert (plan.working_shape((36, 50, 35), (1.0, 1.0, 1.0)), plan.patch_DHW) == ((36, 50, 35), (32, 48, 32))


def test_slices_keep_their_number_in_2d_whatever_their_distance() -> None:
    plan = plan_for((24, 320, 320), (3.6, 0.6, 0.6), 1)
    assert plan.working_shape((40, 256, 256), (1.5, 1.5, 1.5)) == (40, 256, 256)


def test_a_patch_is_rounded_down_so_that_no_step_is_spent_on_padding() -> None:
    for size in range(16, 44):
        plan = plan_for((size, size + 3, size + 1), (1.0, 1.0, 1.0), 2)
        for patch, factor, there in zip(plan.patch_DHW, plan.factors, (size, size + 3, size + 1), strict=True):
            assert (patch % factor, patch) == (0, there - there % factor)


def test_a_patch_is_at_least_one_multiple() -> None:
    trunk = plan_for((64, 64, 64), (1.0, 1.0, 1.0), 1)
    assert trunk.factors == (8, 8, 8)
    assert plan_for((5, 40, 40), (1.0, 1.0, 1.0), 1, trunk=trunk).patch_DHW == (8, 40, 40)
    assert plan_for((3, 5, 6), (1.0, 1.0, 1.0), 1, dimensions=3).patch_DHW == (8, 8, 8), "two voxels are left at the bottom"


@pytest.mark.parametrize(
    ("shape", "batch"), [((16, 16, 16), 4), ((32, 32, 32), 3), ((36, 50, 35), 2), ((181, 217, 181), 2), ((300, 512, 512), 2)]
)
def test_two_to_four_volumes_make_a_batch(shape: tuple[int, int, int], batch: int) -> None:
    assert plan_for(shape, (1.0, 1.0, 1.0), 2).batch == batch


@pytest.mark.parametrize("name", CASES)
def test_json_gives_the_same_plan(name: str) -> None:
    plan = plan_for(*CASES[name], 3)
    assert Plan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"dimensions": "three"}'])
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(StoreError, match="plan"):
        Plan.from_json(text)


@pytest.mark.parametrize("shape", [(10, 24, 24), (10, 30, 20), (12, 12, 12)])
def test_a_small_task_on_a_shared_trunk_keeps_more_than_one_voxel_at_the_bottom(shape: tuple[int, int, int]) -> None:
    for trunk in (plan_for((24, 320, 320), (3.6, 0.6, 0.6), 1), plan_for((64, 64, 64), (1.0, 1.0, 1.0), 1)):
        plan = plan_for(shape, (4.0, 1.0, 1.0), 1, trunk=trunk)
        bottom = [size // factor for size, factor in zip(plan.patch_DHW, plan.factors, strict=True)]
        assert max(bottom) > 1
