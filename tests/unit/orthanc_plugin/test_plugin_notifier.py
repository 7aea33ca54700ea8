from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from orthanc_plugin.notifier import Notifier

_WAIT_S = 20.0
Batch = list[dict[str, str]]


class Receiver:
    """Takes messages one at a time: each waits at the gate until the test lets it through or makes it fail."""

    def __init__(self) -> None:
        self.arrived = threading.Semaphore(0)
        self.verdicts: list[bool] = []
        self.gate = threading.Semaphore(0)
        self.messages: list[Batch] = []

    def __call__(self, changes: Batch) -> None:
        self.messages.append(changes)
        self.arrived.release()
        assert self.gate.acquire(timeout=_WAIT_S)
        if not self.verdicts.pop(0):
            raise OSError("away")

    def wait(self) -> None:
        assert self.arrived.acquire(timeout=_WAIT_S)

    def let(self, good: bool) -> None:
        self.verdicts.append(good)
        self.gate.release()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


@pytest.fixture
def make_notifier(receiver: Receiver) -> Iterator[Callable[..., tuple[Notifier, list[str]]]]:
    made: list[Notifier] = []

    def make(capacity: int = 100) -> tuple[Notifier, list[str]]:
        lines: list[str] = []
        notifier = Notifier(receiver, capacity=capacity, log=lines.append, pause=0.0, longest_pause=0.0)
        notifier.start()
        made.append(notifier)
        return notifier, lines

    yield make
    for notifier in made:
        notifier.stop()
        for _ in range(50):
            receiver.let(True)
        notifier._thread.join(_WAIT_S)
        assert not notifier._thread.is_alive()


def test_what_is_the_same_waits_once_and_what_came_meanwhile_is_told_after(
    make_notifier: Callable[..., tuple[Notifier, list[str]]], receiver: Receiver
) -> None:
    notifier, _ = make_notifier()
    notifier.note("NewInstance", "")
    receiver.wait()  # the first message is on the way
    for kind, name in (("NewInstance", ""), ("NewInstance", ""), ("StableSeries", "a"), ("StableSeries", "a")):
        notifier.note(kind, name)
    receiver.let(True)
    receiver.wait()
    assert receiver.messages == [
        [{"kind": "NewInstance", "id": ""}],
        [{"kind": "NewInstance", "id": ""}, {"kind": "StableSeries", "id": "a"}],
    ]
    counters = notifier.counters()
    assert (counters["noted"], counters["coalesced"], counters["delivered"], counters["dropped"]) == (5, 2, 1, 0)


def test_a_full_queue_drops_and_counts_and_never_blocks(
    make_notifier: Callable[..., tuple[Notifier, list[str]]], receiver: Receiver
) -> None:
    notifier, _ = make_notifier(capacity=3)
    notifier.note("NewSeries", "first")
    receiver.wait()  # it is out of the queue, and stays on the way for as long as the test likes
    for number in range(10):
        notifier.note("NewSeries", str(number))
    counters = notifier.counters()
    assert (counters["waiting"], counters["dropped"]) == (3, 7)


def test_what_the_learner_missed_is_told_again_first_and_logged_once(
    make_notifier: Callable[..., tuple[Notifier, list[str]]], receiver: Receiver
) -> None:
    notifier, lines = make_notifier()
    notifier.note("NewSeries", "a")
    receiver.wait()
    notifier.note("NewSeries", "b")
    for _ in range(3):
        receiver.let(False)
        receiver.wait()
    assert receiver.messages[-1] == [{"kind": "NewSeries", "id": "a"}, {"kind": "NewSeries", "id": "b"}]
    counters = notifier.counters()
    assert (counters["failures"], counters["delivered_at"]) == (3, 0.0)
    assert "away" in counters["problem"]
    assert len(lines) == 1
    assert "away" in lines[0]
    receiver.let(True)
    notifier.note("NewSeries", "c")
    receiver.wait()
    assert receiver.messages[-1] == [{"kind": "NewSeries", "id": "c"}]
    assert lines[1] == "the learner is told of changes again"


def test_a_long_queue_goes_in_parts(make_notifier: Callable[..., tuple[Notifier, list[str]]], receiver: Receiver) -> None:
    notifier, _ = make_notifier(capacity=1000)
    notifier.note("NewSeries", "first")
    receiver.wait()
    for number in range(250):
        notifier.note("NewSeries", str(number))
    for _ in range(3):
        receiver.let(True)
        receiver.wait()
    assert [len(message) for message in receiver.messages] == [1, 100, 100, 50]


def test_it_pauses_ever_longer_while_the_learner_is_away(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    notifier = Notifier(receiver, capacity=10, log=lambda line: None, pause=0.25, longest_pause=3.0)
    pauses: list[float] = []
    monkeypatch.setattr(notifier._stopped, "wait", pauses.append)
    notifier.start()
    notifier.note("NewSeries", "a")
    for good in (False, False, False, False, False, True):
        receiver.wait()
        receiver.let(good)
    notifier.note("NewSeries", "b")
    receiver.wait()
    assert pauses == [0.5, 1.0, 2.0, 3.0, 3.0, 0.25]
    notifier.stop()
    receiver.let(True)
    notifier._thread.join(_WAIT_S)


def test_its_thread_is_a_daemon() -> None:
    assert Notifier(lambda changes: None, capacity=1, log=lambda line: None)._thread.daemon
