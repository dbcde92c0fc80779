"""The block cache: bytes of a volume from local disk, else from their origin, which is asked once.

Knows nothing of FUSE or ImageNet. A miss fetches the whole missing part of the member in one
request, under the lock of its blocks, so that all who ask for it during that time wait for that
one fetch. What will not be kept, for want of room, is read exactly as asked. Where the disk fails
(full, over quota, read-only, broken) the cache steps aside for a few seconds and tries again: a
reader sees nothing of it. See docs/decisions/0011 and 0012.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable
from typing import Protocol

from imagenetfs.cache.directory import CacheDirectory
from imagenetfs.cache.quota import ASIDE_SECONDS, Limits, QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import BLOCK, BLOCKS, SEGMENT, Segment, Verified
from imagenetfs.cache.segment_handles import HITS, MISSES, SAVED, SegmentHandles
from imagenetfs.cache.volume import Origin, Volume
from imagenetfs.cache.volume_writer import VolumeWriter
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

TROUBLE, ASIDE_UNTIL = 3, 4
"""A meter counts HITS, reads that needed no origin, MISSES, those that did, and SAVED, bytes
that came from here; then the errno for which the cache stepped aside last, and until when
(monotonic nanoseconds).
"""

LARGEST_FETCH = 1 << 24
"""Members up to this size (bytes) are fetched whole; of larger ones what is
asked for, in whole blocks.
"""

_SMALL_GAP = 4 * BLOCK


class ChangedError(Exception):
    """The origin is not any more what the volume is of."""

    def __str__(self) -> str:
        return "it was changed while it was read."


class CacheMeter(Protocol):
    """Five integers to count in: a list, a part of a row of shared memory."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class BlockCache:
    """The cache as the processes of one mount use it. Make it before forking."""

    def __init__(
        self,
        directory: CacheDirectory,
        limits: Limits,
        verified: Verified | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._monotonic = clock.monotonic  # asked with every read
        self.room = SpaceQuota(directory, limits, clock)
        self._segments = SegmentHandles(directory, verified or Verified())
        self._aside_until = 0.0
        self._waits: Callable[[bool], None] | None = None
        self.meter: CacheMeter = [0] * 5

    def after_fork(
        self, meter: CacheMeter | None = None, waits: Callable[[bool], None] | None = None
    ) -> None:
        """Descriptors of this process's own. Call once in each child.

        ``waits(True)`` is called while another process fetches what is asked
        for, then ``waits(False)``.
        """
        self._segments.forget()
        self.room.close()
        self._waits = waits
        if meter is not None:
            self.meter = meter

    def twin(self) -> BlockCache:
        """Another one on the same directory, for a thread: locks belong to what opened the file."""
        other = BlockCache(self._directory, self.room.limits, self._segments.verified, self._clock)
        other.meter = self.meter
        return other

    def writer(self) -> VolumeWriter:
        """For volumes that are written whole, by descriptors of its own."""
        room = SpaceQuota(self._directory, self.room.limits, self._clock)
        return VolumeWriter(self._directory, room, self._segments.verified, self._clock)

    def close(self) -> None:
        """Close all segments; they are opened again when they are needed."""
        self._segments.close()
        self.room.close()

    # --- reading ----------------------------------------------------------------------------------

    def read(
        self, volume: Volume, offset: int, length: int, start: int, end: int, origin: Origin
    ) -> bytes:
        """Bytes [offset, offset + length) of a volume, which lie in its member [start, end).

        ``length`` is at least 1. Raises only what ``origin`` raises.
        """
        number, at = divmod(offset, SEGMENT)
        if at + length > SEGMENT:
            part = SEGMENT - at
            rest = self.read(volume, offset + part, length - part, start, end, origin)
            return self.read(volume, offset, part, start, end, origin) + rest
        data = self._hit(volume, number, at, length)
        if data is not None:
            return data
        return self._read_missing(volume, offset, length, start, end, origin)

    def find(self, volume: Volume, offset: int, length: int) -> bytes | None:
        """These bytes, if all of them are here and right; else None, and nothing is fetched."""
        number, at = divmod(offset, SEGMENT)
        part = min(length, SEGMENT - at)
        data = self._hit(volume, number, at, part)
        if data is None or part == length:
            return data
        rest = self.find(volume, offset + part, length - part)
        return data + rest if rest is not None else None

    def _hit(self, volume: Volume, number: int, at: int, length: int) -> bytes | None:
        """Bytes of one segment, if they are here; counted as a hit or a miss."""
        try:
            self._tick()
            segment = self._segments.get(volume, number)
            if segment is not None:
                data = segment.read(at, length)
                if data is not None:
                    self._note(volume, number, segment, length)
                    return data
        except OSError as error:
            self._step_aside(error)
        self.meter[MISSES] += 1
        tally = volume.tally.get(number)
        if tally is not None:
            tally[MISSES] += 1
        return None

    def look_again(self) -> None:
        """Let go of segments that have gone: others may stand under their names."""
        try:
            self._segments.look(self._monotonic())
        except OSError as error:
            self._step_aside(error)

    def locate(self, volume: Volume, offset: int, length: int) -> tuple[int, int] | None:
        """(a descriptor, an offset in its file) where these bytes stand, if all of them are here
        and have been found right; for the next moment. It counts as a hit.
        """
        number, at = divmod(offset, SEGMENT)
        segment = volume.segments.get(number)
        if segment is None or at + length > SEGMENT:
            return None
        try:
            if self._tick():
                return None
            place = segment.locate(at, length)
        except OSError as error:
            self._step_aside(error)
            return None
        if place is None:
            return None
        self._note(volume, number, segment, length)
        return segment.fd, place

    def _note(self, volume: Volume, number: int, segment: Segment, length: int) -> None:
        meter, tally = self.meter, volume.tally[number]
        meter[HITS] += 1
        meter[SAVED] += length
        tally[HITS] += 1
        tally[SAVED] += length
        segment.used = True

    def _read_missing(
        self, volume: Volume, offset: int, length: int, start: int, end: int, origin: Origin
    ) -> bytes:
        fetched: tuple[int, bytes] | None = None
        if self._monotonic() >= self._aside_until:
            # A member too large to be fetched whole: what is asked for.
            low, high = (start, end) if end - start <= LARGEST_FETCH else (offset, offset + length)
            try:
                limit = end if volume.apart else volume.size
                fetched = self.fill(volume, offset // SEGMENT, low, high, limit, origin)
            except OSError as error:
                self._step_aside(error)
            except QuotaExceededError:
                pass
            except ChangedError:
                return origin.read(offset, length)  # all of it: never half an old file
        if fetched is None:
            fetched = self._exactly(volume, offset, length, origin)
        return self._joined(volume, offset, length, fetched, origin)

    def fill(
        self, volume: Volume, number: int, low: int, high: int, limit: int, origin: Origin
    ) -> tuple[int, bytes] | None:
        """Have the blocks that hold bytes [low, high) here, as far as they
        lie in segment ``number``.

        ``limit``: where the last of them ends, if it is not whole. Fetches all from the first
        missing one to the last in one request; returns (offset, the bytes fetched), or None where
        another process that fetches them takes too long. Raises NoRoomError, ChangedError, and
        OSError where the disk fails.
        """
        self._tick()
        base = number * SEGMENT
        first = max(low - base, 0) // BLOCK
        count = min(-(-(high - base) // BLOCK), BLOCKS) - first
        segment = self._segments.to_write(volume, number, self.room)
        with segment.locked(first, count, self._waits, self._clock) as had:
            if not had:
                return None
            missing = segment.missing(first, count)  # another process may have fetched them
            if not missing:
                return low, b""
            offset = base + missing[0] * BLOCK
            stop = base + (missing[-1] + 1) * BLOCK
            length = min(stop, limit) - offset
            if not self.room.has(length):
                raise QuotaExceededError
            if not origin.is_same():
                raise ChangedError
            data = origin.read(offset, length)
            if not origin.is_same():
                raise ChangedError
            kept = self._keep(segment, missing[0], data)
        if kept:
            origin.forget(offset, length)
        return offset, data

    def _keep(self, segment: Segment, first: int, data: bytes) -> bool:
        """Write fetched blocks; False where that fails. A full disk is no error to the reader."""
        try:
            with self.room.taken(len(data)) as had:
                if not had:
                    return False
                segment.write(first, data)
        except OSError as error:
            self._step_aside(error)
            return False
        segment.used = True
        return True

    def _exactly(
        self, volume: Volume, offset: int, length: int, origin: Origin
    ) -> tuple[int, bytes]:
        """What is not here of the bytes that are asked for, and no more."""
        number, at = divmod(offset, SEGMENT)
        segment = volume.segments.get(number)
        low, high = offset, offset + length
        if segment is not None:
            first = at // BLOCK
            try:
                missing = segment.missing(first, (at + length - 1) // BLOCK - first + 1)
            except OSError as error:
                self._step_aside(error)
            else:
                base = number * SEGMENT
                if missing and origin.is_same():
                    low = max(low, base + missing[0] * BLOCK)
                    high = min(high, base + (missing[-1] + 1) * BLOCK)
        return low, origin.read(low, high - low)

    def _joined(
        self, volume: Volume, offset: int, length: int, fetched: tuple[int, bytes], origin: Origin
    ) -> bytes:
        """The bytes asked for: those fetched, and what was here already before and behind them."""
        begin, data = fetched
        end = offset + length
        stop = begin + len(data)
        if begin <= offset and end <= stop:
            return data[offset - begin : end - begin]
        low, high = max(begin, offset), min(stop, end)
        if high <= low:  # all of it was here by the time we looked
            found = self._here(volume, offset, length)
            return found if found is not None else origin.read(offset, length)
        head = self._here(volume, offset, low - offset)
        tail = self._here(volume, high, end - high)
        if head is None or tail is None:
            return origin.read(offset, length)
        self.meter[SAVED] += len(head) + len(tail)
        return head + data[low - begin : high - begin] + tail

    def peek(self, volume: Volume, offset: int, length: int) -> bytes | None:
        """These bytes of one segment if they are here; no hit is counted."""
        return self._here(volume, offset, length)

    def _here(self, volume: Volume, offset: int, length: int) -> bytes | None:
        segment = volume.segments.get(offset // SEGMENT)
        if length <= 0 or segment is None:
            return None if length > 0 else b""
        try:
            return segment.read(offset % SEGMENT, length)
        except OSError as error:
            self._step_aside(error)
            return None

    def absent(self, volume: Volume, low: int, high: int) -> list[tuple[int, int]]:
        """The stretches of bytes [low, high), of one segment, of which some block is not
        here by its record; no checksum is looked at. Few blocks between two of them do not
        part them. Raises OSError.
        """
        number, at = divmod(low, SEGMENT)
        segment = self._segments.get(volume, number)
        if segment is None:
            return [(low, high)]
        first, count = at // BLOCK, -(-(at % BLOCK + high - low) // BLOCK)
        here = {block for block, _ in segment.present(first, count)}
        found: list[tuple[int, int]] = []
        for block in range(first, first + count):
            if block not in here:
                begin = number * SEGMENT + block * BLOCK
                if found and begin - found[-1][1] <= _SMALL_GAP:
                    begin = found.pop()[0]
                end = number * SEGMENT + (block + 1) * BLOCK
                found.append((max(low, begin), min(high, end)))
        return found

    # --- the disk ---------------------------------------------------------------------------------

    def _tick(self) -> bool:
        """Now and then: let go of segments that were unlinked, and see
        whether the disk is too full.

        Whether it was time to. Raises OSError.
        """
        now = self._monotonic()
        if now < self._segments.look_at:
            return False
        self._segments.look(now)
        self.keep_floor()
        return True

    def keep_floor(self) -> None:
        """Give space back where the file system has less left than shall stay free.

        Raises OSError.
        """
        if self.room.is_over:
            self.room.make_room()

    def see_disk(self) -> None:
        """Raise the OSError for which the cache steps aside now, if it does:
        nothing is kept until then.
        """
        if self._monotonic() < self._aside_until:
            raise OSError(self.meter[TROUBLE], os.strerror(self.meter[TROUBLE]))

    def _step_aside(self, error: OSError) -> None:
        self._aside_until = self._monotonic() + ASIDE_SECONDS
        self.meter[TROUBLE] = error.errno or errno.EIO
        self.meter[ASIDE_UNTIL] = int(self._aside_until * 1e9)
        if error.errno == errno.ENOENT:
            with contextlib.suppress(OSError):
                self._directory.find_again()
            self.room.close()  # its file went with the directory
