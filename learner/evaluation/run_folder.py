"""The folder of a run: results as they come, and the state from which a run that was broken off goes on.

``settings.json`` what is run; ``cases.jsonl`` and ``tests.jsonl`` one record a line; ``position.json`` how many units are done
and which state belongs to them; ``state-N.bin`` the trainer's state; ``experience-N.npz`` what left-out slices showed;
``replay/`` the trainer's memory; ``finished.json`` only in the end.

The position is written last, by renaming: records beyond it belong to a unit that was not finished, and are dropped.
"""

from __future__ import annotations

import fcntl
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dicom_io.whole_files import write_whole
from learner.errors import StoreError

Record = dict[str, Any]


class RunFolder:
    """One run's files.

    Args:
        path: the folder; made if absent.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.replay = path / "replay"
        self._records = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{path} cannot be made ({error.strerror}); name another folder for runs") from error

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keeps other processes from computing the same run; waits for one that does."""
        with self.path.with_suffix(".lock").open("w", encoding="ascii") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @property
    def is_finished(self) -> bool:
        """Whether there is nothing left to compute."""
        return (self.path / "finished.json").is_file()

    def describe(self, settings: Mapping[str, object]) -> None:
        """Writes what is run."""
        self._write("settings.json", json.dumps(settings, indent=1, sort_keys=True))

    def position(self) -> tuple[int, bytes | None, bytes | None]:
        """How many units are done, and trainer's state and experience after them; drops what was written since.

        Raises:
            StoreError: if the state is missing.
        """
        file = self.path / "position.json"
        done, cases = 0, 0
        if file.is_file():
            position = json.loads(file.read_text(encoding="utf-8"))
            done, cases = int(position["done"]), int(position["records"])
        self._cut("cases.jsonl", cases)
        self._cut("tests.jsonl", None)
        self._records = cases
        state = self.path / f"state-{done}.bin"
        if done and not state.is_file():
            raise StoreError(f"{state} is missing; delete the folder to begin again")
        if not done:
            return 0, None, None
        return done, state.read_bytes(), (self.path / f"experience-{done}.npz").read_bytes()

    def commit(self, done: int, record: Record, state: bytes, experience: bytes) -> None:
        """Keeps the record of a unit, and state and experience after it, as one."""
        self._append("cases.jsonl", record)
        write_whole(self.path / f"state-{done}.bin", state)
        write_whole(self.path / f"experience-{done}.npz", experience)
        self._write("position.json", json.dumps({"done": done, "records": self._records + 1}))
        self._records += 1
        for old in self._states():
            if old.stem.rpartition("-")[2] != str(done):
                old.unlink()

    def add_test(self, record: Record) -> None:
        """Keeps the record of a test case."""
        self._append("tests.jsonl", record)

    def cases(self) -> list[Record]:
        """Records of the stream so far."""
        return self._lines("cases.jsonl")

    def tests(self) -> list[Record]:
        """Records of tests so far."""
        return self._lines("tests.jsonl")

    def finish(self, facts: Mapping[str, object]) -> None:
        """Marks the run as finished and removes what only a run under way needs."""
        self._write("finished.json", json.dumps(facts, indent=1, sort_keys=True))
        shutil.rmtree(self.replay, ignore_errors=True)
        for state in self._states():
            state.unlink()

    def clear(self) -> None:
        """Begins again."""
        shutil.rmtree(self.path)
        self.path.mkdir(parents=True)

    def _states(self) -> list[Path]:
        return [*self.path.glob("state-*.bin"), *self.path.glob("experience-*.npz")]

    def _lines(self, name: str) -> list[Record]:
        """Whole records of a file; a last one that was broken off is left out."""
        file = self.path / name
        if not file.is_file():
            return []
        text = file.read_text(encoding="utf-8")
        return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]

    def _cut(self, name: str, count: int | None) -> None:
        """Keeps the first ``count`` whole records, or all whole ones."""
        records = self._lines(name)
        if (self.path / name).is_file():
            self._write(name, "".join(json.dumps(record) + "\n" for record in records[:count]))

    def _append(self, name: str, record: Record) -> None:
        with (self.path / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text.encode())
