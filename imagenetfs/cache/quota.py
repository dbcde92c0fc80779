"""The quota: how much the cache may take, and which segments are evicted.

A shuffled epoch reads every block equally often. LRU would evict each block just before its next
use; a full cache therefore keeps what it has, and its hit rate is the cached fraction. Segments
that were not used for an hour are evicted when space is needed; beyond the limits (another program
needs the disk) whole segments go, the longest unused ones first and then any.

The account is the file ``used``: one u64, written under its lock by all processes that share the
cache. Space is taken just before it is written to, under a second lock that all writers share;
when segments have to be evicted and no process writes, all is counted anew, because a process may
have died between the two.

The space of a segment is free when the last process closes it, and that takes seconds. So once a
segment was evicted for the disk's free space, no process evicts another for that reason until
then: the file has a second u64, the time of the last eviction (at byte 16, nanoseconds since the
epoch).
"""

from __future__ import annotations

import contextlib
import os
import random
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.cache.directory import CacheDirectory, StoredSegment
from imagenetfs.system import locks
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

UNUSED_SECONDS = 3600.0
"""A segment that was not used for so long may be evicted when space is needed."""

_AGAIN_SECONDS = 5.0
_COMES_BACK_SECONDS = 15.0
"""After so long the space of an unlinked segment is free: even idle workers have let go of it."""

_USED_FILE = "used"
_WORD = struct.Struct("<Q")
_MADE_AT = 16
_WRITING = (8, 1)
"""The bytes of that file that are locked by those who write blocks."""

_PAGE = 4096
_OVERHEAD = 2 * _PAGE
"""What a segment's head and table take on disk beside the data, about."""


class QuotaExceededError(Exception):
    """The cache is as large as it may be."""


@dataclass(frozen=True, slots=True)
class Limits:
    """``size``: bytes that the cache may take; ``floor``: bytes of the
    file system that stay free.
    """

    size: int
    floor: int


@dataclass(frozen=True, slots=True)
class CacheSetup:
    """Where the read cache is, and how large it may be."""

    directory: Path
    limits: Limits


