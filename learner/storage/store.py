"""The learner's store: one SQLite file and one folder."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from learner.errors import StoreError
from learner.ports import Clock
from learner.storage.accounts import KeyedHash, SqliteAccounts
from learner.storage.audit import SqliteAudit
from learner.storage.audit_history import take_over_history
from learner.storage.authors import SqliteAuthors
from learner.storage.checkpoints import LocalCheckpoints
from learner.storage.database import Database
from learner.storage.files import LocalCaseFiles
from learner.storage.forgotten import SqliteForgotten
from learner.storage.jobs import SqliteJobs
from learner.storage.lessons import SqliteLessons
from learner.storage.overview import Overview
from learner.storage.queries import Queries
from learner.storage.records import SqliteRecords
from learner.storage.sessions import SqliteSessions
from learner.storage.sweep import OF_ANSWERS, FolderLock, sweep


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """POSIX time in seconds."""
        return time.time()


class LocalStore:
    """:class:`learner.ports.Store` in one folder.

    Layout: ``apprentice.sqlite``, ``rounds/``, ``outbox/``, ``examples/``, ``checkpoints/<model>/``, ``replay/<model>/``.

    Raises:
        StoreError: if the folder cannot be used.
    """

    def __init__(self, folder: Path, *, keep_checkpoints: int = 5, clock: Clock | None = None) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it is patient data
        except OSError as error:
            raise StoreError(f"{folder} cannot be made ({error.strerror}); check the path and its rights") from error
        clock = clock or SystemClock()
        self.folder = folder
        self._database = Database(folder / "apprentice.sqlite")
        self.records = SqliteRecords(self._database, clock)
        self.jobs = SqliteJobs(self._database, clock)
        self.checkpoints = LocalCheckpoints(self._database, folder, keep_checkpoints, clock)
        self.lessons = SqliteLessons(self._database)
        self.files = LocalCaseFiles(folder)
        self.queries = Queries(self._database)
        digest = KeyedHash(folder)
        self.audit = SqliteAudit(self._database, clock)
        self.accounts = SqliteAccounts(self._database, clock, digest, self.audit)
        self.sessions = SqliteSessions(self._database, clock, digest)
        self.authors = SqliteAuthors(self._database, clock)
        self.forgotten = SqliteForgotten(self._database, clock)
        self.overview = Overview(self._database)
        take_over_history(self._database, self.audit)
        self._lock: FolderLock | None = None

    def take(self) -> int:
        """Takes the folder for this process alone, and removes what a killed one left behind; its jobs are ready again.

        So are files of versions that are more than ``keep_checkpoints`` allows now.

        Returns:
            Number of files removed.

        Raises:
            StoreError: if another process has it.
        """
        self._lock = FolderLock(self.folder)
        with suppress(StoreError):  # what a killed process had blanked out goes from the log now, or with the next purge
            self._database.empty_log()
        self.jobs.release_all()
        self.checkpoints.prune_all()
        return sweep(self._database, self.folder)

    def remove_leftovers(self) -> int:
        """See :meth:`learner.ports.Store.remove_leftovers`."""
        return sweep(self._database, self.folder, OF_ANSWERS)

    def scrub(self) -> None:
        """See :meth:`learner.ports.Store.scrub`."""
        self._database.scrub()

    def empty_log(self) -> None:
        """See :meth:`learner.ports.Store.empty_log`."""
        self._database.empty_log()

    def transaction(self) -> AbstractContextManager[None]:
        """See :meth:`learner.ports.Store.transaction`."""
        return self._database.transaction()

    def close(self) -> None:
        """Closes this thread's connection and gives the folder free."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        self._database.close()
