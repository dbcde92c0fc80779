"""Processes that are stopped: time that counts for no deadline, and workers that answer nothing."""

from __future__ import annotations

import logging

import pytest

from imagenetfs.server.suspension import ActiveClock, StoppedWorkers

SECOND = 1_000_000_000


def test_looks_as_planned_are_no_gap() -> None:
    clock, now = ActiveClock(), 5 * SECOND
    for _ in range(20):
        assert clock.tick(now) == 0.0
        now += SECOND
    assert clock.tick(now + SECOND - 1) == 0.0
    assert clock.elapsed_ns(6 * SECOND, 16 * SECOND) == 10 * SECOND


def test_a_gap_counts_for_nothing() -> None:
    clock = ActiveClock()
    clock.tick(100 * SECOND)
    assert clock.tick(160 * SECOND) == 60.0
    assert clock.tick(161 * SECOND) == 0.0
    now = 165 * SECOND
    assert clock.elapsed_ns(95 * SECOND, now) == 10 * SECOND  # began before it
    assert clock.elapsed_ns(130 * SECOND, now) == 5 * SECOND  # within
    assert clock.elapsed_ns(160 * SECOND, now) == 5 * SECOND  # at its end
    assert clock.elapsed_ns(162 * SECOND, now) == 3 * SECOND  # behind it


def test_gaps_add_up_and_the_oldest_are_forgotten() -> None:
    clock = ActiveClock()
    for number in range(1, 101):
        clock.tick(number * 10 * SECOND)
    # ten seconds between any two looks: of the last 64 of them nothing is left
    assert clock.elapsed_ns(500 * SECOND, 1000 * SECOND) == 0
    assert clock.elapsed_ns(10 * SECOND, 1000 * SECOND) == 990 * SECOND - 640 * SECOND


def test_the_first_look_is_behind_no_other() -> None:
    assert ActiveClock().tick(10**18) == 0.0


# --- workers --------------------------------------------------------------------------------------


class Workers:
    """Which of them are stopped, and how often that was asked."""

    def __init__(self) -> None:
        self.stopped: set[int] = set()
        self.asked: list[int] = []
        self.found = StoppedWorkers(self._is_stopped)

    def _is_stopped(self, pid: int) -> bool:
        self.asked.append(pid)
        return pid in self.stopped


@pytest.fixture
def workers() -> Workers:
    return Workers()


def test_they_are_looked_at_once_a_second(workers: Workers) -> None:
    looked = [workers.found.look([1, 2], 100.0 + step / 4) for step in range(9)]
    assert looked == [True, False, False, False] * 2 + [True]
    assert workers.asked == [1, 2] * 3


@pytest.mark.expects_log("worker 2 is stopped and answers nothing")
def test_a_stop_counts_when_it_lasts(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "imagenetfs")
    workers.stopped = {2}
    workers.found.look([1, 2], 100.0)
    assert not workers.found.is_stopped(2, 100.9)
    assert caplog.messages == [], "all of a mount's processes do not go on in the same moment"
    for second in (101.0, 102.0, 103.0):
        workers.found.look([1, 2], second)
    assert workers.found.is_stopped(2, 103.0)
    assert not workers.found.is_stopped(1, 103.0)
    assert workers.found.since(2) == 100.0
    assert caplog.messages == [
        "worker 2 is stopped and answers nothing; others serve beside it",
    ]
    workers.stopped = set()
    workers.found.look([1, 2], 104.0)
    assert not workers.found.is_stopped(2, 104.0)
    assert caplog.messages[1:] == ["worker 2 is not stopped any more"]


def test_a_stop_that_was_over_between_two_looks_begins_anew(workers: Workers) -> None:
    workers.stopped = {2}
    workers.found.look([2], 100.0)
    workers.stopped = set()
    workers.found.look([2], 101.0)
    workers.stopped = {2}
    workers.found.look([2], 102.0)
    assert workers.found.since(2) == 102.0
    assert not workers.found.is_stopped(2, 102.5)
