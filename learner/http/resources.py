"""What the node takes of its machine: processors, memory, disk, and a GPU where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from learner.http.page_models import DiskView, GpuView, PartView, ProcessView, ResourcesView
from learner.node import Node

PARTS = ("replay", "checkpoints", "rounds", "examples", "outbox", "inbox")
"""Folders of the data folder; ``docs/operations.md`` says what they hold."""
_DISK_S, _GPU_S = 60.0, 5.0
_SMI = ("--query-gpu=name,utilization.gpu,memory.used,memory.total", "--format=csv,noheader,nounits")
_MIB = 2**20
_Found = TypeVar("_Found")


class _Kept(Generic[_Found]):
    """What is asked for at most every so many seconds."""

    def __init__(self, find: Callable[[], _Found], seconds: float) -> None:
        self._find, self._seconds = find, seconds
        self._until = 0.0
        self._lock = threading.Lock()

    def get(self) -> _Found:
        with self._lock:
            if time.monotonic() >= self._until:
                self._found = self._find()
                self._until = time.monotonic() + self._seconds
            return self._found


class Resources:
    """Measures a node. Of processors, what was used since the last look.

    Args:
        node: the node; its process is this one.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._processes: dict[str, psutil.Process] = {}
        self._parts = _Kept(lambda: tuple(_parts(node.settings.node.data)), _DISK_S)
        self._gpus = _Kept(_gpus, _GPU_S)
        self._lock = threading.Lock()

    def view(self) -> ResourcesView:
        """Everything as it is now."""
        memory = psutil.virtual_memory()
        disk = shutil.disk_usage(self._node.settings.node.data)
        with self._lock:
            processes = (self._process("node", os.getpid()), self._process("trainer", self._node.trainer_pid))
        return ResourcesView(
            cores=psutil.cpu_count() or 1,
            memory_total=memory.total,
            memory_available=memory.available,
            processes=tuple(one for one in processes if one is not None),
            disk=DiskView(total=disk.total, free=disk.free, parts=self._parts.get()),
            gpus=self._gpus.get(),
        )

    def _process(self, name: str, pid: int | None) -> ProcessView | None:
        try:
            known = self._processes.get(name)
            if pid is None:
                return None
            if known is None or known.pid != pid or not known.is_running():
                known = self._processes[name] = psutil.Process(pid)
            with known.oneshot():
                used = known.cpu_percent() / 100
                return ProcessView(name=name, cores_used=round(used, 3), memory=known.memory_info().rss)
        except psutil.Error:
            return None


def _parts(folder: Path) -> Iterator[PartView]:
    for name in PARTS:
        if (folder / name).is_dir():
            yield PartView(name=name, size=_size(folder / name))
    database = [path for path in folder.glob("apprentice.sqlite*") if path.is_file()]
    yield PartView(name="database", size=sum(path.stat().st_size for path in database))


def _size(folder: Path) -> int:
    """Bytes of all files below a folder; what vanishes meanwhile counts as nothing."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += _size(Path(entry.path))
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except OSError:
        return total
    return total


def _gpus() -> tuple[GpuView, ...]:
    """As the driver's own tool tells; torch would take memory of the device for the question alone."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ()
    try:
        told = subprocess.run([tool, *_SMI], capture_output=True, text=True, timeout=5, check=True).stdout  # noqa: S603 - found above
        return tuple(_gpu(line) for line in told.splitlines() if line.strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        return ()


def _gpu(line: str) -> GpuView:
    """A line of the driver's tool; what a device does not tell stands there as ``[N/A]``."""
    name, share, used, total = (part.strip() for part in line.split(","))
    return GpuView(
        name=name,
        share=float(share) / 100 if share.isdigit() else None,
        memory=int(used) * _MIB if used.isdigit() else None,
        memory_total=int(total) * _MIB if total.isdigit() else None,
    )
