"""The learner's store: one SQLite file and one folder."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from learner.domain.job import JobKind
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
from learner.storage.sweep import FolderLock, sweep_answers, sweep_training
from learner.storage.vault import Vault


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        """POSIX time in seconds."""
        return time.time()


class LocalStore:
    """:class:`learner.ports.Store` in one folder.

    Layout: ``apprentice.sqlite``, ``rounds/``, ``outbox/``, ``examples/``, ``checkpoints/<model>/``, ``replay/<model>/``.

    Args:
        folder: the data folder; made if absent.
        keep_checkpoints: how many of the newest versions of a model stay.
        clock: time; the machine's if None.
        key_file: keys that files are encrypted with; None for files as they are. See :class:`learner.storage.vault.Vault`.

    Raises:
        StoreError: if the folder cannot be used.
    """

    def __init__(
        self, folder: Path, *, keep_checkpoints: int = 5, clock: Clock | None = None, key_file: Path | None = None
    ) -> None:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # it is patient data
        except OSError as error:
            raise StoreError(f"{folder} cannot be made ({error.strerror}); check the path and its rights") from error
        clock = clock or SystemClock()
        self.folder = folder
        self.vault = Vault(folder, key_file)
        self._database = Database(folder / "apprentice.sqlite")
        self.records = SqliteRecords(self._database, clock)
        self.jobs = SqliteJobs(self._database, clock)
        self.checkpoints = LocalCheckpoints(self._database, folder, keep_checkpoints, clock, self.vault)
        self.lessons = SqliteLessons(self._database)
        self.files = LocalCaseFiles(folder, self.vault)
        self.queries = Queries(self._database)
        digest = KeyedHash(folder)
        self.audit = SqliteAudit(self._database, clock)
        self.accounts = SqliteAccounts(self._database, clock, digest, self.audit)
        self.sessions = SqliteSessions(self._database, clock, digest)
        self.authors = SqliteAuthors(self._database, clock)
        self.forgotten = SqliteForgotten(self._database, clock)
        self.overview = Overview(self._database)
        take_over_history(self._database, self.audit)
        self._locks: list[FolderLock] = []

    def take(self) -> int:
        """Takes the folder for this node alone, and removes what a killed one left behind; its respond jobs are ready again.

        Returns:
            Number of files removed.

        Raises:
            FolderInUse: if another node has it.
            ConfigurationError: if a key is missing that files are encrypted with; nothing is removed.
        """
        self._locks.append(FolderLock(self.folder))
        self.vault.check()
        with suppress(StoreError):  # what a killed process had blanked out goes from the log now, or with the next purge
            self._database.empty_log()
        self.jobs.release_all(JobKind.RESPOND)
        return sweep_answers(self._database, self.folder)

    def take_training(self) -> int:
        """Takes training for this process alone, and removes what a killed trainer left behind; its jobs are ready again.

        So are files of versions that are more than ``keep_checkpoints`` allows now.

        Returns:
            Number of files removed.

        Raises:
            FolderInUse: if another trainer has it, such as that of a node that was killed a moment ago.
            ConfigurationError: if a key is missing that files are encrypted with; nothing is removed.
        """
        self._locks.append(FolderLock(self.folder, "trainer"))
        self.vault.check()
        for kind in JobKind:
            if kind is not JobKind.RESPOND:
                self.jobs.release_all(kind)
        removed = sweep_training(self._database, self.folder)
        self.checkpoints.prune_all()
        return removed

    def remove_leftovers(self) -> int:
        """See :meth:`learner.ports.Store.remove_leftovers`."""
        return sweep_answers(self._database, self.folder)

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
        while self._locks:
            self._locks.pop().release()
        self._database.close()
