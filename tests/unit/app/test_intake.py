"""Nothing that arrives is lost, and nothing is taken in twice."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from versions import add_version

from dicom_io.codes import ANATOMICAL_STRUCTURE, Code
from dicom_io.errors import NotInPacs, PacsUnavailable
from dicom_io.pacs.memory import MemoryArchive
from dicom_io.pacs.port import FeedPage, SeriesStatus
from learner.app.intake import FEED, Intake
from learner.app.tasks import TaskBook
from learner.domain.case import RoundEvent, RoundState
from learner.domain.job import JobKind
from learner.domain.task import Label, MatchingRule, Task
from learner.storage.store import LocalStore

LABEL = Label(1, "Prostate", ANATOMICAL_STRUCTURE, Code("41216001", "SCT", "Prostate"), (1, 2, 3))
TASK = Task("prostate", "Prostate", (LABEL,), MatchingRule(("MR",), series_description="t2"))


def series(uid: str, modality: str, *instances: str, stable: bool = True, description: str = "t2 axial") -> SeriesStatus:
    return SeriesStatus(uid, "1.1", uid, modality, description, instances, stable)


class Log:
    """A log whose pages a test writes."""

    def __init__(self, *pages: tuple[SeriesStatus, ...]) -> None:
        self.pages = list(pages)
        self.broken_at: int | None = None

    def page(self, cursor: int, limit: int = 500) -> FeedPage:
        if self.broken_at == cursor:
            raise PacsUnavailable("archive", "no answer", "Start it.")
        touched = self.pages[cursor] if cursor < len(self.pages) else ()
        return FeedPage(touched, min(cursor + 1, len(self.pages)), cursor + 1 >= len(self.pages))

    def scan(self) -> Iterator[SeriesStatus]:
        return iter([s for page in self.pages for s in page])

    def find_series(self, series_instance_uid: str) -> SeriesStatus:
        for one in self.scan():
            if one.series_instance_uid == series_instance_uid:
                return one
        raise NotInPacs(series_instance_uid, "the archive has no such series", "Send it.")


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path)


def intake(store: LocalStore, feed: object, *tasks: Task) -> Intake:
    return Intake(feed, store, TaskBook(tasks or (TASK,)))  # type: ignore[arg-type]


def test_each_annotation_instance_is_one_trigger_in_order(store: LocalStore) -> None:
    log = Log((series("9.1", "SEG", "a"), series("9.2", "SR", "b", "c", stable=False)), (series("9.1", "SEG", "a", "d"),))
    assert intake(store, log).catch_up() == 4
    assert [r.trigger_uid for r in reversed(store.queries.rounds())] == ["a", "b", "c", "d"]
    assert store.jobs.pending(JobKind.RESPOND) == 4
    assert intake(store, log).catch_up() == 0


def test_the_cursor_stays_before_a_page_that_could_not_be_read(store: LocalStore) -> None:
    log = Log((series("9.1", "SEG", "a"),), (series("9.2", "SEG", "b"),))
    log.broken_at = 1
    with pytest.raises(PacsUnavailable):
        intake(store, log).catch_up()
    assert store.records.cursor(FEED) == 1
    log.broken_at = None
    assert intake(store, log).catch_up() == 1


def test_a_fault_in_the_middle_of_a_page_takes_in_nothing_of_it(store: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    log = Log((series("9.1", "SEG", "a"), series("9.2", "SEG", "b")))
    original = store.jobs.add

    def fail_second(kind: JobKind, round_id: int, *_lane: str) -> None:
        if round_id == 2:
            raise MemoryError
        original(kind, round_id)

    monkeypatch.setattr(store.jobs, "add", fail_second)
    with pytest.raises(MemoryError):
        intake(store, log).catch_up()
    assert store.queries.rounds() == []
    assert store.records.cursor(FEED) == 0
    monkeypatch.undo()
    assert intake(store, log).catch_up() == 2


def test_reconciliation_finds_what_the_log_lost(store: LocalStore) -> None:
    log = Log((series("9.1", "SEG", "a"),))
    taking = intake(store, log)
    store.records.set_cursor(FEED, 1)
    assert taking.catch_up() == 0
    assert taking.reconcile() == 1
    assert taking.reconcile() == 0


def test_a_drawing_that_comes_after_a_thousand_new_series_is_answered_first(store: LocalStore) -> None:
    _served(store)
    pages = [tuple(series(f"5.{page}.{n}", "MR", f"{page}-{n}a", f"{page}-{n}b") for n in range(100)) for page in range(10)]
    intake(store, Log(*pages, (series("9.1", "SEG", "a"),))).catch_up()
    job = store.jobs.claim(JobKind.RESPOND, 10.0)
    assert job is not None
    assert store.records.find_round(job.round_id).trigger_uid == "a"
    assert store.jobs.pending(JobKind.RESPOND) == 1001


def test_what_is_drawn_on_one_study_is_answered_one_after_the_other(store: LocalStore) -> None:
    intake(store, Log((series("9.1", "SEG", "a"), series("9.2", "SEG", "b")))).catch_up()
    first = store.jobs.claim(JobKind.RESPOND, 10.0)
    assert first is not None
    assert store.jobs.claim(JobKind.RESPOND, 10.0) is None
    store.jobs.finish(first)
    second = store.jobs.claim(JobKind.RESPOND, 10.0)
    assert second is not None
    assert [first.round_id, second.round_id] == [1, 2]


def test_images_wait_until_they_are_stable(store: LocalStore) -> None:
    archive = MemoryArchive()
    _served(store)
    taking = intake(store, Log((series("5.1", "MR", "i1", "i2", stable=False),), (series("5.1", "MR", "i1", "i2"),)))
    assert taking.catch_up() == 1
    (round_,) = store.queries.rounds()
    assert round_.number == 0
    assert round_.case_id is not None
    assert archive.page(0).done


def test_many_series_at_once_wait_in_the_archive_and_each_is_answered(store: LocalStore) -> None:
    """The rounds 0 that wait are bounded; drawings behind them in the log are taken in all the same, and answered first."""
    _served(store)
    images = [series(f"5.{number}", "MR", f"i{number}", f"j{number}") for number in range(120)]
    taking = Intake(
        Log(*(tuple(images[n : n + 40]) for n in range(0, 120, 40)), (series("9.1", "SEG", "a"),)),
        store,
        TaskBook([TASK]),
        most_undrawn=50,
    )  # type: ignore[arg-type]
    assert taking.catch_up() == 51
    assert store.jobs.undrawn() == 50
    first = store.jobs.claim(JobKind.RESPOND, 60)
    assert first is not None
    assert store.records.find_round(first.round_id).trigger_uid == "a", "a reader waits for no series"
    store.jobs.finish(first)
    assert not taking.wants_scan
    answered = []
    while job := store.jobs.claim(JobKind.RESPOND, 60):
        answered.append(store.records.find_round(job.round_id).series_instance_uid)
        store.jobs.finish(job)
        if taking.wants_scan:
            taking.reconcile()
        assert store.jobs.undrawn() <= 50
    assert sorted(answered) == sorted(one.series_instance_uid for one in images), "each once, none lost"
    assert not taking.wants_scan


def test_what_was_deleted_before_it_was_answered_is_answered_when_it_is_there_again(store: LocalStore) -> None:
    _served(store)
    log = Log((IMAGES, series("9.1", "SEG", "a")))
    taking = intake(store, log)
    assert taking.catch_up() == 2
    while job := store.jobs.claim(JobKind.RESPOND, 60):
        store.records.apply(job.round_id, RoundEvent.DELETED, reason="deleted")
        store.jobs.finish(job)
    assert taking.reconcile() == 2
    assert {str(r.state) for r in store.queries.rounds()} == {"queued"}
    assert store.jobs.pending(JobKind.RESPOND) == 2
    assert taking.reconcile() == 0


def test_no_round_zero_without_a_model_or_where_the_task_does_not_want_it(store: LocalStore) -> None:
    stable = series("5.1", "MR", "i1", "i2")
    assert intake(store, Log((stable,))).catch_up() == 0
    assert [case.series_instance_uid for case in store.queries.cases()] == ["5.1"]
    _served(store)
    quiet = Task("prostate", "Prostate", (LABEL,), TASK.match, answer_undrawn=False)
    assert intake(store, Log((), (series("5.2", "MR", "i3", "i4"),)), quiet).catch_up() == 0


def test_a_series_that_grows_is_a_new_trigger_and_a_repeated_event_is_none(store: LocalStore) -> None:
    _served(store)
    first, grown = series("5.1", "MR", "i1", "i2"), series("5.1", "MR", "i1", "i2", "i3")
    assert intake(store, Log((first,), (first,), (grown,))).catch_up() == 2


@pytest.mark.parametrize(
    "other",
    [
        series("5.1", "CT", "i1", "i2"),
        series("5.1", "MR", "i1"),
        series("5.1", "MR", "i1", "i2", description="localizer"),
        series("5.1", "KO", "i1", "i2"),
    ],
)
def test_series_of_no_task_are_left_alone(store: LocalStore, other: SeriesStatus) -> None:
    _served(store)
    assert intake(store, Log((other,))).catch_up() == 0
    assert store.queries.cases() == []


def test_images_that_arrive_release_what_waited_for_them(store: LocalStore) -> None:
    taking = intake(store, Log((series("9.1", "SEG", "a"),), (series("5.1", "MR", "i1", "i2"),)))
    log_page_one = Log((series("9.1", "SEG", "a"),))
    intake(store, log_page_one).catch_up()
    job = store.jobs.claim(JobKind.RESPOND, 10)
    assert job is not None
    with store.transaction():
        store.records.await_source(job.round_id, "5.1", "images missing")
        store.jobs.block(job, "images missing")
    assert store.jobs.pending(JobKind.RESPOND) == 0
    taking.catch_up()
    assert store.jobs.pending(JobKind.RESPOND) == 1
    assert store.records.find_round(job.round_id).state is RoundState.QUEUED


IMAGES = series("5.1", "MR", "i1", "i2")


def _answered(store: LocalStore, instance_id: str) -> int:
    """A round of an annotation that was answered."""
    (round_,) = [r for r in store.queries.rounds() if r.trigger_uid == instance_id]
    case = store.records.case("prostate", "1.1", "5.1")
    store.records.note_facts(round_.round_id, annotation_uid="1.2.3")
    store.records.apply(round_.round_id, RoundEvent.COMPUTED, case_id=case.case_id, number=1)
    store.records.apply(round_.round_id, RoundEvent.DELIVERED)
    return round_.round_id


def test_a_deleted_annotation_is_withdrawn_once_and_counts_anew_when_it_is_sent_again(store: LocalStore) -> None:
    log = Log((IMAGES, series("9.1", "SEG", "a")))
    taking = intake(store, log)
    taking.catch_up()
    first = _answered(store, "a")
    assert taking.reconcile() == 0
    log.pages = [(IMAGES,)]
    assert [taking.reconcile() for _ in range(2)] == [1, 0]
    assert store.queries.rounds()[0].trigger_uid == f"withdrawal of round {first}"
    assert store.records.find_round(first).facts["withdrawn"] is True
    log.pages = [(IMAGES, series("9.1", "SEG", "a"))]
    assert [taking.reconcile() for _ in range(2)] == [1, 0]
    assert store.queries.rounds()[0].trigger_uid == "a#1"
    _answered(store, "a#1")
    log.pages = [(IMAGES,)]
    assert taking.reconcile() == 1


def test_an_archive_that_made_room_withdraws_nothing(store: LocalStore) -> None:
    """Images and annotation are gone together: nobody took the drawing back."""
    log = Log((IMAGES, series("9.1", "SEG", "a")))
    taking = intake(store, log)
    taking.catch_up()
    _answered(store, "a")
    log.pages = [()]
    assert taking.reconcile() == 0


def test_a_scan_that_did_not_meet_an_annotation_is_not_believed(store: LocalStore) -> None:
    """Polled archives are looked through for the latest studies only."""
    log = Log((IMAGES, series("9.1", "SEG", "a")))
    taking = intake(store, log)
    taking.catch_up()
    _answered(store, "a")
    log.scan = lambda: iter([IMAGES])  # type: ignore[method-assign]
    log.find_series = lambda uid: IMAGES if uid == "5.1" else series("9.1", "SEG", "a")  # type: ignore[method-assign]
    assert taking.reconcile() == 0


def _served(store: LocalStore) -> None:
    add_version(store, "prostate")


def test_who_asks_is_told_how_fast_the_log_grows(store: LocalStore) -> None:
    grown: list[int] = []
    log = Log((series("1", "MR", "a"),), (series("2", "MR", "b"),))
    one = Intake(log, store, TaskBook([TASK]), arrived=grown.append)  # type: ignore[arg-type]
    one.catch_up()
    assert grown == [1, 1]
    one.catch_up()
    assert grown == [1, 1, 0]
