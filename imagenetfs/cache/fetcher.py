"""Fetches missing blocks of a volume from their origin, once for all processes, and keeps them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.bypass import Bypass
from imagenetfs.cache.quota import QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import BLOCK, BLOCKS, SEGMENT, Segment
from imagenetfs.cache.segment_handles import SegmentHandles
from imagenetfs.cache.source_pace import SourcePace
from imagenetfs.cache.volume import Origin, Volume
from imagenetfs.errors import SourceChangedError, SourceReadError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

_MOST_BROKEN = 1024
"""Ranges of which it is remembered that they cannot be read whole."""


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


@dataclass(frozen=True, slots=True)
class WantedBytes:
    """Bytes of a volume that are wanted; ``limit``: where the last of their blocks ends, if it is
    not whole. ``around``: what else is worth fetching with them, in whole blocks.
    """

    bytes: ByteRange
    limit: int
    around: ByteRange | None = None


class BlockFetcher:
    """Writes what it fetches into the segments that a process has open."""

    def __init__(
        self,
        segments: SegmentHandles,
        quota: SpaceQuota,
        bypass: Bypass,
        pace: SourcePace,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._segments = segments
        self._quota = quota
        self._bypass = bypass
        self._pace = pace
        self._clock = clock
        self._broken = set[tuple[bytes, int, int]]()
        self.on_wait: Callable[[bool], None] | None = None
        """Called with True when another process fetches what is wanted, then with False."""

    def fill(self, volume: Volume, number: int, wanted: WantedBytes, origin: Origin) -> Fetched:
        """Have the blocks that hold the bytes ``wanted`` in the cache, as far as they lie in
        segment ``number``; what was fetched for it: nothing where another process had done so.

        Fetches all from the first missing block to the last in one request, and with them the
        missing blocks beside them in the range where there is space for these. Raises
        BlocksBusyError, QuotaExceededError, ChangedError, OSError where the disk fails, and what
        the origin raises.
        """
        place = self._segments.to_write(volume, number, self._quota), number
        first, count = _blocks(number, wanted.bytes)
        if wanted.around is not None:
            fetched = self._fill_around(volume, place, wanted, origin)
            if fetched is not None:
                return fetched
        segment, _ = place
        with segment.locked(first, count, self.on_wait, self._clock) as had:
            missing = segment.missing(first, count)  # another process may have fetched them
            if missing and not had:
                raise BlocksBusyError
            return self._fetch(place, (missing, _run_of(missing)), wanted, origin)

    def _fill_around(
        self, volume: Volume, place: tuple[Segment, int], wanted: WantedBytes, origin: Origin
    ) -> Fetched | None:
        """None where the member alone is to be fetched."""
        (segment, number), around = place, wanted.around
        assert around is not None
        first, count = _blocks(number, around)
        place_of_error = (volume.key, number, first)
        if place_of_error in self._broken:
            return None
        # Where others fetch a part of the range, it is the member's blocks that are waited for:
        # theirs may not be among those.
        with segment.locked_at_once(first, count) as had:
            if not had:
                return None
            missing = segment.missing(*_blocks(number, wanted.bytes))
            run = _widened(segment, missing, first, count)
            if not self._quota.fits(len(run) * BLOCK):
                return None
            try:
                return self._fetch(place, (missing, run), wanted, origin)
            except SourceChangedError:
                raise
            except SourceReadError:  # it may be a neighbour that cannot be read
                if len(self._broken) >= _MOST_BROKEN:
                    self._broken.clear()
                self._broken.add(place_of_error)
                return None

    def _fetch(
        self,
        place: tuple[Segment, int],
        blocks: tuple[list[int], range],
        wanted: WantedBytes,
        origin: Origin,
    ) -> Fetched:
        """Fetch a run of blocks for those of them that are missed; the lock of all is held."""
        (segment, number), (missing, run) = place, blocks
        if not missing:
            return Fetched(wanted.bytes.start, b"")
        base, limit = number * SEGMENT, wanted.limit
        offset = base + run.start * BLOCK
        length = min(base + run.stop * BLOCK, limit) - offset
        if not self._quota.has(length):
            raise QuotaExceededError
        if not origin.is_same():
            raise ChangedError
        with self._pace.request(length):
            data = origin.read(offset, length)
        if not origin.is_same():
            raise ChangedError
        if self._keep(segment, run, missing, data):
            origin.forget(offset, length)
        return Fetched(offset, data)

    def _keep(self, segment: Segment, run: range, missing: list[int], data: bytes) -> bool:
        """Write fetched blocks, those first that are missed: others may wait for them. False where
        that fails. A full disk is no error to the reader.
        """
        view = memoryview(data)
        urgent = _run_of(missing)
        parts = (urgent, range(run.start, urgent.start), range(urgent.stop, run.stop))
        try:
            with self._quota.taken(len(data)) as had:
                if not had:
                    return False
                for part in parts:
                    begin, end = ((block - run.start) * BLOCK for block in (part.start, part.stop))
                    if begin < end:
                        segment.write(part.start, view[begin:end])
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


def _blocks(number: int, wanted: ByteRange) -> tuple[int, int]:
    """The first block in a segment of some bytes, and how many blocks hold those of it."""
    base = number * SEGMENT
    first = max(wanted.start - base, 0) // BLOCK
    return first, min(-(-(wanted.end - base) // BLOCK), BLOCKS) - first


def _run_of(missing: list[int]) -> range:
    return range(missing[0], missing[-1] + 1) if missing else range(0)


def _widened(segment: Segment, missing: list[int], first: int, count: int) -> range:
    """The run of missing blocks, with all blocks before and behind it up to the next that is
    there, of ``count`` from ``first`` on. Raises OSError.
    """
    run = _run_of(missing)
    if not missing:
        return run
    there = {block for block, _ in segment.present(first, count)}
    low, high = run.start, run.stop
    while low > first and low - 1 not in there:
        low -= 1
    while high < first + count and high not in there:
        high += 1
    return range(low, high)
