"""Files of the data folder, encrypted at rest in the age format (C2SP age.md, https://age-encryption.org/v1).

Each file is a whole age file of its own, so that the stock program `age` opens it, and a backup's copy of it.
"""

from __future__ import annotations

import fcntl
import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from dicom_io.whole_files import Opened, WholeFiles, write_whole
from learner.errors import ConfigurationError, CorruptFile
from learner.storage.disk import on_disk

MAGIC = b"age-encryption.org/v1\n"
"""First line of every age file. None of the node's own formats begins so: ZIP, DICOM with an empty preamble."""
RECIPIENTS = "encryption-recipients"
"""Name of the file of recipients, public halves of keys, that files of the data folder may be encrypted to."""
FOLDERS = ("outbox", "examples", "checkpoints", "replay", "rounds", "inbox/files")
"""Folders of the data folder whose files hold voxels, drawings, answers or weights."""
_SETTING = "node.encryption_key_file"
_REMEDY = "`apprentice encryption make-key` makes such a file"


class Vault(WholeFiles):
    """Writes files encrypted where there is a key file, and reads both these and files that are not.

    Keys are read from their file when the first one is needed, and again where one seems to be missing.

    Args:
        folder: the data folder.
        key_file: one or more keys as age-keygen writes them: the first one encrypts, all decrypt. None for none.
    """

    def __init__(self, folder: Path, key_file: Path | None = None) -> None:
        self._folder = folder
        self._key_file = key_file
        self._keys: tuple[Any, ...] | None = None
        self._recorded = ""

    def write(self, path: Path, content: bytes) -> None:
        """Writes a file, encrypted to the first key.

        Raises:
            ConfigurationError: the key cannot be read.
            OSError: it cannot be written; what was there before stays.
            ValueError: the content is that of an encrypted file already.
        """
        if content.startswith(MAGIC):
            raise ValueError(f"it begins with the line {MAGIC.decode().strip()}, as files that the node encrypted do")
        write_whole(path, self._sealed(content) if self._key_file is not None else content)

    def read(self, path: Path) -> bytes:
        """What a file holds, in the clear.

        Raises:
            ConfigurationError: its key is missing.
            CorruptFile: it is encrypted, and damaged.
            OSError: it cannot be read.
        """
        content = path.read_bytes()
        return self._opened(path, content) if content.startswith(MAGIC) else content

    def open(self, path: Path) -> Opened:
        """What a file holds, in the clear: the file itself, or an ``io.BytesIO`` if it is encrypted; raises as ``read``."""
        file = path.open("rb")
        if not is_sealed(file):
            return file
        with file:
            return io.BytesIO(self._opened(path, file.read()))

    def check(self) -> None:
        """Reads the keys anew, and compares them with the recipients that files may be encrypted to.

        To be called before anything is judged damaged, or removed: what a missing key opens is neither.

        Raises:
            ConfigurationError: a key is missing, or the file of keys is not sound.
        """
        keys = load_keys(self._key_file)
        missing = [one for one in self.recipients() if one not in {str(key.to_public()) for key in keys}]
        if missing and self._key_file is None:
            raise ConfigurationError(
                f"{self._folder} holds files that are encrypted to {missing[0]}: set {_SETTING} to the file of its key"
            )
        if missing:
            raise ConfigurationError(
                f"{_SETTING}: {self._key_file} lacks the key of {missing[0]}, which files in {self._folder} are encrypted to; "
                "add that key as a further line"
            )
        self._keys = keys

    def recipients(self) -> tuple[str, ...]:
        """Recipients that files may be encrypted to, in the order in which they were first used."""
        try:
            with on_disk(self._folder):
                return tuple((self._folder / RECIPIENTS).read_text(encoding="ascii").split())
        except FileNotFoundError:
            return ()

    def set_recipients(self, recipients: Sequence[str]) -> None:
        """Records that files are encrypted to these recipients, and to no others."""
        with on_disk(self._folder), _held(self._folder):
            self._recorded = ""
            if recipients:
                self._write_recipients(recipients)
            else:
                (self._folder / RECIPIENTS).unlink(missing_ok=True)

    @property
    def recipient(self) -> str:
        """The first key's, to which files are encrypted; empty where they are not.

        Raises:
            ConfigurationError: the key cannot be read.
        """
        return str(self._loaded()[0].to_public()) if self._key_file is not None else ""

    def is_current(self, content: bytes) -> bool:
        """Whether this is the content of a file that is encrypted to the first key, and whole."""
        return content.startswith(MAGIC) and _decrypted(content, self._loaded()[:1]) is not None

    def _sealed(self, content: bytes) -> bytes:
        import pyrage  # noqa: PLC0415 - only where something is encrypted

        key = self._loaded()[0].to_public()
        self._record(str(key))
        return bytes(pyrage.encrypt(content, [key]))

    def _opened(self, path: Path, content: bytes) -> bytes:
        if self._key_file is None:
            raise ConfigurationError(f"{path.name} is encrypted: set {_SETTING} to the file of its key")
        clear = _decrypted(content, self._loaded())
        if clear is None:
            self.check()  # a missing key is no damage
            clear = _decrypted(content, self._loaded())
        if clear is not None:
            return clear
        if not self.recipients():
            raise ConfigurationError(
                f"{path.name} cannot be decrypted, and {RECIPIENTS}, which tells by which key, is missing from {self._folder}: "
                f"restore that file from a backup, and look whether {self._key_file} holds the right key"
            )
        raise CorruptFile(f"{path.name} is encrypted, and damaged; restore the data folder from its backup")

    def _loaded(self) -> tuple[Any, ...]:
        if self._keys is None:
            self._keys = load_keys(self._key_file)
        return self._keys

    def _record(self, recipient: str) -> None:
        """Makes sure that the recipient is recorded before its first file is there."""
        if self._recorded == recipient:
            return
        with _held(self._folder):
            known = self.recipients()
            if recipient not in known:
                self._write_recipients((*known, recipient))
        self._recorded = recipient

    def _write_recipients(self, recipients: Sequence[str]) -> None:
        path = self._folder / RECIPIENTS
        write_whole(path, "".join(f"{one}\n" for one in recipients).encode())
        path.chmod(0o600)


