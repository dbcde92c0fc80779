"""Fetches missing blocks of a volume from their origin, once for all processes, and keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.bypass import Bypass
from imagenetfs.cache.quota import QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import BLOCK, BLOCKS, SEGMENT, Segment
from imagenetfs.cache.segment_handles import SegmentHandles
from imagenetfs.cache.volume import Origin, Volume
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock


class ChangedError(Exception):
    """The origin is not any more what the volume is of."""

    def __str__(self) -> str:
        return "it was changed while it was read."


class BlocksBusyError(Exception):
    """Another process that fetches these blocks takes too long."""


class Fetched(NamedTuple):
    """Bytes of a volume from ``offset`` on, as the origin gave them."""

    offset: int
    data: bytes


class BlockFetcher:
    """Writes what it fetches into the segments that a process has open."""

    def __init__(
        self,
        segments: SegmentHandles,
        quota: SpaceQuota,
        bypass: Bypass,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._segments = segments
        self._quota = quota
        self._bypass = bypass
        self._clock = clock
        self.on_wait: Callable[[bool], None] | None = None
        """Called with True when another process fetches what is wanted, then with False."""

    def fill(
        self, volume: Volume, number: int, wanted: ByteRange, limit: int, origin: Origin
    ) -> Fetched:
        """Have the blocks that hold the bytes ``wanted`` in the cache, as far as they lie in
        segment ``number``; what was fetched for it: nothing where another process had done so.

        ``limit``: where the last of them ends, if it is not whole. Fetches all from the first
        missing block to the last in one request. Raises BlocksBusyError, QuotaExceededError,
        ChangedError, OSError where the disk fails, and what the origin raises.
        """
        base = number * SEGMENT
        first = max(wanted.start - base, 0) // BLOCK
        count = min(-(-(wanted.end - base) // BLOCK), BLOCKS) - first
        segment = self._segments.to_write(volume, number, self._quota)
        with segment.locked(first, count, self.on_wait, self._clock) as had:
            if not had:
                raise BlocksBusyError
            missing = segment.missing(first, count)  # another process may have fetched them
            if not missing:
                return Fetched(wanted.start, b"")
            offset = base + missing[0] * BLOCK
            length = min(base + (missing[-1] + 1) * BLOCK, limit) - offset
            if not self._quota.has(length):
                raise QuotaExceededError
            if not origin.is_same():
                raise ChangedError
            data = origin.read(offset, length)
            if not origin.is_same():
                raise ChangedError
            is_cached = self._keep(segment, missing[0], data)
        if is_cached:
            origin.forget(offset, length)
        return Fetched(offset, data)

    def _keep(self, segment: Segment, first: int, data: bytes) -> bool:
        """Write fetched blocks; False where that fails. A full disk is no error to the reader."""
        try:
            with self._quota.taken(len(data)) as had:
                if not had:
                    return False
                segment.write(first, data)
        except OSError as error:
            self._bypass.begin(error)
            return False
        segment.used = True
        return True

    def read_missing(self, volume: Volume, wanted: ByteRange, origin: Origin) -> Fetched:
        """From the origin, the part of the bytes ``wanted`` that is not in the cache; nothing of it
        is kept. They are of one segment.
        """
        number, at = divmod(wanted.start, SEGMENT)
        segment = volume.segments.get(number)
        low, high = wanted
        if segment is not None:
            first = at // BLOCK
            try:
                missing = segment.missing(first, (at + high - low - 1) // BLOCK - first + 1)
            except OSError as error:
                self._bypass.begin(error)
            else:
                base = number * SEGMENT
                if missing and origin.is_same():
                    low = max(low, base + missing[0] * BLOCK)
                    high = min(high, base + (missing[-1] + 1) * BLOCK)
        return Fetched(low, origin.read(low, high - low))
