"""Parallel hopping's threads and requests: as many as may be, none left, none where they are of no
use; and an interrupt ends them."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial

import pytest

from imagenetfs.errors import ArchiveError, SourceReadError
from imagenetfs.formats.tar import parallel_scan
from imagenetfs.formats.tar.parallel_scan import scan_parallel
from imagenetfs.formats.tar.speculation import probe
from imagenetfs.formats.tar.walk import MemberColumns, Walk, scan
from tests.helpers.scanners import Source, images, threads
from tests.helpers.tars import header


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """``measured(seconds)``: the latency of the source that is found, however busy this machine."""

    def set_latency(seconds: float) -> None:
        def told(walk: Walk, position: int) -> tuple[int, bool, float]:
            return (*probe(walk, position)[:2], seconds)

        monkeypatch.setattr(parallel_scan, "probe", told)

    return set_latency


@pytest.mark.slow
def test_most_members_come_from_chains_and_few_reads_are_in_vain() -> None:
    source = Source(images(3000))
    columns = MemberColumns()
    end = scan_parallel(source.read_at, 0, source.end, columns, in_flight=32)
    assert (end, columns.headers) == (source.behind, source.headers)
    assert 8 < source.most <= 32
    assert source.confirmed < 3000 / 8
    assert source.reads < 3000 * 1.2


@pytest.mark.parametrize("in_flight", [2, 3, 8])
def test_no_more_requests_than_allowed(in_flight: int) -> None:
    source = Source(images(400))
    scan_parallel(source.read_at, 0, source.end, MemberColumns(), in_flight=in_flight)
    assert 1 < source.most <= in_flight


def test_one_request_at_a_time_is_a_scan() -> None:
    source = Source(images(200), seconds=0.0)
    scan_parallel(source.read_at, 0, source.end, MemberColumns(), in_flight=1)
    assert (source.most, source.reads) == (1, 202)  # one for the end, one for what is behind it


@pytest.mark.slow
def test_the_number_of_requests_follows_the_latency(measured: Callable[[float], None]) -> None:
    measured(10.0)  # of a lone request, which none takes as long as beside others
    source = Source(images(3000))
    scan_parallel(source.read_at, 0, source.end, MemberColumns())
    assert 4 < source.most <= 16


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sizes", "seconds"),
    [
        (images(70), 0.001),  # below 8 MiB
        ([9_000_000] * 60, 0.001),  # few members
        ([9_000_000] * 100, 0.001),  # large members: looking for their headers takes longer
        (images(2000), 0.0),  # a source that answers at once
    ],
)
def test_where_threads_are_of_no_use_there_are_none(
    sizes: list[int], seconds: float, measured: Callable[[float], None]
) -> None:
    measured(seconds)
    source = Source(sizes, seconds=0.0)
    columns = MemberColumns()
    assert scan_parallel(source.read_at, 0, source.end, columns, in_flight=16) == source.behind
    assert columns.headers == source.headers
    assert (source.confirmed, source.reads) == (len(sizes) + 2, len(sizes) + 2)


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.0, 0.001])
@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 80, 150, 300])
@pytest.mark.parametrize("end", [1024, 512, 0, -300, -512, -600])
def test_however_it_ends_it_is_a_scan(
    monkeypatch: pytest.MonkeyPatch, seconds: float, count: int, end: int
) -> None:
    monkeypatch.setattr(parallel_scan, "MINIMUM", 0)
    source = Source([700] * count, seconds=0.0, end=end if count else 1024)
    found = []
    for walk in (scan, partial(scan_parallel, in_flight=4)):
        columns, outcome = MemberColumns(), ""
        try:
            outcome = str(walk(source.read_at, 0, source.end, columns))
        except ArchiveError as error:
            outcome = str(error)
        found.append((columns.headers, columns.sizes, outcome))
        source.seconds = seconds
    assert found[0] == found[1]


@pytest.mark.slow
def test_small_members_first_and_large_ones_later() -> None:
    # By the first ones there would be 600 ranges; looking for the large ones' headers is soon
    # given up, stretch by stretch.
    source = Source([1000] * 400 + [40 << 20] * 200)
    columns = MemberColumns()
    scan_parallel(source.read_at, 0, source.end, columns, in_flight=8)
    assert columns.headers == source.headers
    assert source.bytes < 600 << 20
    assert source.reads < 3000


def test_large_members_first_and_small_ones_later() -> None:
    source = Source([2 << 20] * 100 + [1000] * 500)
    columns = MemberColumns()
    scan_parallel(source.read_at, 0, source.end, columns, in_flight=16)
    assert columns.headers == source.headers


def test_progress_is_reported_to_the_calling_thread_and_rises_to_the_end() -> None:
    for sizes, seconds in ((images(500), 0.001), (images(500), 0.0), ([5], 0.0)):
        source = Source(sizes, seconds=seconds)
        seen: list[int] = []

        def progress(done: int, seen: list[int] = seen) -> None:
            assert threading.current_thread() is threading.main_thread()
            seen.append(done)

        scan_parallel(
            source.read_at, 0, source.end, MemberColumns(), in_flight=4, progress=progress
        )
        assert seen == sorted(seen)
        assert seen[-1] == source.behind


# --- errors and interrupts
# --------------------------------------------------------------------------


@pytest.mark.parametrize("error", [SourceReadError("gone"), OSError(5, "EIO"), ArchiveError("x")])
def test_a_read_that_fails_fails_as_in_scan(error: Exception) -> None:
    source = Source(images(500))

    def read_at(offset: int, length: int) -> bytes:
        if offset <= source.headers[300] < offset + length:
            raise error
        return source.read_at(offset, length)

    columns, expected = MemberColumns(), MemberColumns()
    with pytest.raises(type(error)) as caught:
        scan_parallel(read_at, 0, source.end, columns, in_flight=8)
    assert caught.value is error
    source.seconds = 0
    with pytest.raises(type(error)):
        scan(read_at, 0, source.end, expected)
    assert columns.headers == expected.headers == source.headers[:300]


def test_a_read_that_fails_once_in_a_chain_costs_nothing_but_time() -> None:
    source = Source(images(500))
    failed: set[int] = set()

    def read_at(offset: int, length: int) -> bytes:
        if threading.current_thread() is not source.main and offset not in failed:
            failed.add(offset)
            raise OSError(5, "EIO")
        return source.read_at(offset, length)

    columns = MemberColumns()
    scan_parallel(read_at, 0, source.end, columns, in_flight=8)
    assert columns.headers == source.headers


@pytest.mark.slow
@pytest.mark.parametrize("error", [ArchiveError("broken"), KeyboardInterrupt()])
def test_no_thread_is_left_at_the_moment_of_return(error: BaseException) -> None:
    source = Source(images(2000))
    before = threads()

    def read_at(offset: int, length: int) -> bytes:
        if threading.current_thread() is source.main:
            if source.most >= 4:
                raise error
        else:
            time.sleep(0.05)
        return source.read_at(offset, length)

    with pytest.raises(type(error)):
        scan_parallel(read_at, 0, source.end, MemberColumns(), in_flight=8)
    assert threads() == before

    source = Source(images(2000), end=10**7)
    source.blocks[source.headers[700]] = header(b"cut off", 1 << 40)  # ranges are at work behind it
    columns = MemberColumns()
    with pytest.raises(ArchiveError, match="cut off"):
        scan_parallel(source.read_at, 0, source.end, columns, in_flight=8)
    assert threads() == before
    assert columns.headers == source.headers[:700]


@pytest.mark.slow
def test_an_interrupt_ends_all_threads() -> None:
    source = Source(images(20_000))
    timer = threading.Timer(0.15, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        scan_parallel(source.read_at, 0, source.end, MemberColumns(), in_flight=8)
    timer.join()
    assert 1 < source.most <= 8
    reads = source.reads
    time.sleep(0.01)
    assert source.reads == reads


def test_an_interrupt_does_not_wait_for_a_server_that_does_not_answer() -> None:
    source = Source(images(2000))
    answer = threading.Event()

    def read_at(offset: int, length: int) -> bytes:
        if source.reads > 200 and threading.current_thread() is not source.main:
            answer.wait()
        return source.read_at(offset, length)

    timer = threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT])
    timer.start()
    with pytest.raises(KeyboardInterrupt):  # else it hangs, for the test's time-out to end
        scan_parallel(read_at, 0, source.end, MemberColumns(), in_flight=8)
    answer.set()
    for thread in threading.enumerate():
        if thread.name == "tar-scan" or thread is timer:
            thread.join()


def test_without_threads_it_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    source = Source(images(500))
    monkeypatch.setattr(threading.Thread, "start", refuse)
    columns = MemberColumns()
    scan_parallel(source.read_at, 0, source.end, columns, in_flight=8)
    assert columns.headers == source.headers
    assert source.most == 1
