"""While images pour in on a machine without a core to spare, answers and learning wait, and not for ever."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from dicom_io.annotation import Plane, PlaneKind, SparseAnnotation
from learner.app.precedence import EBB_S, FLOOD, Precedence
from learner.app.tasks import TaskBook
from learner.domain.pace import give_way, giving_way
from learner.model.network import build_network
from learner.model.plan import plan_for
from learner.model.serving import ServingNetwork
from learner.node import Node
from learner.propagation import make_propagator
from learner.settings import Settings
from learner.storage.store import LocalStore

LONGEST_S = 20.0
LOOK_S = 0.25


class Machine:
    """A clock, cores that nobody uses, and an archive whose log is read four times a second."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self.now, self.idle = 1000.0, 0.4
        self.precedence = Precedence(longest_s, lambda: self.idle, lambda: self.now)

    def wait(self, seconds: float) -> None:
        self.now += seconds

    def receives(self, seconds: float, rate: float = 4 * FLOOD) -> list[bool]:
        """Whether others waited, look by look."""
        waited = []
        for _ in range(round(seconds / LOOK_S)):
            self.now += LOOK_S
            self.precedence.arrived(round(rate * LOOK_S))
            waited.append(self.precedence.holds)
        return waited


def test_others_wait_within_a_second_of_a_flood_and_go_on_soon_after_its_end() -> None:
    machine = Machine()
    waited = machine.receives(5.0)
    assert waited[4:] == [True] * (len(waited) - 4)
    machine.now += EBB_S + 0.1
    assert not machine.precedence.holds


@pytest.mark.parametrize("why", ["slow", "a core is idle", "switched off"])
def test_nobody_waits_where_the_archive_has_what_it_needs(why: str) -> None:
    machine = Machine(0.0 if why == "switched off" else LONGEST_S)
    machine.idle = 1.5 if why == "a core is idle" else 0.0
    assert not any(machine.receives(10.0, FLOOD if why == "slow" else 4 * FLOOD))


def test_waiting_that_has_begun_goes_on_though_it_leaves_a_core_idle() -> None:
    machine = Machine()
    machine.receives(2.0)
    machine.idle = 1.5
    assert all(machine.receives(3.0))


def test_a_flood_without_an_end_shares_the_machine() -> None:
    machine = Machine()
    first = machine.receives(LONGEST_S + 2)
    assert sum(first) * LOOK_S == pytest.approx(LONGEST_S, abs=1.0)
    assert not first[-1]
    later = machine.receives(400)
    assert sum(later) / len(later) == pytest.approx(0.5, abs=0.05)


def test_a_process_that_stood_still_has_not_waited() -> None:
    machine = Machine()
    machine.receives(2.0)
    machine.now += 100
    assert not machine.precedence.holds
    assert all(machine.receives(10.0)[4:])


def test_floods_one_after_the_other_share_the_machine_too() -> None:
    machine, waited = Machine(), list[bool]()
    for _ in range(40):
        waited += machine.receives(10.0)
        waited += machine.receives(2, rate=0)
    assert sum(waited[len(waited) // 2 :]) / len(waited) * 2 < 0.6


def test_who_gives_way_comes_back_when_the_flood_is_over_and_when_the_node_stops() -> None:
    machine = Machine()
    machine.receives(2.0)

    machine.precedence.give_way(lambda: False, machine.wait)
    assert machine.precedence.waited_s == pytest.approx(EBB_S, abs=0.5)
    machine.receives(2.0)
    machine.precedence.give_way(lambda: True, machine.wait)
    assert machine.precedence.holds


def test_only_what_is_told_to_pauses() -> None:
    calls: list[int] = []
    give_way()
    with giving_way(lambda: calls.append(1)):
        give_way()
    give_way()
    assert calls == [1]


def test_propagation_and_network_pause_several_times_a_volume() -> None:
    rng, calls = np.random.default_rng(1), list[int]()
    image_DHW = rng.normal(size=(12, 48, 48)).astype(np.float32)
    labels_DHW, known_LDHW = np.zeros((12, 48, 48), np.uint8), np.zeros((1, 12, 48, 48), np.bool_)
    for index in (2, 9):
        labels_DHW[index, 16:32, 16:32], known_LDHW[0, index] = 1, True
    planes = tuple(Plane(0, index, PlaneKind.DRAWN) for index in (2, 9))
    with giving_way(lambda: calls.append(1)):
        make_propagator(Settings().answer.propagator).propagate(
            image_DHW, (3.0, 1.0, 1.0), SparseAnnotation(labels_DHW, known_LDHW, planes)
        )
    assert len(calls) >= 12
    calls.clear()
    for spacing_DHW in ((3.0, 1.0, 1.0), (1.0, 1.0, 1.0)):
        plan = plan_for((12, 48, 48), spacing_DHW, 1)
        network = ServingNetwork(plan, build_network([plan], seed=0).state_dict())
        calls.clear()
        with giving_way(lambda: calls.append(1)):
            network.predict(image_DHW, spacing_DHW)
        assert calls


def test_a_node_that_gives_way_answers_after_the_flood_and_asks_its_trainer_to_wait(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine, done, held = Machine(), list[float](), list[int]()

    def answer() -> bool:
        give_way()  # as in the midst of a computation
        done.append(machine.now)
        return True

    intake = SimpleNamespace(catch_up=lambda: 0, reconcile=lambda: 0, wants_scan=False)
    store, settings = LocalStore(tmp_path), Settings()
    respond, trainer = SimpleNamespace(run_once=answer), SimpleNamespace(hold=lambda: held.append(1))
    node = Node(settings, store, TaskBook([]), intake, respond, trainer, precedence=machine.precedence)  # type: ignore[arg-type]
    node._take_in()
    assert not held
    machine.receives(2.0)
    node._take_in()
    assert held == [1]
    began = machine.now
    monkeypatch.setattr(node._respond_worker, "wait", machine.wait)
    node._answer()
    assert done[0] - began == pytest.approx(EBB_S, abs=0.5)
