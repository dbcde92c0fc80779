"""What the processes of a mount know of the source's files: which one was found right, which has changed.

A table in memory that forked processes share: open addressing over the path's digest, two words a slot. Reading
takes no lock. Writing is rare (once for each archive of a mount, and when one has changed) and locked, so that
just one process is the first to say that a file has changed.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import threading
from collections.abc import Iterator

Identity = tuple[int, int, int, int]
"""inode, size in bytes, mtime and ctime in ns: while these are the same, so is the file."""

_SLOTS = 1 << 16
_WORD = 8
_CHANGED = 1
_COUNT = 2 * _SLOTS
"""The word behind the slots: how many files have changed."""


def _digest(value: object) -> int:
    """64 bits that stand for a value; never 0 or 1, which mean something else here."""
    data = value if isinstance(value, bytes) else repr(value).encode()
    return int.from_bytes(hashlib.blake2b(data, digest_size=_WORD).digest(), "little") | 2


class Known:
    """Make it before forking."""

    def __init__(self) -> None:
        self._lock = os.memfd_create("imagenetfs-known", os.MFD_CLOEXEC)
        # Memory is taken when it is written to: a page for each archive at most.
        self._map = mmap.mmap(-1, (2 * _SLOTS + 1) * _WORD)
        self._words = memoryview(self._map).cast("Q")
        self._writing = threading.Lock()

    def close(self) -> None:
        """Give the memory back."""
        self._words.release()
        self._map.close()
        os.close(self._lock)

    def is_right(self, path: bytes, identity: Identity) -> bool:
        """Whether this very file has been found to be the one that it should be."""
        slot = self._slot(_digest(path))
        return slot is not None and self._words[slot + 1] == _digest(identity)

    def has_changed(self, path: bytes) -> bool:
        """Whether anybody found that another file stands there. Costs next to nothing while none has."""
        if not self._words[_COUNT]:
            return False
        slot = self._slot(_digest(path))
        return slot is not None and self._words[slot + 1] == _CHANGED

    def found_right(self, path: bytes, identity: Identity) -> None:
        """This file is the right one; whoever opens the same one need not look again."""
        with self._locked():
            slot = self._claim(_digest(path))
            if slot is not None and self._words[slot + 1] != _CHANGED:
                self._words[slot + 1] = _digest(identity)

    def found_changed(self, path: bytes) -> bool:
        """Another file stands there, for the rest of the mount. True for the first who says so."""
        with self._locked():
            slot = self._claim(_digest(path))
            if slot is None:
                return True
            first = self._words[slot + 1] != _CHANGED
            self._words[slot + 1] = _CHANGED
            self._words[_COUNT] += first
            return first

    # --- slots ------------------------------------------------------------------------------------

    def _slot(self, digest: int, *, free: bool = False) -> int | None:
        """The slot of a path; with ``free`` else an empty one; None where there is none."""
        at = digest >> 2
        for step in range(_SLOTS):
            slot = 2 * ((at + step) % _SLOTS)
            if self._words[slot] == digest:
                return slot
            if not self._words[slot]:
                return slot if free else None
        return None

    def _claim(self, digest: int) -> int | None:
        slot = self._slot(digest, free=True)
        if slot is not None:
            self._words[slot] = digest
        return slot

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        # A record lock belongs to a process, whoever it inherited the descriptor from; threads need one more.
        with self._writing:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
