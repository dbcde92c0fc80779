"""How much is kept, what goes when that is too much, and when the cache steps aside.

A shuffled epoch asks for everything equally often, so a full cache keeps what it has: its hit rate is then its
part of the data, where throwing out the least recently used would bring none at all. What nobody has used for
an hour goes when somebody needs the room; beyond the limits (another program needs the disk) whole segments go,
the oldest unused ones first and then any.

What is held is kept count of in the file ``used``: one u64, written under its lock by all processes that share
the cache, and counted anew where it may be wrong. See docs/cache.md.
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass

from imagenetfs.cache.place import CacheDirectory, StoredSegment
from imagenetfs.system import locks

UNUSED_SECONDS = 3600.0
"""What has not been used for so long may go when there is no room for something else."""

ASIDE_SECONDS = 5.0
"""How long nothing is written after the disk refused to."""

_AGAIN_SECONDS = 5.0
_USED_FILE = "used"
_WORD = struct.Struct("<Q")
_PAGE = 4096
_OVERHEAD = 2 * _PAGE
"""What a segment's head and table take on disk beside the data, about."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``size``: bytes that the cache may take; ``floor``: bytes of the file system that stay free."""

    size: int
    floor: int


def on_disk(length: int) -> int:
    """Bytes that so much data takes on disk."""
    return -(-length // _PAGE) * _PAGE


class Room:
    """The account of the space, as one process has it open; :meth:`close` it after a fork."""

    def __init__(self, directory: CacheDirectory, limits: Limits) -> None:
        self._directory = directory
        self.limits = limits
        self._fd = -1
        self._not_before = 0.0

    def close(self) -> None:
        """Close the file; it is opened again where it is needed."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    # --- the account ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _account(self) -> Iterator[int]:
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(_USED_FILE, flags, 0o600, dir_fd=self._directory.fd)
        locks.lock(self._fd, 0, _WORD.size)
        try:
            data = os.pread(self._fd, _WORD.size, 0)
            yield _WORD.unpack(data)[0] if len(data) == _WORD.size else self._count()
        finally:
            locks.unlock(self._fd, 0, _WORD.size)

    def _set(self, used: int) -> None:
        os.pwrite(self._fd, _WORD.pack(max(0, used)), 0)

    def _count(self) -> int:
        return sum(segment.allocated for segment in self._directory.segments())

    def used(self) -> int:
        """Bytes that the cache takes. Raises OSError."""
        with self._account() as used:
            return used

    def recount(self) -> int:
        """Count them anew: a process may have died between taking room and writing. Raises OSError."""
        with self._account():
            used = self._count()
            self._set(used)
        return used

    def _free(self) -> int:
        status = os.fstatvfs(self._directory.fd)
        return status.f_bavail * status.f_frsize

    def has_any(self) -> bool:
        """Whether there is room for anything: to be asked before a segment is made. Raises OSError."""
        return self._take(0) or self.make_room(_OVERHEAD)

    def take(self, length: int) -> bool:
        """Take room for so many bytes of blocks; False where there is none. Raises OSError."""
        wanted = on_disk(length)
        if self._take(wanted):
            return True
        return self.make_room(wanted) and self._take(wanted)

    def _take(self, wanted: int) -> bool:
        if self._free() - wanted <= self.limits.floor:
            return False
        with self._account() as used:
            if used + wanted >= self.limits.size:
                return False
            if wanted:
                self._set(used + wanted)
        return True

    def give_back(self, length: int) -> None:
        """Nothing was written after all."""
        with contextlib.suppress(OSError), self._account() as used:
            self._set(used - on_disk(length))

    # --- making room ------------------------------------------------------------------------------

    def make_room(self, wanted: int = 0) -> bool:
        """Unlink segments: unused ones for ``wanted`` bytes, any while the limits are exceeded.

        Returns whether something went. Looks no more often than every few seconds. Raises OSError.
        """
        now = time.monotonic()
        if now < self._not_before:
            return False
        self._not_before = now + _AGAIN_SECONDS
        with self._account():
            there = list(self._directory.segments())
            used = sum(segment.allocated for segment in there)
            over = max(used - self.limits.size, self.limits.floor - self._free())
            gone = 0
            for segment, unused in _in_order(there):
                if gone >= (over + wanted if unused else over):
                    break
                self._directory.remove(segment.name)
                gone += segment.allocated
            self._set(used - gone)
        return gone > 0

    @property
    def is_over(self) -> bool:
        """Whether the file system has less free space than shall stay free. Raises OSError."""
        return self._free() < self.limits.floor


def _in_order(there: list[StoredSegment]) -> list[tuple[StoredSegment, bool]]:
    """In which order segments go, and whether each is unused: the longest unused first, then any."""
    long_ago = time.time() - UNUSED_SECONDS
    unused = sorted((s for s in there if s.used < long_ago), key=lambda s: s.used)
    others = [s for s in there if s.used >= long_ago]
    random.shuffle(others)
    return [(s, True) for s in unused] + [(s, False) for s in others]


def limits_of(
    directory: CacheDirectory, *, part: float | None, size: int | None, floor: int
) -> Limits:
    """Limits from settings: ``size`` in bytes, or the ``part`` of what is free and what the cache has."""
    status = os.fstatvfs(directory.fd)
    if size is None:
        held = sum(segment.allocated for segment in directory.segments())
        size = int((part or 0) * (status.f_bavail * status.f_frsize + held))
    return Limits(size, floor)