def on_disk(length: int) -> int:
    """Bytes that so much data takes on disk."""
    return -(-length // _PAGE) * _PAGE


class SpaceQuota:
    """The account of the space, as one process has it open; :meth:`close` it after a fork."""

    def __init__(
        self, directory: CacheDirectory, limits: Limits, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._directory = directory
        self._clock = clock
        self.limits = limits
        self._fd = -1
        self._not_before = 0.0

    def close(self) -> None:
        """Close the file; it is opened again where it is needed."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.close()

    # --- the account ------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _account(self) -> Iterator[int]:
        if self._fd < 0:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
            self._fd = os.open(_USED_FILE, flags, 0o600, dir_fd=self._directory.fd)
        with locks.held(self._fd, 0, _WORD.size):
            data = os.pread(self._fd, _WORD.size, 0)
            yield _WORD.unpack(data)[0] if len(data) == _WORD.size else self._count()

    def _set(self, used: int) -> None:
        os.pwrite(self._fd, _WORD.pack(max(0, used)), 0)

    def _count(self) -> int:
        return sum(segment.allocated for segment in self._directory.segments())

    def used(self) -> int:
        """Bytes that the cache takes. Raises OSError."""
        with self._account() as used:
            return used

    def _free(self) -> int:
        status = os.fstatvfs(self._directory.fd)
        return status.f_bavail * status.f_frsize

    def capacity(self) -> int:
        """Bytes that the cache can come to hold: by its limit, and by what is free beside what it
        holds. Raises OSError.
        """
        return min(self.limits.size, self.used() + max(0, self._free() - self.limits.floor))

    def fits(self, length: int) -> bool:
        """Whether there is space for so many bytes of blocks as it is. Raises OSError."""
        return self._fits(on_disk(length) + _OVERHEAD)

    def has(self, length: int) -> bool:
        """Whether there is space for so many bytes of blocks; evicts for it if that can be.

        Raises OSError.
        """
        wanted = on_disk(length) + _OVERHEAD
        if self._fits(wanted):
            return True
        self.evict(wanted)  # and if nothing went: all has been counted anew
        return self._fits(wanted)

    def _fits(self, wanted: int) -> bool:
        if self._free() - wanted < self.limits.floor:
            return False
        with self._account() as used:
            return used + wanted <= self.limits.size

    @contextlib.contextmanager
    def taken(self, length: int) -> Iterator[bool]:
        """Take space for so many bytes of blocks while they are written; False where there is none.

        It is given back where that raises OSError, as this does itself.
        """
        wanted = on_disk(length)
        with self._account() as used:
            fits = used + wanted <= self.limits.size
            if fits:
                self._set(used + wanted)
                locks.share(self._fd, *_WRITING)
        if not fits:
            yield False
            return
        try:
            yield True
        except OSError:
            with contextlib.suppress(OSError), self._account() as used:
                self._set(used - wanted)
            raise
        finally:
            locks.unlock(self._fd, *_WRITING)

    # --- evicting ---------------------------------------------------------------------------------

    def evict(self, wanted: int = 0) -> bool:
        """Unlink segments: unused ones for ``wanted`` bytes, any while the limits are exceeded.

        Returns whether something went. Does so no more often than every few seconds; counts all
        anew where no process writes. Raises OSError.
        """
        now = self._clock.monotonic()
        if now < self._not_before:
            return False
        self._not_before = now + _AGAIN_SECONDS
        with self._account() as used:
            there = list(self._directory.segments())
            if locks.try_lock(self._fd, *_WRITING):  # or the account is right
                locks.unlock(self._fd, *_WRITING)
                used = sum(segment.allocated for segment in there)
            over = used - self.limits.size
            if not self._was_made_lately():
                over = max(over, self.limits.floor - self._free())
            gone = 0
            for segment, unused in _in_order(there, self._clock.time()):
                if gone >= (over + wanted if unused else over):
                    break
                self._directory.remove(segment.name)
                gone += segment.allocated
            self._set(used - gone)
            if gone:
                os.pwrite(self._fd, _WORD.pack(self._clock.time_ns()), _MADE_AT)
        return gone > 0

    def _was_made_lately(self) -> bool:
        """Whether what went last may still be open in a process; its lock is held."""
        data = os.pread(self._fd, _WORD.size, _MADE_AT)
        since = self._clock.time_ns() - _WORD.unpack(data)[0] if len(data) == _WORD.size else -1
        return 0 <= since < _COMES_BACK_SECONDS * 1e9

    @property
    def is_over(self) -> bool:
        """Whether the file system has less free space than shall stay free. Raises OSError."""
        return self._free() < self.limits.floor


def _in_order(there: list[StoredSegment], now: float) -> list[tuple[StoredSegment, bool]]:
    """In which order segments go, and whether each is unused: the
    longest unused first, then any.
    """
    long_ago = now - UNUSED_SECONDS
    unused = sorted((s for s in there if s.used < long_ago), key=lambda s: s.used)
    others = [s for s in there if s.used >= long_ago]
    random.shuffle(others)
    return [(s, True) for s in unused] + [(s, False) for s in others]


def limits_of(
    directory: CacheDirectory, size: Callable[[int], int], keep_free: Callable[[int], int]
) -> Limits:
    """Limits from settings: ``size(whole)`` of what is free and what the cache has already,
    ``keep_free(whole)`` of the file system; in bytes. Raises OSError."""
    status = os.fstatvfs(directory.fd)
    held = sum(segment.allocated for segment in directory.segments())
    free, whole = (blocks * status.f_frsize for blocks in (status.f_bavail, status.f_blocks))
    return Limits(size(free + held), keep_free(whole))
