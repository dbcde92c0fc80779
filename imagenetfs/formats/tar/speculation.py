"""A range of a tar that one walk goes over: confirmed, or speculative.

A speculative range begins in the middle of the archive, at what looks like a header. Its members
are a guess until the confirmed walk reaches one of its headers; merge.py puts the two together.
"""

from __future__ import annotations

from bisect import bisect_left
from time import perf_counter

from imagenetfs.errors import ImagenetfsError
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.search import first_sound
from imagenetfs.formats.tar.walk import Hint, MemberColumns, ReadAt, Steps, Walk

_SEARCH = 128 << 10  # bytes of the first read of a search; a header is 55 KB away in ImageNet
_SEARCH_PIECE = 1 << 20  # bytes of a read, at most, as they grow
_SEARCH_MOST = 8 << 20  # bytes after which a search is given up

_LEAST_HOPS = 16  # members of a range that is worth a search

PROBE = 16  # hops by which latency and the members' mean size are measured
LARGE = 4 << 20  # bytes a member: above that looking for headers takes longer than hopping


def probe(walk: Walk, position: int) -> tuple[int, bool, float]:
    """Hop a few times; where that landed, whether the archive ended, and
    a read's median seconds.
    """
    seconds: list[float] = []
    read_at = walk.read_at

    def timed(offset: int, length: int) -> bytes:
        before = perf_counter()
        data = read_at(offset, length)
        seconds.append(perf_counter() - before)
        return data

    walk.read_at = timed
    try:
        position, ended = walk.until(position, walk.end, PROBE)
    finally:
        walk.read_at = read_at
    return position, ended, sorted(seconds)[len(seconds) // 2]


def find_header(
    read_at: ReadAt, begin: int, stop: int, hint: Hint | None = None
) -> Steps[int | None]:
    """The offset of the first block from ``begin`` on, in steps of 512, whose checksum holds.

    None if there is none before ``stop``, or within 8 MiB.
    """
    stop = min(stop, begin + _SEARCH_MOST)
    length = _SEARCH
    while begin < stop:
        if hint is not None:
            hint(begin, min(length, stop - begin))
            yield None
        at = first_sound(read_at(begin, min(length, stop - begin)))
        if at is not None:
            return begin + at
        begin += length
        length = min(2 * length, _SEARCH_PIECE)
    return None


class Cancelled(Exception):
    """The scan has ended, or the confirmed walk has passed this range: members come too late."""


class SplitPolicy:
    """Where an archive's ranges are cut, so that what is cut off is worth a search for a header.

    ``least``: bytes of the smallest such range. A range in which no header was found doubles it, so
    that few searches are wasted in an archive whose members turn out to be large. ``ranges``: how
    many are being walked.
    """

    __slots__ = ("least", "ranges")

    def __init__(self, span: int = BLOCK) -> None:
        self.ranges = 0
        self.expect(span)

    def expect(self, span: int) -> None:
        """``span``: bytes from header to header, as far as is known."""
        self.least = max(BLOCK, _LEAST_HOPS * span)

    def middle(self, at: int, stop: int) -> int:
        """Where to cut what is left to walk of a range, [at, stop), which is worth it."""
        return at + ((stop - at) // 2 & -BLOCK)

    def learn(self, scan_range: ScanRange) -> None:
        """Follow what was found in a range that is done, by a factor of 2 at most."""
        wanted = 2 * self.least
        if scan_range.first is not None:
            if not scan_range.count:
                return
            wanted = _LEAST_HOPS * (scan_range.landing - scan_range.first) // scan_range.count
        self.least = max(BLOCK, self.least // 2, min(2 * self.least, wanted))


class ScanRange:
    """The part of an archive from ``begin`` up to ``walk.stop``, gone over by one walk.

    Other threads read only ``first``, which is set once, ``walk.at``, the growing
    ``walk.into.headers``, and the rest after ``done`` was set; they change ``following`` and
    ``walk.stop`` where they cut a range in two, under the merger's lock.
    """

    __slots__ = (
        "begin",
        "cancelled",
        "count",
        "done",
        "first",
        "following",
        "landing",
        "read_at",
        "split_policy",
        "walk",
    )

    def __init__(self, begin: int, stop: int, walk: Walk, split_policy: SplitPolicy) -> None:
        self.begin, self.walk, self.split_policy = begin, walk, split_policy
        self.read_at = walk.read_at
        walk.stop = stop
        self.following: ScanRange | None = None
        self.first: int | None = None
        self.landing = begin  # where the hop from the last of the members landed
        self.count = 0  # of the members that stand
        self.cancelled = False
        self.done = False

    def worth(self) -> float:
        """What is left to walk, by the least that is worth cutting off; from 2 on it may be cut.

        Nothing, where a global header was met: a range would not know of it.
        """
        if self.walk.overrides:
            return 0.0
        return (self.walk.stop - self._at()) / self.split_policy.least

    def cut(self) -> ScanRange:
        """Leave about half of what is left to a range of its own; the lock is held."""
        stop = self.walk.stop
        middle = self.split_policy.middle(self._at(), stop)
        walk = Walk(self.read_at, self.walk.end, MemberColumns(), self.walk.hint, strict=True)
        scan_range = ScanRange(middle, stop, walk, self.split_policy)
        scan_range.following, self.following = self.following, scan_range
        self.walk.stop = middle
        return scan_range

    def _at(self) -> int:
        return max(self.begin, self.walk.at)

    def explore(self, read_at: ReadAt) -> Steps[None]:
        """Search for a first header and hop on from it, reading by ``read_at``."""
        walk, columns = self.walk, self.walk.into
        walk.read_at = read_at
        try:
            self.first = yield from find_header(read_at, self.begin, walk.stop, walk.hint)
            if self.first is not None:
                self.landing, _ = yield from walk.steps(self.first)
                self.count = len(columns)
        except (Cancelled, ImagenetfsError, OSError):
            # Where the failed hop began is not known, but where the last good one did.
            if len(columns):
                self.count = len(columns) - 1
                self.landing = columns.headers[self.count]
        finally:
            if walk.overrides:
                self.count = 0

    def is_confirmed(self, position: int, confirmed: list[int], since: int) -> bool:
        """Whether this range hopped from ``position``, or from a confirmed header before it.

        ``confirmed[since:]`` are those headers. Both lists are ascending, and may grow during this
        call.
        """
        if self.first is None:
            return False
        return _holds(confirmed, self.first, since) or _holds(self.walk.into.headers, position, 0)

    def give(self, position: int, into: MemberColumns) -> bool:
        """Append the members from the header at ``position`` on; this range is done.

        False, and nothing appended, if none of them begins there.
        """
        columns = self.walk.into
        index = bisect_left(columns.headers, position, 0, self.count)
        if index == self.count or columns.headers[index] != position:
            return False
        into.extend(columns, index, self.count)
        return True


def _holds(ascending: list[int], value: int, since: int) -> bool:
    index = bisect_left(ascending, value, since)
    return index < len(ascending) and ascending[index] == value
