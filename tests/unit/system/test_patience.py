"""How long root waits in all, and that others wait as long as each question takes."""

from __future__ import annotations

import os
import threading

import pytest

from imagenetfs.system import child_call
from imagenetfs.system.patience import ROOT_SECONDS, Patience, ask
from tests.helpers.clocks import FakeClock


def patience(clock: FakeClock, *, root: bool) -> Patience:
    return Patience(clock, is_root=lambda: root)


def test_root_waits_ten_seconds_in_all() -> None:
    clock = FakeClock()
    own = patience(clock, root=True)
    given = []
    for _ in range(4):
        with own.waiting(4.0) as seconds:
            given.append(seconds)
            clock.advance(seconds)
    assert given == [4.0, 4.0, 2.0, 0.0]
    assert sum(given) == ROOT_SECONDS


def test_no_question_takes_more_than_is_left() -> None:
    assert patience(FakeClock(), root=True).seconds(60.0) == ROOT_SECONDS


def test_answers_that_come_at_once_take_nothing() -> None:
    own = patience(FakeClock(), root=True)
    for _ in range(100):
        with own.waiting(60.0):
            pass
    assert own.seconds(60.0) == ROOT_SECONDS


def test_a_failure_takes_its_time_too() -> None:
    clock = FakeClock()
    own = patience(clock, root=True)
    with pytest.raises(OSError, match="gone"), own.waiting(60.0):
        clock.advance(7.0)
        raise OSError("gone")
    assert own.seconds(60.0) == 3.0


def test_what_was_waited_long_ago_is_forgotten() -> None:
    clock = FakeClock()
    own = patience(clock, root=True)
    with own.waiting(60.0):
        clock.advance(10.0)
    assert own.seconds(60.0) == 0.0
    clock.advance(61.0)
    assert own.seconds(60.0) == ROOT_SECONDS


def test_a_command_forgets_nothing() -> None:
    clock = FakeClock()
    own = patience(clock, root=True)
    with own.as_command():
        for _ in range(3):  # a file system that answers each question just before the limit
            with own.waiting(9.0) as seconds:
                clock.advance(seconds)
            clock.advance(61.0)
        assert own.seconds(60.0) == 0.0
    assert own.seconds(60.0) == ROOT_SECONDS


def test_a_program_that_looks_again_and_again_waits_each_time() -> None:
    clock = FakeClock()
    own = patience(clock, root=True)
    for _ in range(3):
        own.renew()
        with own.waiting(60.0) as seconds:
            assert seconds == ROOT_SECONDS
            clock.advance(seconds)


def test_others_wait_as_long_as_each_takes() -> None:
    clock = FakeClock()
    own = patience(clock, root=False)
    for _ in range(3):
        with own.waiting(60.0) as seconds:
            assert seconds == 60.0
            clock.advance(60.0)


def test_a_question_without_an_answer_says_how_long_it_was_waited_for() -> None:
    never, tired = threading.Event(), patience(FakeClock(), root=True)
    with tired.waiting(60.0):
        tired._clock.advance(9.9)  # type: ignore[attr-defined]  # a FakeClock
    with pytest.raises(child_call.NoAnswerError) as caught:
        ask(never.wait, 60.0, tired)
    assert caught.value.seconds == pytest.approx(0.1)


def test_an_answer() -> None:
    assert ask(os.getppid, 60.0, patience(FakeClock(), root=True)) == os.getpid()
