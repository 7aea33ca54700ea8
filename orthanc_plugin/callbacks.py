"""What Orthanc calls; the only user of its injected ``orthanc`` module, of which it needs nothing newer than plugin 4.0.

Concurrency: Orthanc dispatches changes in one thread, so the change callback only enqueues; REST callbacks come in many threads
at once. Nothing here asks Orthanc anything after the start: the interpreter's lock is held meanwhile, and a call back into the
same Orthanc can freeze it.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import orthanc

from orthanc_plugin import VERSION
from orthanc_plugin.learner import Learner, LearnerError
from orthanc_plugin.notifier import Notifier
from orthanc_plugin.options import Options, read_options

STATUS_ROUTE = "/apprentice/status"
NUDGE_ROUTE = "/apprentice/nudge"
TOLD_SETTINGS = (
    "StableAge",
    "HttpCompressionEnabled",
    "UnknownSopClassAccepted",
    "OverwriteInstances",
    "AuthenticationEnabled",
    "ExecuteLuaEnabled",
)
"""Settings of Orthanc that the node's work depends on. Nothing else of its configuration is told."""
_FRESH_S = 1.0
_GATHER_S, _GATHERED_S = 0.1, 0.005
_KINDS = {
    orthanc.ChangeType.NEW_INSTANCE: "NewInstance",
    orthanc.ChangeType.NEW_SERIES: "NewSeries",
    orthanc.ChangeType.STABLE_SERIES: "StableSeries",
    orthanc.ChangeType.DELETED: "Deleted",
    orthanc.ChangeType.ORTHANC_STARTED: "OrthancStarted",
}
_LINK_SCRIPT = """
(function () {
  'use strict';
  var link = document.createElement('a');
  link.href = %(url)s;
  link.textContent = %(text)s;
  link.target = '_blank';
  link.rel = 'noopener';
  link.id = 'apprentice-link';
  link.style.cssText = 'position:fixed;right:1em;bottom:1em;z-index:2000;padding:.5em 1em;border-radius:1em;' +
    'background:#1d4f7c;color:#fff;font:14px sans-serif;text-decoration:none;text-shadow:none';
  function show() { document.body.appendChild(link); }
  if (document.body) { show(); } else { document.addEventListener('DOMContentLoaded', show); }
}());
"""


def register() -> None:
    """Reads the options and registers all callbacks with Orthanc. What it raises is for ``main.py`` to log."""
    configuration = orthanc.GetConfiguration()
    options = read_options(configuration, os.environ)
    learner = Learner(options)
    notifier = Notifier(learner.nudge, capacity=options.QueueSize, log=_log)
    orthanc.RegisterRestCallback(STATUS_ROUTE, StatusRoute(learner, notifier, told_settings(configuration, os.environ)))
    orthanc.RegisterRestCallback(NUDGE_ROUTE, NudgeRoute(notifier))
    orthanc.RegisterOnChangeCallback(ChangeCallback(notifier))
    if options.PageUrl:
        orthanc.ExtendOrthancExplorer(link_script(options))
    notifier.start()
    _log(f"version {VERSION} is loaded")


class ChangeCallback:
    """Orthanc's one change callback: enqueues, and lets no exception out.

    While instances pour in, it keeps the thread that calls it for a moment, so that changes gather: the Python plugin has a
    queue and a thread for them, and to wake that thread for each instance costs more than all that is done here. Orthanc's own
    threads do not wait for it.
    """

    def __init__(
        self, notifier: Notifier, clock: Callable[[], float] = time.monotonic, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._notifier = notifier
        self._clock = clock
        self._sleep = sleep
        self._gathered_at = 0.0

    def __call__(self, change: int, _level: int, resource: str) -> None:
        """Takes one change; called by Orthanc's dispatcher."""
        try:
            kind = _KINDS.get(change)
            if kind is not None:
                # One word is enough for all the instances that arrive meanwhile.
                is_first = self._notifier.note(kind, "" if kind == "NewInstance" else resource or "")
                if kind == "NewInstance" and not is_first:
                    self._gather()
            elif change == orthanc.ChangeType.ORTHANC_STOPPED:
                self._notifier.stop()
        except Exception as error:
            _log(f"a change was not taken: {type(error).__name__}")

    def _gather(self) -> None:
        """Waits, unless what comes now is what has gathered."""
        if self._clock() - self._gathered_at > _GATHERED_S:
            self._sleep(_GATHER_S)
            self._gathered_at = self._clock()


class StatusRoute:
    """``GET /apprentice/status``: the learner's state and the plugin's counters, as JSON, always with status 200.

    One request at a time asks the learner; the others, and those within a second, get what it said last.
    """

    def __init__(self, learner: Learner, notifier: Notifier, settings: Mapping[str, object] | None = None) -> None:
        self._learner = learner
        self._notifier = notifier
        self._settings = dict(settings or {})
        self._asking = threading.Lock()
        self._asked_at = 0.0
        self._last: dict[str, Any] = {"reachable": False, "problem": "not asked yet", "state": None}

    def __call__(self, output: Any, _uri: str, **request: Any) -> None:
        """Answers one request; called by one of Orthanc's HTTP threads."""
        if request.get("method") != "GET":
            output.SendMethodNotAllowed("GET")
            return
        if self._asking.acquire(blocking=False):
            try:
                if self._asked_at == 0.0 or time.monotonic() - self._asked_at > _FRESH_S:
                    self._last = self._ask()
                    self._asked_at = time.monotonic()
            finally:
                self._asking.release()
        plugin = {"version": VERSION, **self._notifier.counters()}
        answer = {"learner": self._last, "plugin": plugin, "orthanc": self._settings}
        output.AnswerBuffer(json.dumps(answer, indent=2), "application/json")

    def _ask(self) -> dict[str, Any]:
        try:
            return {"reachable": True, "problem": "", "state": self._learner.state()}
        except LearnerError as error:
            return {"reachable": False, "problem": str(error), "state": None}


class NudgeRoute:
    """``POST /apprentice/nudge``: tells the learner to look now, as a change would; the counters show whether it was told."""

    def __init__(self, notifier: Notifier) -> None:
        self._notifier = notifier

    def __call__(self, output: Any, _uri: str, **request: Any) -> None:
        """Answers one request; called by one of Orthanc's HTTP threads."""
        if request.get("method") != "POST":
            output.SendMethodNotAllowed("POST")
            return
        self._notifier.note("Asked", "")
        output.AnswerBuffer("{}", "application/json")


def told_settings(configuration: str, environment: Mapping[str, str]) -> dict[str, object]:
    """What of Orthanc's settings the status tells, those that were left out excepted; and whether Nagle's algorithm is off.

    Args:
        configuration: Orthanc's configuration as JSON.
        environment: environment variables.
    """
    content = json.loads(configuration)
    told = {name: content[name] for name in TOLD_SETTINGS if name in content}
    return told | {"TcpNoDelay": environment.get("TCP_NODELAY") == "1"}


def link_script(options: Options) -> str:
    """JavaScript that puts a link to the learner's page into Orthanc Explorer."""
    return _LINK_SCRIPT % {"url": json.dumps(options.PageUrl), "text": json.dumps(options.LinkText)}


def _log(line: str) -> None:
    orthanc.LogWarning(f"PACS Apprentice plugin: {line}")
