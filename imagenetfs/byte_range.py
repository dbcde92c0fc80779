"""A range of bytes: of a file, a volume of the cache or an array, as the context says."""

from __future__ import annotations

import bisect
from typing import NamedTuple


class ByteRange(NamedTuple):
    """The bytes from offset ``start`` up to, not including, offset ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.start

    @classmethod
    def sized(cls, start: int, length: int) -> ByteRange:
        """The ``length`` bytes from ``start`` on."""
        return cls(start, start + length)


class ByteRanges:
    """Several ranges; those that touch are one."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, added: ByteRange) -> None:
        """Have these bytes in it too."""
        start, end = added
        first = bisect.bisect_left(self._ends, start)
        last = bisect.bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def gaps(self, within: ByteRange) -> list[ByteRange]:
        """What of these bytes is not in it."""
        found, at = list[ByteRange](), within.start
        for number in range(bisect.bisect_right(self._ends, at), len(self._starts)):
            start = self._starts[number]
            if start >= within.end:
                break
            if at < start:
                found.append(ByteRange(at, start))
            at = self._ends[number]
        if at < within.end:
            found.append(ByteRange(at, within.end))
        return found
