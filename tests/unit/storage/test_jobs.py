"""Jobs under leases: exclusive, in order, taken up again, never done twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from learner.domain.case import RoundEvent
from learner.domain.job import Job, JobKind
from learner.errors import LeaseLost
from learner.storage.store import LocalStore


class Hands:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Hands:
    return Hands()


@pytest.fixture
def store(tmp_path: Path, clock: Hands) -> LocalStore:
    return LocalStore(tmp_path, clock=clock)


def add_round(store: LocalStore, trigger: str, kind: JobKind = JobKind.RESPOND, task: str = "liver") -> int:
    with store.transaction():
        case = store.records.case(task, "1.1", f"series of {trigger}")
        round_id = store.records.open_round(trigger, "1.2", case_id=case.case_id)
        assert round_id is not None
        store.jobs.add(kind, round_id, task if kind is JobKind.LEARN else "")
    return round_id


def claim(store: LocalStore, kind: JobKind = JobKind.RESPOND) -> Job:
    job = store.jobs.claim(kind, 10.0)
    assert job is not None
    return job


def test_oldest_first_and_each_once(store: LocalStore) -> None:
    first, second = add_round(store, "a"), add_round(store, "b")
    assert [claim(store).round_id, claim(store).round_id] == [first, second]
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None


def add_undrawn(store: LocalStore, name: str, task: str) -> int:
    """A round 0 and its job."""
    with store.transaction():
        case = store.records.case(task, "1.1", f"series {name} of {task}")
        round_id = store.records.open_round(f"{name} {task}", "1.2", case_id=case.case_id, number=0)
        assert round_id is not None
        store.jobs.add(JobKind.RESPOND, round_id)
    return round_id


def test_readers_go_before_series_that_nobody_drew_on(store: LocalStore) -> None:
    undrawn = [add_undrawn(store, f"s{n}", "liver") for n in range(200)]
    drawn = [add_round(store, f"drawing {n}") for n in range(3)]
    assert [claim(store).round_id for _ in range(4)] == [*drawn, undrawn[0]]
    assert store.jobs.undrawn() == 200
    assert store.jobs.pending(JobKind.RESPOND, of_readers=True) == 3


def test_a_task_with_many_series_starves_no_other(store: LocalStore) -> None:
    many = [add_undrawn(store, f"s{n}", "liver") for n in range(50)]
    few = [add_undrawn(store, f"s{n}", "spleen") for n in range(3)]
    taken = []
    for _ in range(8):
        job = claim(store)
        taken.append(job.round_id)
        store.jobs.finish(job)
    assert taken == [many[0], few[0], many[1], few[1], many[2], few[2], many[3], many[4]]


def test_a_model_with_much_to_learn_starves_no_other(store: LocalStore) -> None:
    many = [add_round(store, f"l{n}", JobKind.LEARN) for n in range(30)]
    few = [add_round(store, f"s{n}", JobKind.LEARN, task="spleen") for n in range(2)]
    taken = []
    for _ in range(5):
        job = claim(store, JobKind.LEARN)
        taken.append(job.round_id)
        store.jobs.finish(job)
    assert taken == [many[0], few[0], many[1], few[1], many[2]]


@pytest.mark.parametrize("hours", [-9, 9])
def test_a_clock_that_jumps_holds_no_job_up(store: LocalStore, clock: Hands, hours: int) -> None:
    """A dead worker's lease, and the pause before another attempt, both written before the jump."""
    leased, paused = add_round(store, "a"), add_round(store, "b")
    claim(store)
    store.jobs.release(claim(store), clock.now() + 60, "archive down")
    clock.time += 3600 * hours
    assert [claim(store).round_id, claim(store).round_id] == [leased, paused]


def test_a_clock_that_is_set_by_seconds_takes_no_lease_away(store: LocalStore, clock: Hands) -> None:
    add_round(store, "a")
    claim(store)
    for seconds in (-5, 8):
        clock.time += seconds
        assert store.jobs.claim(JobKind.RESPOND, 10.0) is None


def test_a_trigger_is_recorded_once(store: LocalStore) -> None:
    add_round(store, "a")
    assert store.records.open_round("a", "1.2") is None


def test_a_lost_lease_is_taken_up_and_its_former_owner_can_finish_nothing(store: LocalStore, clock: Hands) -> None:
    add_round(store, "a")
    lost = claim(store)
    clock.time += 11
    again = claim(store)
    assert again.attempts == 2
    for late in (store.jobs.finish, lambda job: store.jobs.renew(job, 1.0), lambda job: store.jobs.park(job, "")):
        with pytest.raises(LeaseLost):
            late(lost)
    store.jobs.finish(again)
    assert store.jobs.pending(JobKind.RESPOND) == 0


def test_a_renewed_lease_holds(store: LocalStore, clock: Hands) -> None:
    add_round(store, "a")
    job = claim(store)
    clock.time += 8
    store.jobs.renew(job, 10.0)
    clock.time += 8
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None


