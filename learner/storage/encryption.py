"""What operators do about encryption at rest: make a key, see what is encrypted, encrypt a whole data folder anew."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from dicom_io.whole_files import write_whole
from learner.errors import ConfigurationError, CorruptFile, FolderInUse
from learner.storage.disk import on_disk
from learner.storage.sweep import FolderLock, Role
from learner.storage.vault import FOLDERS, Vault, is_sealed

_HALF_WRITTEN = ".part"
_ROLES: tuple[Role, ...] = ("node", "trainer", "backup")


@dataclass
class Amount:
    """How much there is of something.

    Attributes:
        files: how many.
        size: their bytes on disk.
    """

    files: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """One more."""
        self.files += 1
        self.size += size


@dataclass
class FolderState:
    """How the files of a folder lie on disk."""

    clear: Amount = field(default_factory=Amount)
    encrypted: Amount = field(default_factory=Amount)


@dataclass
class Applied:
    """What became of the files of a data folder.

    Attributes:
        rewritten: how many were encrypted anew, or decrypted.
        left: how many were as they should be.
        damaged: paths below the data folder of those that cannot be read; they are as they were.
        recipients: what files may be encrypted to now.
    """

    rewritten: int = 0
    left: int = 0
    damaged: list[str] = field(default_factory=list)
    recipients: tuple[str, ...] = ()


def make_key(path: Path) -> str:
    """Writes a new key as age-keygen does, readable by its owner alone.

    Returns:
        Its recipient, the public half.

    Raises:
        ConfigurationError: the file exists.
        OSError: it cannot be written.
    """
    import pyrage  # noqa: PLC0415 - only where something is encrypted

    key = pyrage.x25519.Identity.generate()
    recipient = str(key.to_public())
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(f"{path} exists, and is left as it is; name another file") from None
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(f"# created: {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}\n# public key: {recipient}\n{key}\n")
        file.flush()
        os.fsync(file.fileno())
    return recipient


def folder_states(data: Path) -> dict[str, FolderState]:
    """How the files of each folder lie on disk; what goes while it is looked at is left out."""
    states = {name: FolderState() for name in FOLDERS}
    for name, state in states.items():
        for path in _files(data / name):
            try:
                with path.open("rb") as file:
                    amount = state.encrypted if is_sealed(file) else state.clear
                    amount.add(os.fstat(file.fileno()).st_size)
            except FileNotFoundError:
                continue
    return states


def apply(
    data: Path,
    key_file: Path | None,
    *,
    in_the_clear: bool = False,
    told: Callable[[int, int], None] = lambda _done, _all: None,
) -> Applied:
    """Encrypts every file to the first key, those in the clear and those of other keys; or decrypts them all.

    Each file is replaced as a whole, so that this may end at any moment, and be done again.

    Args:
        data: the data folder, of which no node makes use.
        key_file: the keys; the first one encrypts.
        in_the_clear: decrypt instead.
        told: called before each file with how many are done, and how many there are.

    Raises:
        ConfigurationError: a key is missing.
        FolderInUse: a node, a trainer or a backup works on the folder.
        StoreUnavailable: the disk is full, read-only or broken.
    """
    if key_file is None and not in_the_clear:
        raise ConfigurationError(
            "node.encryption_key_file is not set; `apprentice encryption make-key FILE` makes a key for it"
        )
    vault, found = Vault(data, key_file), Applied()
    with _alone(data), on_disk(data):
        vault.check()
        shutil.rmtree(data / ".backup", ignore_errors=True)  # a killed backup's links to files in the clear
        files = list(_whole_files(data))
        for done, path in enumerate(files):
            told(done, len(files))
            try:
                is_rewritten = _decrypt(vault, path) if in_the_clear else _encrypt(vault, path)
            except CorruptFile:
                found.damaged.append(path.relative_to(data).as_posix())
                continue
            found.rewritten += is_rewritten
            found.left += not is_rewritten
        if not found.damaged:
            vault.set_recipients([vault.recipient] if files and not in_the_clear else [])
    found.recipients = vault.recipients()
    return found


def _encrypt(vault: Vault, path: Path) -> bool:
    if vault.is_current(path.read_bytes()):
        return False
    vault.write(path, vault.read(path))
    return True


def _decrypt(vault: Vault, path: Path) -> bool:
    with path.open("rb") as file:
        if not is_sealed(file):
            return False
    write_whole(path, vault.read(path))
    return True


def _whole_files(data: Path) -> Iterator[Path]:
    """Files of all folders; what killed processes left half written is removed."""
    for name in FOLDERS:
        for path in _files(data / name):
            if path.suffix == _HALF_WRITTEN:
                path.unlink()
            else:
                yield path


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def _alone(data: Path) -> Iterator[None]:
    with ExitStack() as locks:
        for role in _ROLES:
            try:
                locks.callback(FolderLock(data, role).release)
            except FolderInUse:
                raise FolderInUse(
                    f"{data} is in use by a {role}; stop the node, or wait for the backup, and try again"
                ) from None
        yield