def load_keys(path: Path | None) -> tuple[Any, ...]:
    """Identities of a file as age-keygen writes it, in its order; none without a file.

    Raises:
        ConfigurationError: it cannot be read, holds no key, or a line is none; names the line, and never what it says.
    """
    if path is None:
        return ()
    import pyrage  # noqa: PLC0415 - only where something is encrypted

    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        what = f"{_SETTING}: {path} cannot be read ({error.strerror})"
        raise ConfigurationError(
            f"{what}; check the path and its rights, or bring the file back from where it is kept"
        ) from None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{_SETTING}: {path} is no file of keys; {_REMEDY}") from None
    keys = []
    for number, line in enumerate(map(str.strip, lines), 1):
        if not line or line.startswith("#"):
            continue
        try:
            keys.append(pyrage.x25519.Identity.from_str(line))
        except pyrage.IdentityError:
            raise ConfigurationError(
                f"{_SETTING}: line {number} of {path} is no key (AGE-SECRET-KEY-1...); {_REMEDY}"
            ) from None
    if not keys:
        raise ConfigurationError(f"{_SETTING}: {path} holds no key; {_REMEDY}")
    return tuple(keys)


def is_sealed(file: BinaryIO) -> bool:
    """Whether a file that was just opened is encrypted; it is at its beginning again then."""
    begin = file.read(len(MAGIC))
    file.seek(0)
    return begin == MAGIC


def _decrypted(content: bytes, keys: Sequence[Any]) -> bytes | None:
    """What an age file holds; None if none of these keys opens it, or it is damaged."""
    import pyrage  # noqa: PLC0415 - only where something is encrypted

    try:
        return bytes(pyrage.decrypt(content, list(keys)))
    except pyrage.DecryptError:
        return None


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Around what changes the file of recipients: one thread, of one process, at a time."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
