"""What requests' times say of a source: how much a miss shall fetch, and whether requests queue."""

from __future__ import annotations

import contextlib

import pytest

from imagenetfs.cache.source_pace import LARGEST_RANGE, SourcePace
from tests.helpers.clocks import FakeClock

MIB = 1 << 20


class Pipe:
    """A source of ``latency`` seconds a request and ``bandwidth`` bytes a second for all."""

    def __init__(self, latency: float, bandwidth: float) -> None:
        self.clock = FakeClock()
        self.pace = SourcePace(self.clock)
        self.latency, self.bandwidth = latency, bandwidth

    def ask(self, length: int, times: int = 1, queue: float = 0.0) -> None:
        for _ in range(times):
            with self.pace.request(length):
                self.clock.advance(self.latency + length / self.bandwidth + queue)


@pytest.mark.parametrize(
    ("latency", "bandwidth", "size"),
    [
        (0.001, 1e9, MIB),
        (0.005, 1e9, MIB),
        (0.001, 400e6, MIB),
        (0.001, 200e6, MIB // 2),
        (0.001, 100e6, MIB // 4),
        (0.0002, 250e6, 0),
        (0.0001, 100e6, 0),
        (0.01, 10e6, MIB // 4),
    ],
)
def test_a_range_is_what_a_source_sends_in_some_latencies(
    latency: float, bandwidth: float, size: int
) -> None:
    one = Pipe(latency, bandwidth)
    one.ask(100_000, 4)
    assert one.pace.range_size == LARGEST_RANGE, "until its bandwidth is known"
    one.ask(LARGEST_RANGE, 4)
    assert one.pace.range_size == size


def test_nothing_is_widened_before_a_small_request_was_timed() -> None:
    one = Pipe(0.001, 1e9)
    assert one.pace.range_size == 0
    one.ask(100_000, 3)
    assert one.pace.range_size == 0
    with contextlib.suppress(ZeroDivisionError), one.pace.request(100_000):
        raise ZeroDivisionError
    assert one.pace.range_size == 0, "what failed tells nothing"
    one.ask(100_000)
    assert one.pace.range_size == LARGEST_RANGE


def test_a_late_answer_changes_nothing() -> None:
    one = Pipe(0.001, 1e9)
    one.ask(100_000, 4)
    one.ask(MIB, 1, queue=2.0)
    assert one.pace.range_size == MIB
    one.ask(MIB, 3)
    one.ask(100_000, 5, queue=0.5)
    one.ask(MIB, 5, queue=0.5)
    assert one.pace.range_size == MIB


def test_a_source_that_is_full_gets_small_requests_until_it_is_not() -> None:
    one = Pipe(0.001, 1e9)
    one.ask(100_000, 4)
    one.ask(MIB, 4)
    one.clock.advance(30)
    one.ask(MIB, 4, queue=0.5)
    assert one.pace.range_size == 0
    one.clock.advance(30)
    assert one.pace.range_size == MIB, "it is tried again"
    one.ask(MIB, 4)
    assert one.pace.range_size == MIB


def test_readers_who_are_under_way_now_and_then_are_no_full_source() -> None:
    one = Pipe(0.001, 1e9)
    one.ask(100_000, 4)
    for turn in range(12):  # every third request shares with another
        shares = turn % 3 == 0
        one.pace._slots[0] = one.clock.monotonic_ns() if shares else 0
        one.ask(MIB, 1, queue=0.001 if shares else 0.0)
    assert one.pace.range_size == MIB


@pytest.mark.parametrize(
    ("readers", "bandwidth", "size"), [(3, 16e9, MIB), (3, 100e6, 0), (15, 1e9, 0)]
)
def test_where_readers_fill_the_source_no_more_is_fetched(
    readers: int, bandwidth: float, size: int
) -> None:
    """Each has its share: what one has beyond what it asks for, another waits for."""
    one = Pipe(0.001, bandwidth)
    one.ask(100_000, 4)
    for slot in range(readers):
        one.pace._slots[4 * slot] = one.clock.monotonic_ns() + 10**9
    one.bandwidth = bandwidth / (readers + 1)
    one.ask(MIB, 40)
    assert one.pace.range_size == size


def test_what_a_killed_process_had_under_way_counts_no_more() -> None:
    one = Pipe(0.001, 1e9)
    one.pace._slots[0] = one.clock.monotonic_ns()
    assert one.pace._under_way(one.clock.monotonic_ns()) == 1
    one.clock.advance(11)
    assert one.pace._under_way(one.clock.monotonic_ns()) == 0


def test_delays_are_by_what_a_request_takes_alone() -> None:
    one = Pipe(0.001, 1e9)
    assert one.pace.alone_ns(MIB) == 0
    assert one.pace.delays_since(0) is None
    one.ask(100_000, 4)
    one.ask(MIB, 4)
    alone = 0.001 + MIB / 1e9
    assert one.pace.alone_ns(MIB) == pytest.approx(alone * 1e9, rel=0.01)
    then = one.clock.monotonic_ns()
    assert one.pace.delays_since(then) is None, "none has ended since"
    one.ask(MIB, 1, queue=alone)
    found = one.pace.delays_since(then)
    assert found is not None
    assert found.requests == 1
    assert found.least == found.mean == pytest.approx(1.0, rel=0.01)
