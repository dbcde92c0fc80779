"""One chain of a tar cut into stretches: a walk that begins at what looks like a header.

What it finds is a guess until the true walk comes by; chains.py puts the two together.
"""

from __future__ import annotations

import threading
from bisect import bisect_left

from imagenetfs.errors import ImagenetfsError
from imagenetfs.formats.tar import MemberColumns, ReadAt, Walk
from imagenetfs.formats.tar_header import BLOCK, is_sound

_SEARCH = 128 << 10  # bytes of the first read of a search; a header is 55 KB away in ImageNet
_SEARCH_PIECE = 1 << 20  # bytes of a read, at most, as they grow
_SEARCH_MOST = 8 << 20  # bytes after which a search is given up


def find_header(read_at: ReadAt, begin: int, stop: int) -> int | None:
    """The offset of the first block from ``begin`` on, in steps of 512, whose checksum holds.

    None if there is none before ``stop``, or within 8 MiB.
    """
    stop = min(stop, begin + _SEARCH_MOST)
    length = _SEARCH
    while begin < stop:
        piece = read_at(begin, min(length, stop - begin))
        for at in range(0, len(piece) - BLOCK + 1, BLOCK):
            # Most blocks are told from headers by eight bytes.
            if piece[at + 148 : at + 156].strip(b" \0").isdigit() and is_sound(
                piece[at : at + BLOCK]
            ):
                return begin + at
        begin += length
        length = min(2 * length, _SEARCH_PIECE)
    return None


class Cancelled(Exception):
    """The truth has passed this chain: whatever it finds now comes too late."""


class Chain:
    """The members of the stretch [begin, stop), from the first thing that looks like a header.

    Run by the one thread that claims it. Only ``first``, which is set once, and the growing
    ``columns.headers`` are looked at by another before ``done`` is set.
    """

    __slots__ = (
        "_claim",
        "begin",
        "cancelled",
        "columns",
        "count",
        "done",
        "first",
        "landing",
        "stop",
    )

    def __init__(self, begin: int, stop: int) -> None:
        self.begin, self.stop = begin, stop
        self.columns = MemberColumns()
        self.first: int | None = None
        self.landing = begin  # where the hop from the last of the members landed
        self.count = 0  # of the members that stand
        self.cancelled = False
        self.done = threading.Event()
        self._claim = threading.Lock()

    def claim(self) -> bool:
        """True for the first who asks: it is theirs to walk."""
        return self._claim.acquire(blocking=False)

    def run(self, read_at: ReadAt, end: int) -> None:
        """Look for a first header, and hop on from it."""
        walk = Walk(read_at, end, self.columns)
        try:
            self.first = find_header(read_at, self.begin, self.stop)
            if self.first is not None:
                self.landing, _ = walk.until(self.first, self.stop)
                self.count = len(self.columns)
        except (Cancelled, ImagenetfsError, OSError):
            # Where the failed hop began is not known, but where the last good one did.
            if len(self.columns):
                self.count = len(self.columns) - 1
                self.landing = self.columns.headers[self.count]
        finally:
            if walk.overrides:
                self.count = 0
            self.done.set()

    def is_true(self, position: int, truth: list[int], since: int) -> bool:
        """Whether this chain hopped from ``position`` or a header of the true walk's before it.

        ``truth[since:]`` are those headers. Both lists may grow meanwhile, and are ascending.
        """
        if self.first is None:
            return False
        return _holds(truth, self.first, since) or _holds(self.columns.headers, position, 0)

    def give(self, position: int, into: MemberColumns) -> bool:
        """Append the members from the header at ``position`` on, when all are there.

        False, and nothing appended, if none of them begins there.
        """
        self.done.wait()
        index = bisect_left(self.columns.headers, position, 0, self.count)
        if index == self.count or self.columns.headers[index] != position:
            return False
        into.extend(self.columns, index, self.count)
        return True


def _holds(ascending: list[int], value: int, since: int) -> bool:
    index = bisect_left(ascending, value, since)
    return index < len(ascending) and ascending[index] == value


class Cutter:
    """Where the next chain begins and stops, so that chains are of about ``hops`` members each.

    A stretch in which no header was found doubles the next one, so that in an archive whose
    members turn out to be large few searches are made in vain.
    """

    __slots__ = ("_begin", "_end", "_hops", "_stretch")

    def __init__(self, begin: int, end: int, hops: int, stretch: int) -> None:
        self._begin, self._end, self._hops = begin, end, hops
        self._stretch = max(BLOCK, stretch & -BLOCK)

    def cut(self) -> Chain | None:
        """The next chain, or None if the last one reached the end."""
        if self._begin >= self._end:
            return None
        begin = self._begin
        self._begin = min(begin + self._stretch, self._end)
        return Chain(begin, self._begin)

    def skip(self, position: int) -> None:
        """Begin no chain before ``position``, a header's."""
        self._begin = max(self._begin, position)

    def learn(self, chain: Chain) -> None:
        """Set the next stretch by what was found in one that is done, by a factor of 2 at most."""
        wanted = 2 * self._stretch
        if chain.first is not None:
            if not chain.count:
                return
            wanted = self._hops * (chain.landing - chain.first) // chain.count
        wanted = min(2 * self._stretch, max(self._stretch // 2, wanted))
        self._stretch = max(BLOCK, wanted & -BLOCK)
