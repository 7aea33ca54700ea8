"""Where a site says so, a study whose images are gone is forgotten; an archive that is exchanged empties nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from learning_fakes import Stream, example
from test_intake import Log, series

from dicom_io.errors import PacsUnavailable
from learner.app.forgetting import DELETED, ForgottenStudies
from learner.app.gate import GateSettings
from learner.app.intake import Intake
from learner.app.tasks import TaskBook
from learner.domain.case import RoundEvent
from learner.storage.store import LocalStore


def named(text: str) -> str:
    return f"key of {text}"


def studies(folder: Path, *names: str) -> LocalStore:
    """A study with an answered annotation each; its images are series ``5.<name>``."""
    stream = Stream(folder, GateSettings(cases=0))
    for name in names:
        number = stream.add(example(name), name=f"object-{name}", study=f"1.{name}")
        stream.store.records.note_facts(number, annotation_uid=f"2.{name}")
        stream.store.records.apply(number, RoundEvent.DELIVERED, answered_at=1.0)
    return stream.store


def intake(store: LocalStore, log: object, *, purges: bool = True) -> Intake:
    forgotten = ForgottenStudies(store, named)
    return Intake(log, store, TaskBook([]), None, forgotten, forgets_deleted=purges)  # type: ignore[arg-type]


def ordered(store: LocalStore) -> list[str]:
    return sorted(one.study_uid for one in store.forgotten.all())


def images(*names: str) -> tuple[object, ...]:
    return tuple(series(f"5.{name}", "MR", f"image-{name}") for name in names)


@pytest.mark.parametrize("purges", [False, True])
def test_a_study_whose_images_are_gone_is_forgotten_where_the_settings_say_so(tmp_path: Path, purges: bool) -> None:
    store = studies(tmp_path, "a", "b")
    intake(store, Log(images("a")), purges=purges).reconcile()  # type: ignore[arg-type]
    assert ordered(store) == (["1.b"] if purges else [])
    if purges:
        (order,) = store.forgotten.all()
        assert (order.why, order.results) == (DELETED, ())


def test_what_the_plugin_says_was_deleted_is_looked_at_at_once(tmp_path: Path) -> None:
    store = studies(tmp_path, "a", "b", "c")
    taking = intake(store, Log(images("a")))  # type: ignore[arg-type]
    assert taking.look_for_deleted(["object-b"]) == 0
    assert ordered(store) == ["1.b"]  # ``c`` is for the next scan
    assert taking.look_for_deleted(["object-a"]) == 1  # its images are there: the drawing is taken back
    assert ordered(store) == ["1.b"]


def test_a_study_of_which_one_series_is_there_stays(tmp_path: Path) -> None:
    store = studies(tmp_path, "a", "b")
    store.records.case("liver", "1.b", "5.more")
    intake(store, Log(images("a", "more"))).reconcile()  # type: ignore[arg-type]
    assert ordered(store) == []


def test_an_archive_that_has_nothing_of_what_is_known_is_another_one(tmp_path: Path) -> None:
    store = studies(tmp_path, "a", "b")
    intake(store, Log(images("x"))).reconcile()  # type: ignore[arg-type]
    assert ordered(store) == []
    intake(store, Log()).look_for_deleted(["object-a"])
    assert ordered(store) == []


def test_many_are_asked_for_in_turn(tmp_path: Path) -> None:
    store = studies(tmp_path, "there")
    for number in range(70):
        store.records.case("liver", f"1.{1000 + number}", f"5.{1000 + number}")
    taking = intake(store, Log(images("there")))  # type: ignore[arg-type]
    taking.reconcile()
    assert len(ordered(store)) == 50
    taking.reconcile()
    assert len(ordered(store)) == 70


def test_an_archive_that_is_down_empties_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = studies(tmp_path, "a", "b")
    log = Log(images("a"))  # type: ignore[arg-type]

    def down(_uid: str) -> None:
        raise PacsUnavailable("archive", "no answer", "Start it.")

    monkeypatch.setattr(log, "find_series", down)
    with pytest.raises(PacsUnavailable):
        intake(store, log).reconcile()
    assert ordered(store) == []
