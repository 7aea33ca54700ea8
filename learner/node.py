"""A running node: intake and responder as threads, the trainer as a child process of lower priority."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection
from dataclasses import dataclass

import structlog

from dicom_io.errors import PacsError
from dicom_io.pacs.scp import StorageScp
from learner.app.acceptance import Acceptance
from learner.app.forgetting import ForgottenStudies, Purge
from learner.app.intake import Intake
from learner.app.precedence import Precedence
from learner.app.respond import Respond
from learner.app.retention import Retention
from learner.app.tasks import TaskBook
from learner.app.worker import Worker
from learner.domain.audit import Event
from learner.domain.case import Case
from learner.domain.pace import give_way, giving_way
from learner.errors import ConfigurationError, StoreUnavailable
from learner.settings import Settings
from learner.storage.disk import free_bytes, shortage, trouble
from learner.storage.store import LocalStore
from learner.trainer_process import TrainerProcess
from learner.version import __version__

_MIB = 2**20
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Housekeeping:
    """What is done between two answers.

    Attributes:
        forgotten: which studies are forgotten.
        purge: removes what is left of them.
        retention: removes what was kept long enough.
    """

    forgotten: ForgottenStudies
    purge: Purge
    retention: Retention

    def run_once(self) -> None:
        """Does what is due. Forgetting waits for no answer, and does not keep one waiting."""
        self.purge.run_once()
        self.retention.run_once()


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """How the node's parts are.

    Attributes:
        archive_error: why the archive cannot be read, empty while it can.
        store_error: why the node's own store cannot be used, with what is free and the remedy; empty while it can.
        learning_waits: why nothing is learned for want of space, with the remedy; empty while there is enough.
        disk_free_mb: MiB free on the disk of the data folder.
        gave_way_s: for how long answers have waited for the archive since the start, in seconds.
        trainer_alive: whether the trainer runs.
        trainer_restarts: how often it had to be started again.
        last_intake_at: POSIX time at which the archive's log was last read to its end, or None.
        last_nudge_at: POSIX time at which somebody last said that something arrived, or None.
    """

    archive_error: str
    trainer_alive: bool
    trainer_restarts: int
    last_intake_at: float | None
    last_nudge_at: float | None = None
    store_error: str = ""
    learning_waits: str = ""
    disk_free_mb: int = 0
    gave_way_s: float = 0.0


class Node:
    """Everything that runs, and how it starts and stops.

    Attributes:
        settings: of the node.
        store: what it remembers.
        tasks: what it segments.
        housekeeping: what is done between two answers; None where nothing is.
    """

    def __init__(
        self,
        settings: Settings,
        store: LocalStore,
        tasks: TaskBook,
        intake: Intake,
        respond: Respond,
        trainer: TrainerProcess,
        scp: StorageScp | None = None,
        acceptance: Acceptance | None = None,
        housekeeping: Housekeeping | None = None,
        precedence: Precedence | None = None,
    ) -> None:
        self.settings = settings
        self.store = store
        self.tasks = tasks
        self._intake = intake
        self._trainer = trainer
        self._scp = scp
        self._acceptance = acceptance
        self._respond = respond
        self.housekeeping = housekeeping
        self._precedence = precedence
        self._last_intake_at: float | None = None
        self._last_nudge_at: float | None = None
        self._reconcile_at = 0.0
        self._deleted: set[str] = set()
        self._lock = threading.Lock()
        self._intake_worker = Worker("intake", self._take_in, settings.pacs.poll_s, expected=(PacsError, StoreUnavailable))
        self._respond_worker = Worker("respond", self._answer, 1.0, expected=(StoreUnavailable,))

    def start(self) -> None:
        """Starts our own DICOM service, trainer, responder and intake.

        Raises:
            ConfigurationError: the address of the DICOM service cannot be had.
        """
        if self._scp is not None:
            self._listen(self._scp)
        self._trainer.start()
        self._respond_worker.start()
        self._intake_worker.start()
        self.store.audit.record(Event.STARTED, software=__version__, settings=self.settings.in_force())
        _log.info("node started", tasks=[task.task_id for task in self.tasks])

    def stop(self) -> None:
        """Stops after the work in hand."""
        if self._scp is not None:
            self._scp.stop()
        self._intake_worker.stop()
        self._respond_worker.stop()
        self._trainer.stop()
        _log.info("node stopped")

    def nudge(self, deleted: Collection[str] = ()) -> None:
        """Something arrived, or was deleted: look now.

        Args:
            deleted: the archive's identifiers of what was deleted.
        """
        with self._lock:
            self._deleted.update(deleted)
        self._last_nudge_at = time.time()
        self._intake_worker.wake()

    def _listen(self, scp: StorageScp) -> None:
        try:
            scp.start(self.nudge)
        except OSError as error:
            where = f"{self.settings.scp.host}:{self.settings.scp.port}"
            raise ConfigurationError(f"{where} cannot be had ({error.strerror}); free it, or set scp.port") from None

    def accept(self, case: Case, round_id: int, slices: Collection[int] | None, reader: str) -> str:
        """A reader accepts an answer; see :meth:`learner.app.acceptance.Acceptance.accept`, which says what is raised."""
        assert self._acceptance is not None, "the node was made without what writes acceptances"
        uid = self._acceptance.accept(case, round_id, slices, reader)
        self.nudge()
        return uid

    def _answer(self) -> bool:
        if self.housekeeping is not None:
            self.housekeeping.run_once()
        with giving_way(self._give_way):
            give_way()
            return self._respond.run_once()

    def _give_way(self) -> None:
        if self._precedence is not None:
            worker = self._respond_worker
            self._precedence.give_way(lambda: worker.stopping, worker.wait)

    def answer_now(self) -> None:
        """A job became ready."""
        self._respond_worker.wake()

    def reconcile_soon(self) -> None:
        """The next look at the archive is a full scan."""
        with self._lock:
            self._reconcile_at = 0.0
        self._intake_worker.wake()

    @property
    def trainer_pid(self) -> int | None:
        """Process number of the trainer, or None before it started."""
        return self._trainer.pid

    def status(self) -> NodeStatus:
        """How the parts are."""
        folder = self.settings.node.data
        failed = [w for w in (self._intake_worker, self._respond_worker) if isinstance(w.failure, StoreUnavailable)]
        return NodeStatus(
            archive_error="" if self._intake_worker in failed else self._intake_worker.last_error,
            trainer_alive=self._trainer.alive,
            trainer_restarts=self._trainer.restarts,
            last_intake_at=self._last_intake_at,
            last_nudge_at=self._last_nudge_at,
            store_error=failed[0].last_error if failed else trouble(folder),
            learning_waits=shortage(folder, self.settings.node.min_free_mb),
            disk_free_mb=free_bytes(folder) // _MIB,
            gave_way_s=self._precedence.waited_s if self._precedence is not None else 0.0,
        )

    def _take_in(self) -> bool:
        """One look at the archive; a full scan when it is due, and after every time that the archive was away."""
        if self._intake_worker.last_error:
            self._reconcile_at = 0.0
        with self._lock:
            deleted, self._deleted = self._deleted, set()
        taken = self._intake.catch_up()
        if self._precedence is not None and self._precedence.holds:
            self._trainer.hold()
        taken += self._intake.look_for_deleted(deleted) if deleted else 0
        if time.monotonic() >= self._reconcile_at or self._intake.wants_scan:
            taken += self._intake.reconcile()
            self._reconcile_at = time.monotonic() + self.settings.pacs.reconcile_s
        self._last_intake_at = time.time()
        if taken:
            self._respond_worker.wake()
        return False
