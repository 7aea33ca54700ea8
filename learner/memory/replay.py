"""The replay memory: which past cases stay, and which are drawn.

What stays is a weighted reservoir (Efraimidis and Spirakis, "Weighted random sampling with a reservoir", 2006): each case
has the rank u^(1/purity) with u uniform in (0, 1). When the memory is full, a case of the largest group goes: of the quarter
with the lowest ranks the one that is most like another. Where cases are alike, equal purities give each case of the stream the
same chance to be kept. u is a hash of the case's key and the memory's seed, so further rounds of a case do not buy it further
chances, and a killed and repeated job decides the same.

What is drawn is balanced over groups (tasks), within these over sites, within these over readers, then weighted by purity
(mean confidence of the proxy: noisy buffers amplify forgetting) and difficulty (running loss).

The index is plain data that belongs to the trainer's checkpoint; the files are immutable and named by the hash of their
content, so a memory on disk may hold more than any one index names, and never less.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import structlog

from dicom_io.whole_files import PLAIN, WholeFiles
from learner.domain.example import Example
from learner.errors import StoreError, StoreUnavailable
from learner.memory.diversity import descriptor, redundancy
from learner.memory.files import ExampleFiles, StoredExample
from learner.ports import Remembered

_log = structlog.get_logger(__name__)
_LOSS_MEMORY = 0.7

Index = list[dict[str, Any]]
"""The index as plain data: one dictionary an entry."""


@dataclass(frozen=True, slots=True)
class ReplayEntry:
    """One remembered case.

    Attributes:
        key: keyed hash of its series.
        group: task that it belongs to.
        file: name of its file, the hash of the content.
        size: bytes of its file, in the clear.
        purity: mean confidence of its proxy near the object, in (0, 1].
        loss: running training loss, or -1 before it was drawn.
        rank: its place in the reservoir; the lowest goes first.
        site: keyed hash of where it comes from, or empty.
        reader: keyed hash of who drew, or empty.
        descriptor: what kind of case it is; see :func:`learner.memory.diversity.descriptor`.
    """

    key: str
    group: str
    file: str
    size: int
    purity: float
    loss: float
    rank: float
    site: str = ""
    reader: str = ""
    descriptor: tuple[float, ...] = ()


class ReplayMemory:
    """Bounded memory of examples on disk.

    Args:
        folder: where the files lie; made if absent.
        capacity_bytes: most that the entries of the index may take together.
        seed: of the reservoir.
        redundant_share: share of a group, by lowest rank, of which the most redundant case goes; 0 is the plain reservoir.
        files: how files lie on disk.
    """

    def __init__(
        self,
        folder: Path,
        capacity_bytes: int,
        seed: int = 0,
        redundant_share: float = 0.25,
        files: WholeFiles = PLAIN,
    ) -> None:
        self._files = ExampleFiles(folder, files)
        self._capacity = capacity_bytes
        self._seed = seed
        self._redundant_share = redundant_share
        self._entries: dict[str, ReplayEntry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def entries(self) -> tuple[ReplayEntry, ...]:
        """What is remembered, in the order in which cases first came."""
        return tuple(self._entries.values())

    @property
    def used_bytes(self) -> int:
        """Bytes that the remembered entries take on disk."""
        return sum(entry.size for entry in self._entries.values())

    def content(self) -> tuple[Remembered, ...]:
        """What is remembered by task and site, sorted."""
        groups: dict[tuple[str, str], list[ReplayEntry]] = {}
        for entry in self._entries.values():
            groups.setdefault((entry.group, entry.site), []).append(entry)
        return tuple(
            Remembered(task, site, len(group), sum(one.size for one in group), len({one.reader for one in group} - {""}))
            for (task, site), group in sorted(groups.items())
        )

    def tasks(self) -> tuple[str, ...]:
        """Tasks of which something is remembered, sorted."""
        return tuple(sorted({entry.group for entry in self._entries.values()}))

    def store(self, example: Example, recalled_LDHW: npt.NDArray[np.float32] | None = None) -> ReplayEntry:
        """Writes the example's file; it is remembered only once ``admit`` takes the entry.

        Args:
            example: on the working grid, with a normalised image.
            recalled_LDHW: what the network makes of it, for logit replay.

        Raises:
            StoreError: if the folder cannot be written.
        """
        file, size = self._files.write(example, recalled_LDHW)
        purity = _purity(example)
        known = self._entries.get(example.key)
        return ReplayEntry(
            key=example.key,
            group=example.task_id,
            file=file,
            size=size,
            purity=purity,
            loss=known.loss if known else -1.0,
            rank=self._rank(example.key, purity),
            site=example.site,
            reader=example.reader,
            descriptor=descriptor(example),
        )

    def load(self, entry: ReplayEntry) -> StoredExample | None:
        """The entry's example; None, a warning, and the entry forgotten if its file is missing or damaged.

        Raises:
            StoreUnavailable: if the disk does not give it for now.
        """
        try:
            return self._files.open(entry.file)
        except StoreUnavailable:
            raise
        except StoreError as error:
            _log.warning("replay file dropped", file=entry.file, reason=str(error))
            if self._entries.get(entry.key) == entry:
                del self._entries[entry.key]
            return None

    def admit(self, entry: ReplayEntry) -> bool:
        """Remembers the entry, in place of an earlier round of its case; returns whether it stayed.

        What exceeds the capacity goes: from the group that takes most, the most redundant of the lowest ranks first.
        """
        self._entries[entry.key] = entry
        self._keep_within_capacity()
        return entry.key in self._entries

    def _keep_within_capacity(self) -> None:
        while self.used_bytes > self._capacity:
            self._evict()

    def _evict(self) -> None:
        used: dict[str, int] = {}
        for entry in self._entries.values():
            used[entry.group] = used.get(entry.group, 0) + entry.size
        largest = max(used, key=lambda group: (used[group], group))
        group = sorted((e for e in self._entries.values() if e.group == largest), key=lambda e: (e.rank, e.key))
        candidates = group[: max(1, math.ceil(self._redundant_share * len(group)))]
        nearest = redundancy([entry.descriptor for entry in group])
        victim = candidates[int(nearest[: len(candidates)].argmin())]
        del self._entries[victim.key]

    def _rank(self, key: str, purity: float) -> float:
        digest = hashlib.sha256(f"{self._seed}:{key}".encode()).digest()
        uniform = (int.from_bytes(digest[:7], "big") + 0.5) / 2.0**56
        return float(uniform ** (1.0 / purity))

    def draw(self, count: int, rng: np.random.Generator, exclude: str = "", task: str | None = None) -> tuple[ReplayEntry, ...]:
        """``count`` entries, with repetition; a task, site or reader with many cases never crowds out one with few.

        Args:
            count: how many.
            rng: source of randomness.
            exclude: key of a case that is not wanted.
            task: the only task that is wanted, if any.
        """
        pool = [e for e in self._entries.values() if e.key != exclude and task in (None, e.group)]
        return tuple(_draw_one(pool, rng) for _ in range(count)) if pool else ()

    def note_loss(self, key: str, loss: float) -> None:
        """Takes the loss of a case into its running loss; unknown keys and non-finite losses are ignored."""
        entry = self._entries.get(key)
        if entry is not None and np.isfinite(loss):
            running = loss if entry.loss < 0 else _LOSS_MEMORY * entry.loss + (1 - _LOSS_MEMORY) * loss
            self._entries[key] = replace(entry, loss=float(running))

    def forget(self, keys: Iterable[str]) -> int:
        """Forgets cases for good; returns how many were remembered. Their files go with the next ``collect_garbage``."""
        return sum(self._entries.pop(key, None) is not None for key in set(keys))

    def index(self) -> Index:
        """The index as plain data, for a checkpoint."""
        return [{**asdict(entry), "descriptor": list(entry.descriptor)} for entry in self._entries.values()]

    def restore_index(self, index: Iterable[dict[str, Any]]) -> None:
        """Goes back to an index that ``index`` gave; nothing is read from disk. What exceeds a lowered capacity goes.

        Raises:
            StoreError: if it is not an index.
        """
        self._entries = {entry.key: entry for entry in map(_entry, index)}
        self._keep_within_capacity()

    def collect_garbage(self, keep: Iterable[Iterable[dict[str, Any]]] = ()) -> int:
        """Removes files that neither the present index nor any of ``keep`` (indices of other checkpoints) names.

        Returns:
            How many files were removed.
        """
        wanted = {entry.file for entry in self._entries.values()}
        for index in keep:
            wanted.update(_entry(item).file for item in index)
        return self._files.remove_all_but(wanted)


def _entry(item: dict[str, Any]) -> ReplayEntry:
    try:
        return ReplayEntry(
            key=str(item["key"]),
            group=str(item["group"]),
            file=str(item["file"]),
            size=int(item["size"]),
            purity=float(item["purity"]),
            loss=float(item["loss"]),
            rank=float(item["rank"]),
            site=str(item.get("site", "")),
            reader=str(item.get("reader", "")),
            descriptor=tuple(map(float, item.get("descriptor", ()))),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise StoreError(f"an entry of the replay index cannot be read: {error}") from error


def _purity(example: Example) -> float:
    """Mean confidence where an object is likely, in [0.05, 1]; the whole volume's where none is, or nothing but strokes."""
    near = example.proxy.soft_CDHW[0] < 0.9
    confidence = example.proxy.confidence_DHW
    return float(np.clip(confidence[near].mean() if near.any() and example.annotation.planes else confidence.mean(), 0.05, 1.0))


def _draw_one(pool: list[ReplayEntry], rng: np.random.Generator) -> ReplayEntry:
    """One entry: first a task, then one of its sites, then one of its readers, each as likely as the others, then a case."""
    for level in (attrgetter("group"), attrgetter("site"), attrgetter("reader")):
        names = sorted(set(map(level, pool)))
        name = names[int(rng.integers(len(names)))]
        pool = [entry for entry in pool if level(entry) == name]
    return pool[int(rng.choice(len(pool), p=_priorities(pool)))]


def _priorities(entries: list[ReplayEntry]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Chances of entries: purity times difficulty; a case without a loss counts as the mean one."""
    losses = np.array([entry.loss for entry in entries], dtype=np.float64)
    seen = losses >= 0
    mean = float(losses[seen].mean()) if seen.any() else 1.0
    difficulty = np.clip(np.where(seen, losses, mean) / max(mean, 1e-9), 0.5, 2.0)
    weight = np.array([entry.purity for entry in entries]) * difficulty
    result: np.ndarray[tuple[int], np.dtype[np.float64]] = weight / weight.sum()
    return result
