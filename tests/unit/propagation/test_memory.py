"""What was computed is not computed again, and nothing comes out differently for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from dicom_io.annotation import SparseAnnotation
from learner.propagation.inverse_search import InverseSearch
from learner.propagation.memory import Memory, clear_memories, digest
from learner.propagation.methods import chained, torch_flow
from learner.propagation.slices import Slices
from learner.propagation.torch_flow import TorchFlow

Phantom = tuple[np.ndarray, np.ndarray]
Annotate = Callable[..., SparseAnnotation]
SPACING = (3.0, 1.0, 1.0)


class Counting(InverseSearch):
    """Counts the pairs that it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def register(self, pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[np.ndarray]:
        self.asked += len(pairs)
        return super().register(pairs)


def test_one_more_slice_registers_nothing_again(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    counting = Counting()
    kept = chained("kept", counting)
    kept.propagate(image, SPACING, annotate(truth, [8, 16], [3, 21]))
    first = counting.asked
    assert first == 2 * 18
    again = kept.propagate(image.copy(), SPACING, annotate(truth, [8, 12, 16], [3, 21]))
    assert counting.asked == first
    fresh = chained("kept", InverseSearch()).propagate(image, SPACING, annotate(truth, [8, 12, 16], [3, 21]))
    np.testing.assert_array_equal(again.soft_CDHW, fresh.soft_CDHW)
    np.testing.assert_array_equal(again.confidence_DHW, fresh.confidence_DHW)


def test_a_changed_slice_is_registered_anew_and_no_other(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    counting = Counting()
    kept = chained("kept", counting)
    annotation = annotate(truth, [8, 16], [3, 21])
    kept.propagate(image, SPACING, annotation)
    first = counting.asked
    changed = image.copy()
    changed[12] += np.random.default_rng(1).normal(0, 30, changed[12].shape)
    again = kept.propagate(changed, SPACING, annotation)
    assert counting.asked == first + 4
    np.testing.assert_array_equal(
        again.soft_CDHW, chained("fresh", InverseSearch()).propagate(changed, SPACING, annotation).soft_CDHW
    )


@pytest.mark.parametrize("limit", [0, 200_000])
def test_a_memory_that_is_too_small_changes_nothing(limit: int, ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    memory = Memory(limit)
    annotation = annotate(truth, [8, 16], [3, 21])
    small = chained("flow", InverseSearch(), memory=memory)
    fresh = chained("flow", InverseSearch()).propagate(image, SPACING, annotation)
    for _ in range(2):
        np.testing.assert_array_equal(small.propagate(image, SPACING, annotation).soft_CDHW, fresh.soft_CDHW)
    assert memory.held_bytes <= limit


def test_what_was_not_used_for_longest_goes_first() -> None:
    memory = Memory(300)
    for name in "abc":
        memory.put(name, np.zeros(100, np.uint8))
    assert memory.get("a") is not None
    memory.put("d", np.zeros(100, np.uint8))
    memory.put("huge", np.zeros(301, np.uint8))
    assert [name for name in ("a", "b", "c", "d", "huge") if memory.get(name) is not None] == ["a", "c", "d"]
    assert memory.held_bytes == 300


def test_what_is_kept_cannot_be_written() -> None:
    memory = Memory()
    memory.put("a", np.zeros(3))
    kept = memory.get("a")
    assert kept is not None
    with pytest.raises(ValueError, match="read-only"):
        kept[0] = 1


def test_digests_tell_content_shape_and_type_apart() -> None:
    zeros = np.zeros((4, 6), np.float32)
    others = [zeros.T, zeros.astype(np.float64), zeros.view(np.int32), zeros + 1]
    assert len({digest(array) for array in (zeros, *others)}) == 5
    wide = np.zeros((4, 12), np.float32)
    assert digest(wide[:, ::2]) == digest(zeros)


def test_threads_share_a_memory(ball: Phantom, annotate: Annotate) -> None:
    image, truth = ball
    shared = chained("flow", InverseSearch(), memory=Memory(2_000_000))
    annotations = [annotate(truth, drawn, [3, 21]) for drawn in ([8, 16], [8, 12, 16], [9, 13])]
    alone = [chained("flow", InverseSearch()).propagate(image, SPACING, one).soft_CDHW for one in annotations]
    found: list[np.ndarray | None] = [None] * 3

    def work(number: int) -> None:
        found[number] = shared.propagate(image, SPACING, annotations[number]).soft_CDHW

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_array_equal(one, other)


def test_slices_are_brought_to_a_size_that_suits_registration() -> None:
    rng = np.random.default_rng(0)
    assert Slices(rng.random((2, 20, 40), np.float32), Memory())[0].shape == (80, 160)
    assert Slices(rng.random((2, 640, 320), np.float32), Memory())[0].shape == (320, 160)
    assert Slices(rng.random((2, 100, 90), np.float32), Memory())[0].shape == (100, 90)


def test_a_batch_gives_each_pair_what_it_gets_alone(tube: Phantom) -> None:
    slices = Slices(tube[0], Memory())
    pairs = [(slices[i], slices[i + 1]) for i in range(5)]
    together = TorchFlow("cpu").register(pairs)
    few = TorchFlow("cpu", batch_pixels=2 * pairs[0][0].size).register(pairs)
    for pair, one, other in zip(pairs, together, few, strict=True):
        np.testing.assert_array_equal(one, TorchFlow("cpu").register([pair])[0])
        np.testing.assert_array_equal(one, other)


def test_a_device_that_is_none_is_refused(tube: Phantom, annotate: Annotate) -> None:
    image, truth = tube
    with pytest.raises(ValueError, match="use auto, cpu or cuda"):
        torch_flow("abacus").propagate(image, SPACING, annotate(truth, [0, 4]))


def test_all_memories_are_emptied_at_once() -> None:
    memories = [Memory(100) for _ in range(2)]
    for memory in memories:
        memory.put("flow", np.zeros(10, dtype=np.uint8))
    clear_memories()
    assert [(memory.get("flow"), memory.held_bytes) for memory in memories] == [(None, 0), (None, 0)]
    memories[0].put("flow", np.zeros(100, dtype=np.uint8))
    assert memories[0].get("flow") is not None
