"""What need not be computed twice: arrays kept by what they were computed from, within a limit of bytes.

An answer propagates the same image several times, and every round of a case repeats most of the round before. Keys are digests
of content, not identities of arrays: nothing goes stale where an array is changed, copied or read again from disk.
"""

from __future__ import annotations

import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Hashable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]
DEFAULT_BYTES = 256 * 2**20


def digest(array: Array) -> bytes:
    """128 bits of the array's content, shape and type."""
    whole = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode(), digest_size=16)
    whole.update(np.ascontiguousarray(array).data)
    return whole.digest()


_MEMORIES: weakref.WeakSet[Memory] = weakref.WeakSet()


def clear_memories() -> None:
    """Empties every memory of this process: a study is forgotten, and keys do not tell whose arrays they are of."""
    for memory in list(_MEMORIES):
        memory.clear()


class Memory:
    """Arrays by key; those not used for longest go first. Safe to share between threads.

    Args:
        limit_bytes: how much is kept; an array larger than all of it is not.
    """

    def __init__(self, limit_bytes: int = DEFAULT_BYTES) -> None:
        self._limit = limit_bytes
        self._kept: OrderedDict[Hashable, Array] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()
        _MEMORIES.add(self)

    @property
    def held_bytes(self) -> int:
        """How much is kept now."""
        return self._bytes

    def clear(self) -> None:
        """Keeps nothing."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def get(self, key: Hashable) -> Array | None:
        """What is kept under ``key``, read-only, or None."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def put(self, key: Hashable, array: Array) -> None:
        """Keeps ``array``, which becomes read-only, if it is not kept already."""
        array.flags.writeable = False
        with self._lock:
            if key in self._kept or array.nbytes > self._limit:
                return
            self._kept[key] = array
            self._bytes += array.nbytes
            while self._bytes > self._limit:
                self._bytes -= self._kept.popitem(last=False)[1].nbytes
