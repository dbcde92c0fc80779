"""The true walk takes over what ranges have found, whoever is ahead: always what a lone scan finds.

The merger here does everything in one thread, at the moments that a test chooses.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any, Generic, TypeVar

import pytest

from imagenetfs.errors import ArchiveError, SourceReadError
from imagenetfs.formats.tar.concurrency import FixedConcurrency
from imagenetfs.formats.tar.merge import ScanMerger
from imagenetfs.formats.tar.speculation import LARGE, PROBE, ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import MemberColumns, ReadAt, Steps, Walk, scan
from tests.helpers.plain_tar import BLOCK, END, header_of, pad, tar_of_sizes

T = TypeVar("T")

SIZES = [(911 * n) % 3000 for n in range(120)]
PLAIN, HEADERS = tar_of_sizes(SIZES)


def jumped_over() -> bytes:
    """A member full of headers that lead past the global header behind it to a true one."""
    before, after = tar_of_sizes([1500] * 20)[0][: -len(END)], tar_of_sizes([1500] * 60)[0]
    trap, payload = 150, b"12 mtime=99\n"
    begin = len(before) + BLOCK
    target = begin + trap * BLOCK + 2 * BLOCK
    lead = [header_of("false", target - begin - (n + 1) * BLOCK) for n in range(trap)]
    said = header_of("g", len(payload), kind=b"g") + pad(payload)
    data = before + header_of("trap", trap * BLOCK) + b"".join(lead) + said
    assert len(data) == target
    return data + after


class OneThread(ScanMerger):
    """Cuts a range wherever one is worth it. It is walked to its end at once; or as far as its
    first header, and on when it is waited for; or a hop for each of the true walk's."""

    def __init__(self, read_at: ReadAt, when: str) -> None:
        super().__init__(FixedConcurrency(1))
        self.read_at = read_at
        self.when = when
        self.ranges: list[ScanRange] = []
        self.waited = 0
        self._walks: dict[ScanRange, Generator[None, None, None]] = {}

    def _do(self, steps: Steps[T]) -> T:
        for awaited in (confirmed := Driven(steps)):
            if awaited is None:
                self._go_on()
            else:
                self.waited += 1
                self._advance(awaited, lambda: False)
        return confirmed.result

    def _go_on(self) -> None:
        with self._changed:
            scan_range = self._cut()
        if scan_range is not None:
            self.ranges.append(scan_range)
            walk = Driven(scan_range.explore(self.read_at))
            self._walks[scan_range] = (None for _ in walk)
            if self.when == "at once":
                self._advance(scan_range, lambda: False)
            elif self.when == "when waited for":
                self._advance(scan_range, lambda: scan_range.first is not None)
        if self.when == "in turn":
            for other in list(self._walks):
                self._advance(other, lambda: True)

    def _advance(self, scan_range: ScanRange, is_far_enough: Callable[[], bool]) -> None:
        for _ in self._walks[scan_range]:
            if is_far_enough():
                return
        del self._walks[scan_range]
        with self._changed:
            self._end(scan_range)


class Driven(Generic[T]):
    """The steps of a walk, hops within them too; ``result`` when they are over."""

    result: T

    def __init__(self, steps: Steps[T]) -> None:
        self._steps = steps

    def __iter__(self) -> Iterator[Any]:
        sent: Any = None
        error: Exception | None = None
        while True:
            try:
                awaited: Any = self._steps.throw(error) if error else self._steps.send(sent)
            except StopIteration as end:
                self.result = end.value
                return
            sent = error = None
            if awaited is None or isinstance(awaited, ScanRange):
                yield awaited
                continue
            inner: Driven[Any] = Driven(awaited)
            try:
                yield from inner
                sent = inner.result
            except Exception as caught:
                error = caught


def reader(data: bytes) -> ReadAt:
    return lambda offset, length: data[offset : offset + length]


def columns_of(into: MemberColumns) -> dict[str, object]:
    return {name: getattr(into, name) for name in into.__slots__}


Outcome = tuple[dict[str, object], int | str]


def outcome(walk: Callable[[MemberColumns], int]) -> Outcome:
    into = MemberColumns()
    try:
        end: int | str = walk(into)
    except (ArchiveError, SourceReadError) as error:
        end = str(error)
    return columns_of(into), end


def lone(data: bytes, read_at: ReadAt | None = None) -> Outcome:
    return outcome(lambda into: scan(read_at or reader(data), 0, len(data), into))


def merged(data: bytes, when: str, read_at: ReadAt | None = None) -> tuple[Outcome, OneThread]:
    merger = OneThread(read_at or reader(data), when)

    def walk(into: MemberColumns) -> int:
        true_walk = Walk(merger.read_at, len(data), into, lambda offset, length: None)
        return merger.merge(true_walk, 0, SplitPolicy())

    return outcome(walk), merger


WHEN = pytest.mark.parametrize("when", ["at once", "when waited for", "in turn"])


