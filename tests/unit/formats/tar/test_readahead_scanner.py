"""Parallel hopping by hints: one thread, never more reads announced than allowed, the same members
and errors as scan; and the thread that scans for others.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from imagenetfs.errors import ArchiveError, SourceReadError
from imagenetfs.formats.tar import parallel_scan
from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency, FixedConcurrency
from imagenetfs.formats.tar.parallel_scan import scan_in_ranges, scan_parallel
from imagenetfs.formats.tar.readahead_scanner import ReadaheadScannerThread, readahead_works
from imagenetfs.formats.tar.speculation import Cancelled, SplitPolicy
from imagenetfs.formats.tar.walk import MemberColumns, Walk, scan
from tests.helpers.clocks import FakeClock
from tests.helpers.scanners import Source, images, threads
from tests.helpers.tars import header


class Announced(Source):
    """A source that begins to fetch what is announced, and has it after its latency."""

    def __init__(self, sizes: list[int], *, heeds: bool = True, end: int = 1024) -> None:
        super().__init__(sizes, end=end)
        self.heeds = heeds
        self.due: dict[int, float] = {}

    def hint(self, offset: int, length: int) -> None:
        if self.heeds:
            self.due[offset] = time.monotonic() + self.seconds
            self.most = max(self.most, len(self.due))

    def read_at(self, offset: int, length: int) -> bytes:
        due = self.due.pop(offset, None)
        if due is None:
            return super().read_at(offset, length)
        time.sleep(max(0.0, due - time.monotonic()))
        self.reads += 1
        self.bytes += length
        return self.content(offset, length)


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [2, 3, 8, 64])
def test_one_thread_does_what_many_did(in_flight: int) -> None:
    source, columns, before = Announced(images(1500)), MemberColumns(), threads()

    def read_at(offset: int, length: int) -> bytes:
        assert threads() == before
        return source.read_at(offset, length)

    walk = Walk(read_at, source.end, columns, source.hint)
    end = scan_in_ranges(walk, 0, SplitPolicy(110_000), FixedConcurrency(in_flight))
    assert (end, columns.headers) == (source.behind, source.headers)
    assert in_flight / 2 <= source.most <= in_flight
    assert source.reads < 1500 * 1.2


def test_a_slow_source_that_heeds_hints_needs_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel_scan, "readahead_works", lambda *arguments: True)
    source, columns = Announced(images(500)), MemberColumns()
    scan_parallel(source.read_at, 0, source.end, columns, source.hint, in_flight=16)
    assert columns.headers == source.headers
    assert source.under_way == 0
    assert 4 < source.most <= 16


@pytest.mark.slow
def test_the_number_of_hints_follows_the_latency() -> None:
    source = Announced(images(4000))
    walk = Walk(source.read_at, source.end, MemberColumns(), source.hint)
    concurrency = AdaptiveConcurrency(
        10.0
    )  # of a lone request, which none takes as long as beside others
    scan_in_ranges(walk, 0, SplitPolicy(110_000), concurrency)
    assert walk.into.headers == source.headers
    assert 8 <= source.most <= 64


def test_where_hints_are_not_heeded_threads_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    # How that is found out, the next test says: by times, which a busy machine needs too.
    monkeypatch.setattr(parallel_scan, "readahead_works", lambda *arguments: False)
    source, columns = Announced(images(1000), heeds=False), MemberColumns()
    scan_parallel(source.read_at, 0, source.end, columns, source.hint, in_flight=8)
    assert columns.headers == source.headers
    assert 2 < source.most <= 8


@pytest.mark.parametrize("heeds", [True, False])
def test_whether_hints_are_heeded(heeds: bool) -> None:
    """An announced read is there with the first of them; any other takes its own time."""
    clock, announced, reads = FakeClock(), set[int](), list[int]()

    def read_at(offset: int, length: int) -> bytes:
        reads.append(offset)
        is_there = heeds and offset in announced and len(reads) > 4
        clock.advance(0.0 if is_there else 0.01)
        return bytes(length)

    def hint(offset: int, length: int) -> None:
        announced.add(offset)

    assert readahead_works(read_at, hint, 0, 1 << 30, clock.monotonic) is heeds
    assert len(reads) == 8
    assert not readahead_works(read_at, hint, 0, 100)


@pytest.mark.parametrize("error", [SourceReadError("gone"), OSError(5, "EIO"), ArchiveError("x")])
def test_a_read_that_fails_fails_as_in_scan(error: Exception) -> None:
    source = Announced(images(500))

    def read_at(offset: int, length: int) -> bytes:
        if offset <= source.headers[300] < offset + length:
            raise error
        return source.read_at(offset, length)

    walk = Walk(read_at, source.end, MemberColumns(), source.hint)
    with pytest.raises(type(error)) as caught:
        scan_in_ranges(walk, 0, SplitPolicy(110_000), FixedConcurrency(8))
    assert caught.value is error
    expected = MemberColumns()
    source.seconds = 0
    with pytest.raises(type(error)):
        scan(read_at, 0, source.end, expected)
    assert walk.into.headers == expected.headers == source.headers[:300]


@pytest.mark.slow
def test_an_interrupt_ends_it() -> None:
    source = Announced(images(20_000))
    timer = threading.Timer(0.15, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        scan_parallel(source.read_at, 0, source.end, MemberColumns(), source.hint, in_flight=8)
    timer.join()
    assert 1 < source.most <= 8


def test_chains_behind_the_end_are_given_up() -> None:
    source = Announced(images(2000), end=10**7)
    source.blocks[source.headers[700]] = header(b"cut off", 1 << 40)  # ranges are at work behind it
    walk = Walk(source.read_at, source.end, MemberColumns(), source.hint)
    with pytest.raises(ArchiveError, match="cut off"):
        scan_in_ranges(walk, 0, SplitPolicy(110_000), FixedConcurrency(8))
    assert walk.into.headers == source.headers[:700]


@pytest.mark.slow
@pytest.mark.parametrize("damage", [b"\0" * 512, b"\xff" * 512])
def test_chains_behind_damage_are_of_use(damage: bytes) -> None:
    source = Announced(images(2000), end=10**7)
    source.blocks[source.headers[700]] = damage
    walk = Walk(source.read_at, source.end, MemberColumns(), source.hint)
    scan_in_ranges(walk, 0, SplitPolicy(110_000), FixedConcurrency(8))
    assert walk.into.headers == source.headers[:700] + source.headers[701:]
    assert [problem.offset for problem in walk.into.problems] == [source.headers[700]]


# --- the thread that scans for others
# ---------------------------------------------------------------


def together(readahead: ReadaheadScannerThread, work: list[Callable[[], object]]) -> list[object]:
    """What each returns, or the error that it ends with."""
    found: list[object] = [None] * len(work)

    def do(number: int) -> None:
        try:
            found[number] = work[number]()
        except Exception as error:
            found[number] = error

    waiting = [threading.Thread(target=do, args=[number]) for number in range(len(work))]
    for thread in waiting:
        thread.start()
    for thread in waiting:
        thread.join()
    return found


def test_several_tars_are_scanned_in_one_thread() -> None:
    sources = [Announced(images(count)) for count in (300, 5, 900, 40, 1)]
    columns = [MemberColumns() for _ in sources]
    by: set[int] = set()

    def scanner(number: int) -> Callable[[], int]:
        source = sources[number]

        def read_at(offset: int, length: int) -> bytes:
            by.add(threading.get_ident())
            if number == 3 and source.reads == 20:
                raise SourceReadError("gone")
            return source.read_at(offset, length)

        return lambda: readahead.scan(read_at, 0, source.end, columns[number], source.hint)

    readahead = ReadaheadScannerThread(FixedConcurrency(16), 5)
    try:
        found = together(readahead, [scanner(number) for number in range(5)])
    finally:
        readahead.close()
    assert len(by) == 1
    for number in (0, 1, 2, 4):
        assert found[number] == sources[number].behind
        assert columns[number].headers == sources[number].headers
    assert isinstance(found[3], SourceReadError)
    assert columns[3].headers == sources[3].headers[:20]
    assert sum(source.most for source in sources) > 16


def test_whoever_waits_for_a_ring_that_is_closed_is_told() -> None:
    source = Announced(images(500))
    first, second = threading.Event(), threading.Event()
    both, go = threading.Event(), threading.Event()

    def scan(begun: threading.Event, awaited: threading.Event) -> object:
        def read_at(offset: int, length: int) -> bytes:
            begun.set()
            awaited.wait()  # the ring goes on no earlier
            return source.read_at(offset, length)

        return readahead.scan(read_at, 0, source.end, MemberColumns(), source.hint)

    def later() -> object:
        first.wait()
        return scan(second, go)

    def close() -> None:
        first.wait()
        while readahead._asked.empty():
            os.sched_yield()
        both.set()
        second.wait()
        closer = threading.Thread(target=readahead.close)
        closer.start()
        while readahead._asked.empty():
            os.sched_yield()
        go.set()
        closer.join()

    readahead = ReadaheadScannerThread(FixedConcurrency(4), 2)
    found = together(readahead, [lambda: scan(first, both), later, close])
    assert [type(error) for error in found] == [Cancelled] * 2 + [type(None)]
    with pytest.raises(Cancelled):
        readahead.scan(source.read_at, 0, source.end, MemberColumns(), source.hint)


def test_a_scan_that_has_not_begun_is_told_too() -> None:
    source, begun, go = Announced(images(2000)), threading.Event(), threading.Event()

    def read_at(offset: int, length: int) -> bytes:
        begun.set()
        go.wait()
        return source.read_at(offset, length)

    def scan() -> object:
        return readahead.scan(read_at, 0, source.end, MemberColumns(), source.hint)

    def later() -> object:
        begun.wait()
        return scan()

    def close() -> None:
        begun.wait()
        while readahead._asked.qsize() < 2:  # the ring waits for its first read
            os.sched_yield()
        closer = threading.Thread(target=readahead.close)
        closer.start()
        while readahead._asked.qsize() < 3:
            os.sched_yield()
        go.set()
        closer.join()

    readahead = ReadaheadScannerThread(FixedConcurrency(8), 3)
    found = together(readahead, [scan, later, later, close])
    assert [type(error) for error in found] == [Cancelled] * 3 + [type(None)]


def test_reads_of_those_who_do_not_wait_are_counted_in() -> None:
    source = Announced(images(2000))
    readahead = ReadaheadScannerThread(
        FixedConcurrency(8), 6
    )  # five others may read something at the same time
    try:
        readahead.scan(source.read_at, 0, source.end, MemberColumns(), source.hint)
    finally:
        readahead.close()
    assert 2 <= source.most <= 3
