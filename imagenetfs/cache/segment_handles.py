"""The segments that a process has open: opened when asked for, the oldest closed beyond a number,
let go of when their file has been unlinked or cut.
"""

from __future__ import annotations

import contextlib
import errno
import os

from imagenetfs.cache.directory import CacheDirectory, segment_name
from imagenetfs.cache.quota import QuotaExceededError, SpaceQuota
from imagenetfs.cache.segment import SEGMENT, Segment, SegmentPath, Verified
from imagenetfs.cache.segment_file import make_segment, open_segment
from imagenetfs.cache.volume import Volume
from imagenetfs.system.resources import files_to_keep

_CHECK_SECONDS = 1.0
TELL_SECONDS = 10.0
_MOST_OPEN = 256


class SegmentHandles:
    """They stand in their volumes (:attr:`Volume.segments`), from where hits take them."""

    def __init__(self, directory: CacheDirectory, verified: Verified) -> None:
        self._directory = directory
        self.verified = verified
        self._opened: dict[Segment, tuple[Volume, int]] = {}
        self._most_open = files_to_keep(_MOST_OPEN)
        self.check_at = 0.0
        """When :meth:`check` is due (monotonic seconds)."""
        self._tell_at = 0.0

    def get(self, volume: Volume, number: int) -> Segment | None:
        """The segment, if there is one. Raises OSError."""
        return volume.segments.get(number) or self._take(
            volume, number, open_segment(self._path(volume, number), self.verified)
        )

    def to_write(self, volume: Volume, number: int, quota: SpaceQuota) -> Segment:
        """The segment, made where there is none. Raises QuotaExceededError, OSError."""
        segment = volume.segments.get(number)
        if segment is not None and not (segment.is_current() and segment.writable):
            self._close(segment)  # unlinked, or cut, or opened while the disk was read-only
        segment = self.get(volume, number)
        if segment is None:
            if not quota.has(0):
                raise QuotaExceededError
            path = self._path(volume, number)
            segment = make_segment(path, volume.about, self.verified)
            self._take(volume, number, segment)
        if not segment.writable:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return segment

    def check(self, now: float) -> None:
        """Let go of those whose file has gone; leave what was counted with the others.

        Raises OSError.
        """
        self.check_at = now + _CHECK_SECONDS
        telling = now >= self._tell_at
        if telling:
            self._tell_at = now + TELL_SECONDS
        for segment, (volume, number) in list(self._opened.items()):
            if not segment.is_current():
                self._close(segment)
            elif telling:
                self._tell(segment, volume, number)

    def close(self) -> None:
        """Close all of them; they are opened again when they are needed."""
        for segment in list(self._opened):
            self._close(segment)

    def forget(self) -> None:
        """In a forked child: close all; the parent tells what it has counted."""
        for segment, (volume, number) in self._opened.items():
            del volume.segments[number], volume.tally[number]
            segment.close()
        self._opened.clear()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.forget()

    def _path(self, volume: Volume, number: int) -> SegmentPath:
        name = segment_name(volume.key, number)
        length = min(SEGMENT, volume.size - number * SEGMENT)
        return SegmentPath(self._directory.fd, name, volume.key, number, length)

    def _take(self, volume: Volume, number: int, segment: Segment | None) -> Segment | None:
        if segment is not None:
            while len(self._opened) >= self._most_open:
                self._close(next(iter(self._opened)))
            volume.segments[number] = segment
            volume.tally[number] = [0, 0, 0]
            self._opened[segment] = volume, number
        return segment

    def _close(self, segment: Segment) -> None:
        volume, number = self._opened.pop(segment)
        self._tell(segment, volume, number)
        del volume.segments[number], volume.tally[number]
        segment.close()

    def _tell(self, segment: Segment, volume: Volume, number: int) -> None:
        """Leave what was counted, and that it was used, with the segment's file."""
        tally = volume.tally[number]
        with contextlib.suppress(OSError):
            if segment.used:
                segment.used = False
                os.utime(segment.fd)
            if any(tally):
                volume.tally[number] = [0, 0, 0]
                segment.count(*tally)
