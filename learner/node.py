"""A running node: intake and responder as threads, the trainer as a child process of lower priority."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

import structlog

from dicom_io.errors import PacsError
from learner.app.intake import Intake
from learner.app.respond import Respond
from learner.app.tasks import TaskBook
from learner.app.worker import Worker
from learner.settings import Settings
from learner.storage.store import LocalStore
from learner.trainer_process import TrainerProcess

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How the node's parts are.

    Attributes:
        archive_error: why the archive cannot be read, empty while it can.
        trainer_alive: whether the trainer runs.
        trainer_restarts: how often it had to be started again.
        last_intake_at: POSIX time at which the archive's log was last read to its end, or None.
    """

    archive_error: str
    trainer_alive: bool
    trainer_restarts: int
    last_intake_at: float | None


class Node:
    """Everything that runs, and how it starts and stops.

    Attributes:
        settings: of the node.
        store: what it remembers.
        tasks: what it segments.
    """

    def __init__(
        self, settings: Settings, store: LocalStore, tasks: TaskBook, intake: Intake, respond: Respond, trainer: TrainerProcess
    ) -> None:
        self.settings = settings
        self.store = store
        self.tasks = tasks
        self._intake = intake
        self._trainer = trainer
        self._last_intake_at: float | None = None
        self._reconcile_at = 0.0
        self._reconcile_lock = threading.Lock()
        self._intake_worker = Worker("intake", self._take_in, settings.pacs.poll_s, expected=(PacsError,))
        self._respond_worker = Worker("respond", respond.run_once, 1.0)

    def start(self) -> None:
        """Starts trainer, responder and intake."""
        self._trainer.start()
        self._respond_worker.start()
        self._intake_worker.start()
        _log.info("node started", tasks=[task.task_id for task in self.tasks])

    def stop(self) -> None:
        """Stops after the work in hand."""
        self._intake_worker.stop()
        self._respond_worker.stop()
        self._trainer.stop()
        _log.info("node stopped")

    def nudge(self) -> None:
        """Something arrived: look now."""
        self._intake_worker.wake()

    def answer_now(self) -> None:
        """A job became ready."""
        self._respond_worker.wake()

    def reconcile_soon(self) -> None:
        """The next look at the archive is a full scan."""
        with self._reconcile_lock:
            self._reconcile_at = 0.0
        self._intake_worker.wake()

    def status(self) -> NodeStatus:
        """How the parts are."""
        return NodeStatus(self._intake_worker.last_error, self._trainer.alive, self._trainer.restarts, self._last_intake_at)

    def _take_in(self) -> bool:
        """One look at the archive; a full scan when it is due, and after every time that the archive was away."""
        if self._intake_worker.last_error:
            self._reconcile_at = 0.0
        taken = self._intake.catch_up()
        if time.monotonic() >= self._reconcile_at:
            taken += self._intake.reconcile()
            self._reconcile_at = time.monotonic() + self.settings.pacs.reconcile_s
        self._last_intake_at = time.time()
        if taken:
            self._respond_worker.wake()
        return False