def test_released_jobs_wait_for_their_time(store: LocalStore, clock: Hands) -> None:
    add_round(store, "a")
    store.jobs.release(claim(store), clock.now() + 5, "archive down")
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None
    clock.time += 5
    assert claim(store).attempts == 2


def test_preemption_counts_no_attempt(store: LocalStore, clock: Hands) -> None:
    add_round(store, "a")
    store.jobs.release(claim(store), 0.0, "preempted", count_attempt=False)
    assert claim(store).attempts == 1


@pytest.mark.parametrize("end", ["park", "block"])
def test_parked_and_blocked_jobs_come_back_only_when_reopened(store: LocalStore, end: str) -> None:
    round_id = add_round(store, "a")
    getattr(store.jobs, end)(claim(store), "reason")
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None
    (view,) = store.queries.jobs()
    assert (view.state, view.reason) == ({"park": "parked", "block": "blocked"}[end], "reason")
    store.jobs.reopen(JobKind.RESPOND, round_id)
    assert claim(store).attempts == 1


def test_a_running_job_is_not_reopened(store: LocalStore) -> None:
    round_id = add_round(store, "a")
    claim(store)
    store.jobs.reopen(JobKind.RESPOND, round_id)
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None


def test_learn_jobs_of_one_model_are_taken_strictly_in_order(store: LocalStore, clock: Hands) -> None:
    first = add_round(store, "a", JobKind.LEARN)
    add_round(store, "b", JobKind.LEARN)
    other_task = add_round(store, "c", JobKind.LEARN, task="spleen")
    job = claim(store, JobKind.LEARN)
    assert job.round_id == first
    assert claim(store, JobKind.LEARN).round_id == other_task
    assert store.jobs.claim(JobKind.LEARN, 10.0) is None, "the second one of the task waits for the first"
    store.jobs.release(job, clock.now() + 60, "out of memory")
    assert store.jobs.claim(JobKind.LEARN, 10.0) is None, "also while the first one waits for its next attempt"


def test_what_happens_in_a_failed_transaction_did_not_happen(store: LocalStore) -> None:
    class Fault(Exception):
        pass

    def fail() -> None:
        with store.transaction():
            store.records.set_cursor("archive", 7)
            add_round(store, "a")
            raise Fault

    with pytest.raises(Fault):
        fail()
    assert store.records.cursor("archive") == 0
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None


def test_the_store_is_the_same_after_it_was_closed(store: LocalStore, tmp_path: Path) -> None:
    round_id = add_round(store, "a")
    store.records.await_source(round_id, "1.9", "images missing")
    store.close()
    again = LocalStore(tmp_path)
    (waiting,) = again.records.waiting_for("1.9")
    assert waiting.round_id == round_id
    assert again.records.apply(round_id, RoundEvent.SOURCE_ARRIVED, reason="").state == "queued"


@pytest.mark.parametrize("kind", list(JobKind))
def test_whoever_takes_the_folder_takes_up_what_a_killed_process_was_doing(store: LocalStore, kind: JobKind) -> None:
    add_round(store, "a", kind)
    lost = claim(store, kind)
    take, other = (store.take, store.take_training) if kind is JobKind.RESPOND else (store.take_training, store.take)
    other()
    assert store.jobs.claim(kind, 10.0) is None, "a job of the other process is left alone"
    take()
    assert claim(store, kind).round_id == lost.round_id
    with pytest.raises(LeaseLost):
        store.jobs.finish(lost)
    store.close()


def add_images(store: LocalStore, trigger: str, task: str = "liver") -> int:
    with store.transaction():
        case = store.records.case(task, "1.1", f"series of {trigger}")
        round_id = store.records.open_round(trigger, "1.2", case_id=case.case_id, number=0)
        assert round_id is not None
        store.jobs.add(JobKind.RESPOND, round_id)
    return round_id


def test_a_drawing_is_answered_before_all_new_series_that_wait(store: LocalStore) -> None:
    images = [add_images(store, f"images {number}") for number in range(1000)]
    drawings = [add_round(store, "first drawing"), add_round(store, "second drawing")]
    assert [claim(store).round_id for _ in range(4)] == [*drawings, *images[:2]]


def test_answers_of_two_tasks_are_given_in_the_order_of_arrival(store: LocalStore) -> None:
    rounds = [add_round(store, f"{task} {number}", task=task) for number in range(5) for task in ("liver", "spleen")]
    assert [claim(store).round_id for _ in rounds] == rounds


def test_what_is_drawn_on_one_study_is_answered_in_order_though_the_archive_is_away(store: LocalStore, clock: Hands) -> None:
    first, second = (store.records.open_round(name, "1.2") for name in "ab")
    other = store.records.open_round("c", "1.3")
    for round_id, study in ((first, "1.1"), (second, "1.1"), (other, "1.9")):
        assert round_id is not None
        store.jobs.add(JobKind.RESPOND, round_id, study)
    store.jobs.release(claim(store), clock.now() + 30, "archive down")
    assert claim(store).round_id == other, "what waits for its next attempt keeps no other study waiting"
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None, "the second drawing of the study comes after the first"
    clock.time += 31
    assert claim(store).round_id == first