@pytest.mark.slow
@WHEN
@pytest.mark.parametrize(
    "data",
    [
        PLAIN,
        PLAIN[: -len(END)],
        PLAIN + END * 9,
        PLAIN[: HEADERS[70] + 100],
        PLAIN[: HEADERS[60]] + b"\xff" * 512 + PLAIN[HEADERS[60] :],
        PLAIN[: HEADERS[60]] + END + PLAIN[HEADERS[60] :],
        tar_of_sizes([5000] * 40, header_of("false", 3000))[0],
        tar_of_sizes([5000] * 40, header_of("false", 8**11 - 1))[0],
        tar_of_sizes([4096] * 60, header_of("false", 0))[0],
        tar_of_sizes([5000] * 40, END)[0],
        PLAIN[: HEADERS[50]]
        + header_of("g", 12, kind=b"g")
        + pad(b"12 mtime=99\n")
        + PLAIN[HEADERS[50] :],
        jumped_over(),
        END,
    ],
    ids=[
        "plain",
        "no end marker",
        "more behind the end",
        "cut off",
        "damage in the middle",
        "an end in the middle",
        "members hold headers",
        "members hold headers that lead out",
        "members hold nothing but headers",
        "members hold end markers",
        "a global header",
        "a global header that ranges jump over",
        "empty",
    ],
)
def test_it_finds_what_a_lone_scan_finds(data: bytes, when: str) -> None:
    found, merger = merged(data, when)
    assert found == lone(data)
    assert merger._open == []
    assert all(scan_range.done or scan_range.cancelled for scan_range in merger.ranges)


@WHEN
def test_most_members_come_from_chains(when: str) -> None:
    """Else the whole of it would be for nothing."""
    confirmed: list[int] = []
    merger = OneThread(reader(PLAIN), when)

    def read_at(offset: int, length: int) -> bytes:
        confirmed.append(offset)
        return PLAIN[offset : offset + length]

    into = MemberColumns()
    merger.merge(Walk(read_at, len(PLAIN), into, lambda *what: None), 0, SplitPolicy())
    assert into.headers == HEADERS
    assert len(merger.ranges) > 1
    by_ranges = sum(scan_range.count for scan_range in merger.ranges if scan_range.done)
    assert by_ranges > len(HEADERS) / 2
    assert (merger.waited > 0) is (when != "at once")


@WHEN
def test_a_read_that_fails_in_a_chain_alone_costs_nothing(when: str) -> None:
    merger = OneThread(reader(PLAIN), when)

    def fail(offset: int, length: int) -> bytes:
        raise SourceReadError("not this one")

    merger.read_at = fail
    into = MemberColumns()
    merger.merge(Walk(reader(PLAIN), len(PLAIN), into, lambda *what: None), 0, SplitPolicy())
    assert into.headers == HEADERS
    assert merger.ranges


@WHEN
def test_a_read_that_fails_fails_where_a_lone_scan_does(when: str) -> None:
    def read_at(offset: int, length: int) -> bytes:
        if offset >= HEADERS[90]:
            raise SourceReadError("the server is gone")
        return PLAIN[offset : min(offset + length, HEADERS[90])]

    found, merger = merged(PLAIN, when, read_at)
    assert found == lone(PLAIN, read_at)
    assert found[1] == "the server is gone"
    assert merger._open == []


@WHEN
def test_a_walk_may_have_members_of_another_archive_already(when: str) -> None:
    merger, into = OneThread(reader(PLAIN), when), MemberColumns()
    for _ in range(2):
        merger.merge(Walk(merger.read_at, len(PLAIN), into, lambda *what: None), 0, SplitPolicy())
    assert into.headers == [*HEADERS, *HEADERS]


def test_progress_rises() -> None:
    merger, told = OneThread(reader(PLAIN), "at once"), list[int]()
    walk = Walk(merger.read_at, len(PLAIN), MemberColumns(), lambda *what: None)
    merger.merge(walk, 0, SplitPolicy(), told.append)
    assert len(told) > 1
    assert told == sorted(told)
    assert told[-1] <= len(PLAIN)


def test_chains_that_are_under_way_are_counted_out_when_they_end() -> None:
    merger, policy = OneThread(reader(PLAIN), "at once"), SplitPolicy()
    walk = Walk(merger.read_at, len(PLAIN), MemberColumns(), lambda *what: None)
    merger.merge(walk, 0, policy)
    assert merger.ranges
    assert policy.ranges == 0


# --- a whole archive ------------------------------------------------------------------------------


class Expecting(SplitPolicy):
    """Notes what is expected of it."""

    def __init__(self) -> None:
        super().__init__()
        self.expected: list[int] = []

    def expect(self, span: int) -> None:
        super().expect(span)
        if hasattr(self, "expected"):
            self.expected.append(span)


def scanned(
    data: bytes, read_at: ReadAt, length: int
) -> tuple[MemberColumns, Expecting, OneThread]:
    merger, policy, into = OneThread(read_at, "at once"), Expecting(), MemberColumns()
    walk = Walk(read_at, length, into, lambda *what: None)
    merger._do(merger.scanning(walk, 0, policy))
    return into, policy, merger


def test_the_first_members_say_how_large_the_others_are() -> None:
    into, policy, merger = scanned(PLAIN, reader(PLAIN), len(PLAIN))
    assert into.headers == HEADERS
    assert policy.expected == [HEADERS[PROBE] // PROBE]
    assert merger.ranges


def test_large_members_are_hopped_over_alone() -> None:
    """To look for a header among them takes longer than to hop."""
    step = BLOCK + LARGE
    blocks = {n * step: header_of(str(n), LARGE) for n in range(40)}
    length = 40 * step + len(END)

    def read_at(offset: int, count: int) -> bytes:
        return blocks.get(offset, bytes(count))[:count]

    into, policy, merger = scanned(b"", read_at, length)
    assert into.headers == list(blocks)
    assert policy.expected == []
    assert merger.ranges == []


def test_an_archive_shorter_than_the_probe() -> None:
    data, headers = tar_of_sizes([1, 2])
    into, policy, _ = scanned(data, reader(data), len(data))
    assert into.headers == headers
    assert policy.expected == []


def test_nothing_is_no_archive() -> None:
    with pytest.raises(ArchiveError):
        scanned(b"", reader(b""), 0)
