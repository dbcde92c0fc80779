"""The stager's window: it grows while requests take no longer than alone, and is cut where they
queue.
"""

from __future__ import annotations

import threading

import pytest

from imagenetfs.cache.scavenger import LEAST, TARGET, CongestionWindow, Scavenger
from imagenetfs.cache.source_pace import Delay
from tests.helpers.clocks import FakeClock

QUEUED = 3 * TARGET


def window(most: int = 8) -> tuple[CongestionWindow, FakeClock]:
    clock = FakeClock()
    return CongestionWindow(most, clock), clock


def note(one: CongestionWindow, clock: FakeClock, *delays: float, took: float = 0.002) -> None:
    for delay in delays:
        clock.advance(2 * took)
        one.note(delay, took)


def test_it_doubles_until_requests_queue_and_creeps_from_then_on() -> None:
    one, clock = window(64)
    sizes = []
    for _ in range(4):
        note(one, clock, 0.0)
        sizes.append(one.size)
    assert sizes == [2, 4, 8, 16]
    note(one, clock, QUEUED)
    assert one.size == 8
    note(one, clock, *[0.0] * 8)
    assert 8.5 < one.size < 9.1, "about one more a round"


def test_it_has_no_more_than_its_streams() -> None:
    one, clock = window(4)
    note(one, clock, *[0.0] * 50)
    assert one.size == 4


def test_on_a_full_source_it_hardly_runs_and_comes_back_when_it_is_not() -> None:
    one, clock = window()
    note(one, clock, *[QUEUED] * 20)
    assert one.size == LEAST
    note(one, clock, *[0.0] * 5)
    assert one.size == pytest.approx(1.0), "below one request it doubles"
    note(one, clock, *[0.0] * 100)
    assert one.size == 8


def test_the_more_they_queue_the_deeper_it_is_cut_and_never_by_more_than_half() -> None:
    for delay, left in ((1.2 * TARGET, 0.8), (1.5 * TARGET, 0.5), (9.0, 0.5)):
        one, clock = window()
        note(one, clock, delay)
        assert one.size == pytest.approx(left)


def test_one_queue_cuts_it_once() -> None:
    one, clock = window()
    note(one, clock, 0.0, 0.0, 0.0)
    for _ in range(8):
        one.note(QUEUED, 0.1)
    assert one.size == 4
    clock.advance(0.2)
    one.note(QUEUED, 0.1)
    assert one.size == 2


def test_at_the_target_it_stays() -> None:
    one, clock = window()
    note(one, clock, 0.0, QUEUED)
    before = one.size
    note(one, clock, *[TARGET] * 20)
    assert one.size == before


def test_beside_a_pipe_that_readers_share_it_takes_the_rest_and_no_more() -> None:
    """Readers keep 40 % of a pipe busy; the stager's requests fill what is left, and the queue that
    comes of it stays about the target.
    """
    one, clock = window(16)
    alone, rate = 0.002, 2000.0  # seconds; requests a second that the pipe takes
    loads, delays = [], []
    for _ in range(400):
        clock.advance(alone)
        load = 0.4 + one.size / alone / rate / 2
        delay = max(0.0, load - 1.0) * 3
        one.note(delay, alone)
        loads.append(load)
        delays.append(delay)
    settled = slice(100, None)
    assert 0.95 < sum(loads[settled]) / 300 < 1.2
    assert sum(delays[settled]) / 300 < 1.5 * TARGET


def test_what_was_learned_of_other_readers_is_forgotten() -> None:
    one, clock = window()
    note(one, clock, *[QUEUED] * 20)
    one.restart()
    assert one.size == 1
    note(one, clock, 0.0, 0.0)
    assert one.size == 4


# --- turns ----------------------------------------------------------------------------------------


def test_the_pauses_between_requests_are_those_of_the_window() -> None:
    clock = FakeClock()
    one = Scavenger(4, lambda then: Delay(QUEUED, QUEUED, 1), threading.Event(), clock)
    for _ in range(5):
        with one.turn() as go:
            assert go
            clock.advance(0.004)
    assert clock.pauses == pytest.approx([0.004, 0.012, 0.028, 0.06, 0.124])


def test_without_any_measure_one_is_under_way() -> None:
    clock = FakeClock()
    asked = list[int]()

    def unknown(then: int) -> None:
        asked.append(then)

    one = Scavenger(4, unknown, threading.Event(), clock)
    with one.turn():
        clock.advance(1)
    with one.turn():
        clock.advance(1)
    assert clock.pauses == []
    assert asked == [0, 1_001_000_000_000], "only what ended since the last look"


def test_threads_take_turns_and_stop() -> None:
    stopping, under_way, most = threading.Event(), [0], list[int]()
    quick = Delay(0.0, 0.0, 4)
    one = Scavenger(3, lambda then: quick, stopping)
    lock = threading.Lock()

    def work(turns: int) -> None:
        for _ in range(turns):
            with one.turn() as go:
                if not go:
                    return
                with lock:
                    under_way[0] += 1
                    most.append(under_way[0])
                with lock:
                    under_way[0] -= 1

    threads = [threading.Thread(target=work, args=(30,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(most) <= 3
    stopping.set()
    with one.turn() as go:
        assert not go
