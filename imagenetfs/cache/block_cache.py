"""The block cache: bytes of a volume from local disk, else from their origin, which is asked once.

Knows nothing of FUSE or ImageNet. A miss fetches the whole missing part of the member in one
request, under the lock of its blocks, so that all processes that ask for it during that time wait
for that one fetch; where the cache has room for all of the data, it fetches the aligned range
around the member in that request. Bytes that will not be kept, because the quota is used up, are
read exactly as asked. Where the disk fails (full, over quota, read-only, broken) the cache is
bypassed for a few seconds: a reader sees nothing of it. See docs/decisions/0011, 0012 and 0024.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.bypass import Bypass, CacheMeter
from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.fetcher import (
    BlockFetcher,
    BlocksBusyError,
    ChangedError,
    Fetched,
    WantedBytes,
)
from imagenetfs.cache.quota import Limits, QuotaExceededError, SpaceQuota
from imagenetfs.cache.read_around import ReadAround
from imagenetfs.cache.segment import BLOCK, SEGMENT, Segment, Verified
from imagenetfs.cache.segment_handles import SegmentHandles
from imagenetfs.cache.source_pace import SourcePace
from imagenetfs.cache.volume import Origin, Volume
from imagenetfs.cache.volume_writer import VolumeWriter
from imagenetfs.counters import HITS, MISSES, SAVED
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

LARGEST_FETCH = 1 << 24
"""Members up to this size (bytes) are fetched whole; of larger ones what is asked for, in whole
blocks.
"""

_SMALL_GAP = 4 * BLOCK


class BlockCache:
    """The cache as the processes of one mount use it. Make it before forking."""

    def __init__(
        self,
        directory: CacheDirectory,
        limits: Limits,
        verified: Verified | None = None,
        clock: Clock = SYSTEM_CLOCK,
        pace: SourcePace | None = None,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._monotonic = clock.monotonic  # asked with every read
        self.quota = SpaceQuota(directory, limits, clock)
        self._segments = SegmentHandles(directory, verified or Verified())
        self._bypass = Bypass(self._find_disk, clock)
        self.pace = pace or SourcePace(clock)
        self._fetcher = BlockFetcher(self._segments, self.quota, self._bypass, self.pace, clock)
        self.read_around = ReadAround(self.pace, self.quota, clock)
        self.meter: CacheMeter = self._bypass.meter

    def after_fork(
        self, meter: CacheMeter | None = None, on_wait: Callable[[bool], None] | None = None
    ) -> None:
        """Descriptors of this process's own. Call once in each child.

        ``on_wait(True)`` is called while another process fetches what is asked for, then
        ``on_wait(False)``.
        """
        self._segments.forget()
        self.quota.close()
        self._fetcher.on_wait = on_wait
        if meter is not None:
            self._count_in(meter)

    def _count_in(self, meter: CacheMeter) -> None:
        self.meter = self._bypass.meter = meter

    def twin(self) -> BlockCache:
        """Another one on the same directory, for a thread: locks belong to what opened the file."""
        limits, verified = self.quota.limits, self._segments.verified
        other = BlockCache(self._directory, limits, verified, self._clock, self.pace)
        other._count_in(self.meter)
        return other

    def writer(self) -> VolumeWriter:
        """For volumes that are written whole, by descriptors of its own."""
        quota = SpaceQuota(self._directory, self.quota.limits, self._clock)
        return VolumeWriter(self._directory, quota, self._segments.verified, self._clock)

    def close(self) -> None:
        """Close all segments; they are opened again when they are needed."""
        self._segments.close()
        self.quota.close()

    # --- reading ----------------------------------------------------------------------------------

    def read(self, volume: Volume, wanted: ByteRange, member: ByteRange, origin: Origin) -> bytes:
        """The bytes ``wanted`` of a volume, at least one, which lie in those of its ``member``.

        Raises only what ``origin`` raises.
        """
        start, end = wanted
        number, at = divmod(start, SEGMENT)
        border = start - at + SEGMENT
        if end > border:
            rest = self.read(volume, ByteRange(border, end), member, origin)
            return self.read(volume, ByteRange(start, border), member, origin) + rest
        data = self._hit(volume, number, at, end - start)
        if data is not None:
            return data
        return self._read_missing(volume, wanted, member, origin)

    def read_if_cached(self, volume: Volume, wanted: ByteRange) -> bytes | None:
        """These bytes, if all of them are in the cache and right; else None, and nothing is
        fetched. It counts as a hit or a miss.
        """
        start, end = wanted
        number, at = divmod(start, SEGMENT)
        border = min(end, start - at + SEGMENT)
        data = self._hit(volume, number, at, border - start)
        if data is None or border == end:
            return data
        rest = self.read_if_cached(volume, ByteRange(border, end))
        return data + rest if rest is not None else None

    def read_uncounted(self, volume: Volume, wanted: ByteRange) -> bytes | None:
        """As :meth:`read_if_cached`, for bytes of one segment that is open; no hit is counted."""
        start, length = wanted.start, wanted.length
        if start // SEGMENT != max(start, wanted.end - 1) // SEGMENT:
            return None
        segment = volume.segments.get(start // SEGMENT)
        if length <= 0 or segment is None:
            return None if length > 0 else b""
        try:
            return segment.read(start % SEGMENT, length)
        except OSError as error:
            self._bypass.begin(error)
            return None

    def locate(self, volume: Volume, wanted: ByteRange) -> tuple[int, int] | None:
        """(descriptor, offset in its file) of these bytes, for a splice in the next moment; None
        unless all of them are in the cache and were found right before. It counts as a hit.
        """
        start, end = wanted
        number, at = divmod(start, SEGMENT)
        segment = volume.segments.get(number)
        length = end - start
        if segment is None or at + length > SEGMENT:
            return None
        try:
            if self._tick():
                return None
            offset = segment.locate(at, length)
        except OSError as error:
            self._bypass.begin(error)
            return None
        if offset is None:
            return None
        self._note(volume, number, segment, length)
        return segment.fd, offset

    def missing_ranges(self, volume: Volume, wanted: ByteRange) -> list[ByteRange]:
        """The parts of the bytes ``wanted``, of one segment, of which some block is not in the
        cache by its record; no checksum is verified. Few blocks between two of them do not part
        them. Raises OSError.
        """
        low, high = wanted
        number, at = divmod(low, SEGMENT)
        segment = self._segments.get(volume, number)
        if segment is None:
            return [wanted]
        first, count = at // BLOCK, -(-(at % BLOCK + high - low) // BLOCK)
        present = {block for block, _ in segment.present(first, count)}
        found: list[ByteRange] = []
        for block in range(first, first + count):
            if block not in present:
                begin = number * SEGMENT + block * BLOCK
                if found and begin - found[-1].end <= _SMALL_GAP:
                    begin = found.pop().start
                end = number * SEGMENT + (block + 1) * BLOCK
                found.append(ByteRange(max(low, begin), min(high, end)))
        return found

    def holds(self, volume: Volume, wanted: ByteRange) -> bool:
        """Whether these bytes are in the cache by their records; no checksum is verified."""
        low, high = wanted
        try:
            for border in range(low // SEGMENT * SEGMENT, high, SEGMENT):
                part = ByteRange(max(low, border), min(high, border + SEGMENT))
                if self.missing_ranges(volume, part):
                    return False
        except OSError as error:
            self._bypass.begin(error)
            return False
        return True

    def _hit(self, volume: Volume, number: int, at: int, length: int) -> bytes | None:
        """Bytes of one segment, if they are in the cache; counted as a hit or a miss."""
        try:
            self._tick()
            segment = self._segments.get(volume, number)
            if segment is not None:
                data = segment.read(at, length)
                if data is not None:
                    self._note(volume, number, segment, length)
                    return data
        except OSError as error:
            self._bypass.begin(error)
        self.meter[MISSES] += 1
        tally = volume.tally.get(number)
        if tally is not None:
            tally[MISSES] += 1
        return None

    def _note(self, volume: Volume, number: int, segment: Segment, length: int) -> None:
        meter, tally = self.meter, volume.tally[number]
        meter[HITS] += 1
        meter[SAVED] += length
        tally[HITS] += 1
        tally[SAVED] += length
        segment.used = True

    # --- a miss -----------------------------------------------------------------------------------

    def fill(self, volume: Volume, number: int, wanted: WantedBytes, origin: Origin) -> Fetched:
        """See :meth:`BlockFetcher.fill`."""
        self._tick()
        return self._fetcher.fill(volume, number, wanted, origin)

    def _read_missing(
        self, volume: Volume, wanted: ByteRange, member: ByteRange, origin: Origin
    ) -> bytes:
        fetched: Fetched | None = None
        if not self._bypass.is_on:
            # A member too large to be fetched whole: what is asked for.
            part = member if member.length <= LARGEST_FETCH else wanted
            try:
                limit = member.end if volume.apart else volume.size
                asked = WantedBytes(part, limit, self.read_around.around(volume, part))
                fetched = self.fill(volume, wanted.start // SEGMENT, asked, origin)
            except OSError as error:
                self._bypass.begin(error)
            except (BlocksBusyError, QuotaExceededError):
                pass
            except ChangedError:
                return origin.read(wanted.start, wanted.length)  # never half an old file
        if fetched is None:
            fetched = self._fetcher.read_missing(volume, wanted, origin)
        return _joined(wanted, fetched, partial(self.read_uncounted, volume), origin, self.meter)

    # --- the disk ---------------------------------------------------------------------------------

    def refresh(self) -> None:
        """Let go of segments that have gone: others may stand under their names."""
        try:
            self._segments.check(self._monotonic())
        except OSError as error:
            self._bypass.begin(error)

    def _tick(self) -> bool:
        """Now and then: let go of segments that were unlinked, and see whether the disk is too
        full. Returns whether it was time to. Raises OSError.
        """
        now = self._monotonic()
        if now < self._segments.check_at:
            return False
        self._segments.check(now)
        self.keep_floor()
        return True

    def keep_floor(self) -> None:
        """Evict where the file system has less left than shall stay free. Raises OSError."""
        if self.quota.is_over:
            self.quota.evict()

    def check_disk(self) -> None:
        """Raise the OSError for which the cache is bypassed now, if it is: nothing is kept until
        that is over.
        """
        self._bypass.check()

    def _find_disk(self) -> None:
        """The cache's directory has gone, and others may have made it anew."""
        with contextlib.suppress(OSError):
            self._directory.find_again()
        self.quota.close()  # its file went with the directory


def _joined(
    wanted: ByteRange,
    fetched: Fetched,
    cached: Callable[[ByteRange], bytes | None],
    origin: Origin,
    meter: CacheMeter,
) -> bytes:
    """The bytes wanted: those fetched, and those before and behind that were in the cache."""
    begin, data = fetched
    offset, end = wanted
    stop = begin + len(data)
    if begin <= offset and end <= stop:
        return data[offset - begin : end - begin]
    low, high = max(begin, offset), min(stop, end)
    if high <= low:  # another process had fetched all of it by the time the lock was had
        found = cached(wanted)
        return found if found is not None else origin.read(offset, end - offset)
    head, tail = cached(ByteRange(offset, low)), cached(ByteRange(high, end))
    if head is None or tail is None:
        return origin.read(offset, end - offset)
    meter[SAVED] += len(head) + len(tail)
    return head + data[low - begin : high - begin] + tail
