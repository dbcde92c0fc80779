"""A tar that is a sparse member of another one: where the bytes that its own reader sees are in the
file.

A sparse member's runs of data stand back to back in the archive; what lies between them is zeros
that are stored nowhere. So the offsets that a walk over such a tar finds are not the file's: each
goes through the runs, and a member of it that has holes in it is sparse itself.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate

from imagenetfs.formats.tar.walk import MemberColumns, ReadAt

Runs = tuple[tuple[int, int], ...]


class RunMap:
    """The runs of a sparse member of ``size`` bytes whose data begin at ``start`` in the file."""

    def __init__(self, start: int, runs: Runs, size: int) -> None:
        self.size = size
        self._runs = runs
        self._begins = [begin for begin, _ in runs]
        stored = accumulate((length for _, length in runs), initial=start)
        self._places = list(stored)  # where each run stands in the file, and where they end

    def read_at(self, read_at: ReadAt) -> ReadAt:
        """What reads the member, holes and all, by what reads the file."""

        def read(offset: int, length: int) -> bytes:
            length = max(0, min(length, self.size - offset))
            data = bytearray(length)
            for low, high, place in self._within(offset, offset + length):
                found = read_at(place, high - low)
                data[low - offset : low - offset + len(found)] = found
                if len(found) < high - low:  # the file ends
                    return bytes(data[: low - offset + len(found)])
            return bytes(data)

        return read

    def _within(self, begin: int, end: int) -> Iterator[tuple[int, int, int]]:
        """What of [begin, end) is stored: (from, to, where that is in the file)."""
        at = max(0, bisect_right(self._begins, begin) - 1)
        while at < len(self._runs) and self._begins[at] < end:
            first, length = self._runs[at]
            low, high = max(begin, first), min(end, first + length)
            if low < high:
                yield low, high, self._places[at] + low - first
            at += 1

    def data_from(self, offset: int) -> tuple[int, int]:
        """The next stretch of data that does not end before ``offset``: [from, to); at the end,
        nothing."""
        for low, high, _ in self._within(offset, self.size):
            return low, high
        return self.size, self.size

    def place(self, offset: int) -> int:
        """Where a byte is in the file; of one in a hole, where the next one that is stored is."""
        for _, _, place in self._within(offset, self.size):
            return place
        return self._places[-1]

    def _runs_of(self, offset: int, length: int) -> Runs:
        """What of ``length`` bytes from ``offset`` on is stored, relative to ``offset``."""
        found: list[tuple[int, int]] = []
        for low, high, _ in self._within(offset, offset + length):
            begin = low - offset
            if found and sum(found[-1]) == begin:
                found[-1] = found[-1][0], found[-1][1] + high - low
            else:
                found.append((begin, high - low))
        return tuple(found)

    def translate(self, columns: MemberColumns) -> None:
        """Turn the offsets that a walk over the member found into the file's own."""
        for position, offset in enumerate(columns.offsets):
            size = columns.sizes[position]
            runs = columns.sparse.get(position, ((0, size),) if size else ())
            stored = self._runs_of(offset, sum(length for _, length in runs))
            there = tuple(_composed(runs, stored))
            if there != runs or position in columns.sparse:
                columns.sparse[position] = there
            columns.offsets[position] = self.place(offset)
            columns.headers[position] = self.place(columns.headers[position])


def _composed(runs: Runs, stored: Runs) -> Iterator[tuple[int, int]]:
    """The parts of ``runs`` that are there: their data stand back to back in what ``stored`` is the
    map of."""
    behind, at = 0, 0
    for begin, length in runs:
        first, behind = behind, behind + length
        while at < len(stored) and sum(stored[at]) <= first:
            at += 1
        here = at
        while here < len(stored) and stored[here][0] < behind:
            low, high = max(first, stored[here][0]), min(behind, sum(stored[here]))
            yield begin + low - first, high - low
            here += 1
