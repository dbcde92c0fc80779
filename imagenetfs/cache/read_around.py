"""What a miss fetches beside the member that was asked for: see docs/decisions/0024."""

from __future__ import annotations

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.quota import SpaceQuota
from imagenetfs.cache.source_pace import SourcePace
from imagenetfs.cache.volume import Volume
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

_CAPACITY_SECONDS = 5.0


class ReadAround:
    """Chooses the range around a member, of a size by the source's pace, as long as the cache has
    room for all of the data.
    """

    def __init__(self, pace: SourcePace, quota: SpaceQuota, clock: Clock = SYSTEM_CLOCK) -> None:
        self._pace = pace
        self._quota = quota
        self._clock = clock
        self._capacity, self._asked_at = 0, float("-inf")

    def around(self, volume: Volume, member: ByteRange) -> ByteRange | None:
        """The aligned ranges in which a member lies; None for the member alone. Raises OSError
        where the cache's disk fails.
        """
        size = self._pace.range_size
        if volume.apart or member.length >= size or not self._has_room(volume):
            return None
        start, end = member
        return ByteRange(start // size * size, min(-(-end // size) * size, volume.size))

    def _has_room(self, volume: Volume) -> bool:
        now = self._clock.monotonic()
        if now >= self._asked_at + _CAPACITY_SECONDS:
            self._capacity, self._asked_at = self._quota.capacity(), now
        return max(volume.expected, volume.size) <= self._capacity
