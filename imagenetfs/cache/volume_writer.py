"""Volumes that are written whole, from their first byte on: what a deflated array unpacks to.

No block of a volume is believed before all of it has been verified: data are written as they come,
their records after the last data. So a process that is killed on the way leaves no block that
counts. Of all processes of this user's mounts one writes a volume at a time, under a lock in the
file ``unpacking``; that file's time of change tells waiting processes that the writer is at work.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from imagenetfs.cache.directory import CacheDirectory, segment_name
from imagenetfs.cache.quota import QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import BLOCK, SEGMENT, Segment, Verified
from imagenetfs.cache.segment_handles import SegmentHandles
from imagenetfs.cache.volume import Volume
from imagenetfs.system import locks
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

Pieces = Callable[[], Iterator[bytes]]
"""The bytes of a volume, from the first to the last; raises where they are
not right, before it ends.
"""

_LOCK_FILE = "unpacking"
_POLL_SECONDS = 0.02


class VolumeWriter:
    """Writes into a cache's directory.

    Make it in the process that uses it: locks belong to openings.
    """

    def __init__(
        self,
        directory: CacheDirectory,
        quota: SpaceQuota,
        verified: Verified,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._clock = clock
        self._directory = directory
        self._quota = quota
        self._segments = SegmentHandles(directory, verified)

    def write(self, volume: Volume, pieces: Pieces, moved: Callable[[], None]) -> None:
        """Have all of a volume here; ``pieces()`` is not called where it is already.

        ``moved()`` is called as it goes on, be it here or in another process that was quicker.
        Raises QuotaExceededError, OSError, and what ``pieces()`` raises; nothing of it is kept
        then.
        """
        mine = Volume(volume.key, volume.size, volume.about)
        try:
            with self._turn(volume.key, moved) as go_on:
                missing = self._missing(mine)
                if any(missing):
                    self._write(mine, pieces(), missing, go_on)
        finally:
            self._segments.close()
            self._quota.close()

    @contextlib.contextmanager
    def _turn(self, key: bytes, moved: Callable[[], None]) -> Iterator[Callable[[], None]]:
        """Wait until no other process writes the volume; what to call as the work goes on."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(_LOCK_FILE, flags, 0o600, dir_fd=self._directory.fd)

        def go_on() -> None:
            os.utime(fd)
            moved()

        try:
            seen = 0
            while not locks.try_lock(fd, int.from_bytes(key[:7]), 1):
                changed_ns = os.fstat(fd).st_mtime_ns
                if changed_ns != seen:
                    seen = changed_ns
                    moved()
                self._clock.sleep(_POLL_SECONDS)
            yield go_on
        finally:
            os.close(fd)

    def _missing(self, volume: Volume) -> list[set[int]]:
        """By segment, the blocks that are missing; checksums are verified."""
        found = []
        for number in range(-(-volume.size // SEGMENT)):
            segment, count = self._segments.get(volume, number), _blocks_of(volume, number)
            blocks = range(count) if segment is None else segment.missing(0, count)
            found.append(set(blocks))
            if segment is not None and len(blocks) == count:  # left by one that was killed
                self._remove(volume, number)
        return found

    def _remove(self, volume: Volume, number: int) -> None:
        self._directory.remove(segment_name(volume.key, number))

    def _write(
        self,
        volume: Volume,
        pieces: Iterator[bytes],
        missing: list[set[int]],
        go_on: Callable[[], None],
    ) -> None:
        if not self._quota.has(BLOCK * sum(map(len, missing))):
            raise QuotaExceededError
        wanted = [number for number, blocks in enumerate(missing) if blocks]
        fresh = [n for n in wanted if len(missing[n]) == _blocks_of(volume, n)]
        written: list[tuple[Segment, int, bytes]] = []
        try:
            # Opened once: where another process evicts a segment, this one goes on writing to a
            # file without a name.
            segments = {n: self._segments.to_write(volume, n, self._quota) for n in wanted}
            for at, data in _in_blocks(pieces):
                for number, first, some in _missing_runs(at, data, missing):
                    with self._quota.taken(len(some)) as had:
                        if not had:
                            raise QuotaExceededError
                        written.append(
                            (segments[number], first, segments[number].write_data(first, some))
                        )
                go_on()
            for segment, first, records in written:
                segment.commit(first, records)
        except BaseException:
            with contextlib.suppress(OSError):
                for number in fresh:
                    self._remove(volume, number)
            raise


def _blocks_of(volume: Volume, number: int) -> int:
    return -(-min(SEGMENT, volume.size - number * SEGMENT) // BLOCK)


def _in_blocks(pieces: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """(offset, the same bytes) in whole blocks; the last one is as long as it is."""
    at, rest = 0, b""
    for piece in pieces:
        data = rest + piece
        whole = len(data) - len(data) % BLOCK
        if whole:
            yield at, data[:whole]
        at, rest = at + whole, data[whole:]
    if rest:
        yield at, rest


def _missing_runs(
    at: int, data: bytes, missing: list[set[int]]
) -> Iterator[tuple[int, int, bytes]]:
    """(segment, first block in it, bytes) of the blocks in ``data`` that are missing, those side by
    side together; ``data`` begin at byte ``at`` of the volume, with a block.
    """
    begin, end = 0, 0
    for here in range(0, len(data), BLOCK):
        number, byte = divmod(at + here, SEGMENT)
        if begin < end and (byte == 0 or byte // BLOCK not in missing[number]):
            yield *_block_of(at + begin), data[begin:end]
            begin = end
        if byte // BLOCK in missing[number]:
            begin = here if begin == end else begin
            end = here + BLOCK
    if begin < end:
        yield *_block_of(at + begin), data[begin:end]


def _block_of(offset: int) -> tuple[int, int]:
    """(segment, block in it) of an offset in a volume."""
    number, byte = divmod(offset, SEGMENT)
    return number, byte // BLOCK
