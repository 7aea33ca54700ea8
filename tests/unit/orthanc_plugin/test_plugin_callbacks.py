from __future__ import annotations

import json
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orthanc_plugin.learner import Learner, LearnerError
from orthanc_plugin.options import Options

_MAIN = Path(__file__).resolve().parents[3] / "orthanc_plugin" / "main.py"
Load = Callable[..., tuple[Any, Any]]


class Output:
    def __init__(self) -> None:
        self.answer: tuple[str, str] | None = None
        self.allowed = ""

    def AnswerBuffer(self, body: str, mime: str) -> None:
        self.answer = (body, mime)

    def SendMethodNotAllowed(self, allowed: str) -> None:
        self.allowed = allowed


class Notes:
    """A notifier that only notes, or raises."""

    def __init__(self, error: Exception | None = None) -> None:
        self.noted: list[tuple[str, str]] = []
        self.stopped = False
        self.error = error

    def note(self, kind: str, identifier: str) -> bool:
        if self.error is not None:
            raise self.error
        self.noted.append((kind, identifier))
        return (kind, identifier) not in self.noted[:-1]

    def stop(self) -> None:
        self.stopped = True

    def counters(self) -> dict[str, int]:
        return {"noted": len(self.noted)}


class State:
    """A learner that counts how often it is asked."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked = 0
        self.error = error

    def state(self) -> object:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return {"rounds": 1}


def test_changes_are_noted_and_instances_told_together(load_callbacks: Load) -> None:
    callbacks, fake = load_callbacks()
    notes, kinds = Notes(), fake.ChangeType
    callback = callbacks.ChangeCallback(notes)
    for change, name in ((kinds.NEW_INSTANCE, "i"), (kinds.NEW_SERIES, "s"), (kinds.NEW_STUDY, "t"), (kinds.DELETED, "d")):
        callback(change, 0, name)
    callback(kinds.ORTHANC_STARTED, 0, None)
    assert notes.noted == [("NewInstance", ""), ("NewSeries", "s"), ("Deleted", "d"), ("OrthancStarted", "")]
    callback(kinds.ORTHANC_STOPPED, 0, None)
    assert notes.stopped


def test_instances_that_pour_in_gather(load_callbacks: Load) -> None:
    callbacks, fake = load_callbacks()
    notes, now, slept = Notes(), [100.0], list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    callback = callbacks.ChangeCallback(notes, lambda: now[0], sleep)
    callback(fake.ChangeType.NEW_INSTANCE, 0, "first")
    callback(fake.ChangeType.NEW_SERIES, 0, "s")
    callback(fake.ChangeType.NEW_SERIES, 0, "s")
    assert slept == []
    for _ in range(100):  # what gathered is taken one after the other
        callback(fake.ChangeType.NEW_INSTANCE, 0, "more")
        now[0] += 0.00002
    assert slept == [0.1]
    now[0] += 0.01
    callback(fake.ChangeType.NEW_INSTANCE, 0, "later")
    assert slept == [0.1, 0.1]
    assert len(notes.noted) == 104


def test_no_exception_leaves_the_change_callback(load_callbacks: Load) -> None:
    callbacks, fake = load_callbacks()
    callbacks.ChangeCallback(Notes(RuntimeError("x")))(fake.ChangeType.NEW_SERIES, 0, "s")
    assert "a change was not taken: RuntimeError" in fake.lines[-1]


def test_the_route_asks_once_a_second_and_tells_what_it_heard(load_callbacks: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    callbacks, _ = load_callbacks()
    now = [100.0]
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: now[0])
    state = State()
    route = callbacks.StatusRoute(state, Notes())
    for _ in range(3):
        route(output := Output(), "/apprentice/status", method="GET")
        body = json.loads(output.answer[0])
        assert body["learner"] == {"reachable": True, "problem": "", "state": {"rounds": 1}}
    assert state.asked == 1
    now[0] += 2
    state.error = LearnerError("away")
    route(output, "/apprentice/status", method="GET")
    assert json.loads(output.answer[0])["learner"] == {"reachable": False, "problem": "away", "state": None}
    assert state.asked == 2


def test_a_request_does_not_wait_for_another(load_callbacks: Load) -> None:
    callbacks, _ = load_callbacks()
    route = callbacks.StatusRoute(State(), Notes())
    with route._asking:  # as while another request waits for the learner
        route(output := Output(), "/apprentice/status", method="GET")
    assert json.loads(output.answer[0])["learner"]["problem"] == "not asked yet"


def test_the_route_only_reads(load_callbacks: Load) -> None:
    callbacks, _ = load_callbacks()
    callbacks.StatusRoute(State(), Notes())(output := Output(), "/apprentice/status", method="POST")
    assert (output.answer, output.allowed) == (None, "GET")


def test_the_link_cannot_break_out_of_its_script(load_callbacks: Load) -> None:
    callbacks, _ = load_callbacks()
    script = callbacks.link_script(Options(PageUrl="/page", LinkText="a'b\"; alert(1); //"))
    assert json.dumps("a'b\"; alert(1); //") in script


@pytest.mark.parametrize("section", [{"LearnerUrl": "nonsense"}, {"Typo": 1}, "no object"])
def test_main_logs_what_is_wrong_and_raises_nothing(
    load_callbacks: Load, section: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, fake = load_callbacks(section)
    monkeypatch.setattr(sys, "path", [str(_MAIN.parent), *sys.path])
    runpy.run_path(str(_MAIN))
    assert "PACS Apprentice plugin: not loaded" in fake.lines[-1]
    assert (fake.on_change, fake.routes) == (None, {})
    assert str(_MAIN.parent) not in sys.path
    assert sys.path[-1] == str(_MAIN.parent.parent)


def test_a_token_that_is_no_header_is_not_quoted(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("secret\nsecond line")
    with pytest.raises(LearnerError) as caught:
        Learner(Options(TokenFile=str(token))).state()
    assert "secret" not in str(caught.value)


def test_a_token_file_that_is_missing_is_a_learners_error(tmp_path: Path) -> None:
    with pytest.raises(LearnerError):
        Learner(Options(TokenFile=str(tmp_path / "none"))).nudge([])


def test_a_nudge_can_be_asked_for(load_callbacks: Load) -> None:
    callbacks, _ = load_callbacks()
    route = callbacks.NudgeRoute(notes := Notes())
    route(output := Output(), "/apprentice/nudge", method="GET")
    assert (output.allowed, notes.noted) == ("POST", [])
    route(output, "/apprentice/nudge", method="POST")
    assert (output.answer, notes.noted) == (("{}", "application/json"), [("Asked", "")])


def test_the_status_tells_the_settings_that_matter_and_no_other(load_callbacks: Load) -> None:
    callbacks, _ = load_callbacks()
    configuration = json.dumps({"StableAge": 600, "RegisteredUsers": {"a": "secret"}})
    settings = callbacks.told_settings(configuration, {"TCP_NODELAY": "1"})
    assert settings == {"StableAge": 600, "TcpNoDelay": True}
    callbacks.StatusRoute(State(), Notes(), settings)(output := Output(), "/apprentice/status", method="GET")
    assert json.loads(output.answer[0])["orthanc"] == settings
