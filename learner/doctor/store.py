"""Checks of the node's own store: database, lock, checkpoints, jobs. The database is opened for reading alone."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from urllib.parse import quote

import httpx2

from learner.doctor.findings import Findings, error, ok, warning
from learner.doctor.site import Site, json_object
from learner.domain.job import JobState
from learner.errors import ConfigurationError, CorruptFile
from learner.storage.database import SCHEMA_VERSION
from learner.storage.encryption import folder_states
from learner.storage.vault import Vault

_SHOWN = 10
_RESTORE = "Stop the node and restore the data folder from its backup (docs/operations.md)."


def database(site: Site) -> Findings:
    """The database is whole, and of this version."""
    path = site.database
    if not path.exists():
        yield ok(f"{path.parent} holds no store yet; `apprentice serve` makes it")
        return
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=5)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            fault = _damage(connection, quick=site.quick)
    except sqlite3.DatabaseError as damage:
        yield error(f"{path} cannot be used ({damage})", _RESTORE)
        return
    if fault:
        yield error(f"{path} is damaged: {fault}", _RESTORE)
    elif version > SCHEMA_VERSION:
        yield error(f"{path} was written by a newer version (schema {version})", "Install that version again.")
    elif version < SCHEMA_VERSION:
        what = f"{path} is of an older version (schema {version}); the next start moves it to schema {SCHEMA_VERSION}"
        yield error(what, "Back the data folder up, then start `apprentice serve`.")
    else:
        yield ok(f"the database is whole (schema {version})")


def _damage(connection: sqlite3.Connection, *, quick: bool) -> str:
    """The first thing that is wrong, or an empty text."""
    (first, *_) = connection.execute(f"PRAGMA {'quick_check' if quick else 'integrity_check'}(1)").fetchone()
    if first != "ok":
        return " ".join(str(first).split())
    missing = connection.execute("PRAGMA foreign_key_check").fetchone()
    return f"a row of table {missing[0]} refers to one that is not there" if missing else ""


def encryption(site: Site) -> Findings:
    """The keys are there that files are encrypted with; where there is one, no file is in the clear."""
    node = site.settings.node
    vault = Vault(node.data, node.encryption_key_file)
    try:
        vault.check()
    except ConfigurationError as fault:
        yield error(str(fault), "Bring the key back from where it is kept apart (docs/security.md).")
        return
    if node.encryption_key_file is None:
        yield ok("off: files are as the disk keeps them")
        return
    if node.encryption_key_file.resolve().is_relative_to(node.data.resolve()):
        what = f"{node.encryption_key_file} lies in the data folder: who takes the disk has the key, too"
        yield warning(what, "Move it to another disk, and correct node.encryption_key_file.")
    clear = 0 if site.quick else sum(state.clear.files for state in folder_states(node.data).values())
    if clear:
        yield warning(f"{clear} files are in the clear", "Stop the node, and encrypt them: `apprentice encryption apply`.")
    else:
        yield ok(f"files are encrypted to {vault.recipient}")


def lock(site: Site) -> Findings:
    """Who works on the data folder is the node of these settings."""
    path = site.settings.node.data / "lock"
    if not path.exists():
        yield ok("no node works on the data folder yet")
        return
    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC), "rb") as file:  # noqa: PTH123 - of a descriptor
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            is_taken = True
        else:
            is_taken = False
    if not is_taken:
        yield ok("no node works on the data folder now")
    elif _answers(site):
        yield ok("one node works on the data folder")
    else:
        yield error(
            f"another node works on {site.settings.node.data}: none answers at {site.node_url}",
            "Stop that node, or give this one a folder of its own (node.data).",
        )


def _answers(site: Site) -> bool:
    """Whether a node answers where these settings put it."""
    try:
        with site.node() as client:
            return json_object(client.get("/health/live")).get("status") == "live"
    except (httpx2.RequestError, ConfigurationError):
        return False


def checkpoints(site: Site) -> Findings:
    """Files of the networks that serve have their recorded hash."""
    if not site.database.exists():
        return
    with site.store() as store:
        serving = {task.model_id: store.checkpoints.serving(task.model_id) for task in site.tasks}
        for model, checkpoint in serving.items():
            if checkpoint is None:
                continue
            try:
                store.checkpoints.read(checkpoint)
            except (CorruptFile, OSError) as fault:
                yield error(f"{model}: {fault}", f"Restore it from the backup, or `apprentice rollback {model}`.")
            else:
                yield ok(f"{model}: {checkpoint.name} serves")


def jobs(site: Site) -> Findings:
    """No job was given up."""
    if not site.database.exists():
        return
    with site.store() as store:
        parked = store.queries.jobs(JobState.PARKED)
    if not parked:
        yield ok("none was given up")
    for job in parked[:_SHOWN]:
        what = f"{job.kind} job of round {job.round_id} was given up: {job.reason}"
        yield warning(what, f"Remove the cause, then `apprentice retry {job.round_id}`.")
    if len(parked) > _SHOWN:
        yield warning(f"{len(parked)} jobs or more were given up", "See `apprentice rounds`.")
