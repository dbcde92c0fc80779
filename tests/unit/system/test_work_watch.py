"""What is a wait within long work, and how much of it root bears."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from imagenetfs.system import work_watch
from imagenetfs.system.child_call import NoAnswerError
from imagenetfs.system.patience import ROOT_SECONDS, Patience
from imagenetfs.system.work_watch import LOOK_SECONDS, WorkWatch, call_watched, progress_of
from tests.helpers.clocks import FakeClock, RushingClock

HANG_SECONDS = 100.0


class Work:
    """Something that answers a request every ``seconds``, by a clock that looks move on."""

    def __init__(self, seconds: float, *, root: bool = True) -> None:
        self.clock = FakeClock()
        self.patience = Patience(self.clock, is_root=lambda: root)
        self._begun, self._seconds = self.clock.monotonic(), seconds
        self._watch = WorkWatch(self._done, self.patience, self.clock)

    def _done(self) -> int:
        return int((self.clock.monotonic() - self._begun) / self._seconds)

    def lasts(self, most: float) -> float:
        """For how long it is borne; ``most`` where that long and longer."""
        begun = self.clock.monotonic()
        while not self._watch.is_over() and self.clock.monotonic() - begun < most:
            self.clock.advance(LOOK_SECONDS)
        return self.clock.monotonic() - begun


def test_what_advances_is_no_wait() -> None:
    work = Work(LOOK_SECONDS)
    assert work.lasts(3600.0) == 3600.0
    assert work.patience.seconds(60.0) == ROOT_SECONDS


def test_what_does_nothing_is_borne_ten_seconds() -> None:
    assert Work(1e9).lasts(3600.0) == pytest.approx(ROOT_SECONDS, abs=2 * LOOK_SECONDS)


@pytest.mark.parametrize("seconds", [9.0, 5.0, 2.5])
def test_the_sum_of_the_waits_is_what_is_limited(seconds: float) -> None:
    """A file system that answers each request just before a limit is no better than a dead one."""
    lasted = Work(seconds).lasts(3600.0)
    # An answer may come right before a look, which then sees so much less of each silence.
    most = ROOT_SECONDS * seconds / (seconds - LOOK_SECONDS) + seconds
    assert ROOT_SECONDS <= lasted <= most


def test_a_slow_file_system_that_answers_within_a_second_is_at_work() -> None:
    assert Work(0.9).lasts(3600.0) == 3600.0


def test_waits_of_hours_ago_count_where_this_is_a_command() -> None:
    work = Work(1e9)
    with work.patience.as_command():
        assert work.lasts(6.0) == 6.0
        work._watch._last = "went on"
        work.clock.advance(3600.0)
        work._watch.is_over()
        assert work.lasts(60.0) == pytest.approx(4.0, abs=2 * LOOK_SECONDS)


def test_users_bear_it_for_as_long_as_they_like() -> None:
    assert Work(1e9, root=False).lasts(3600.0) == 3600.0


def test_a_question_that_is_answered() -> None:
    root = Patience(is_root=lambda: True)
    assert call_watched(os.getppid, HANG_SECONDS, root) == os.getpid()


def test_a_question_that_is_not_answered_uses_up_what_root_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(work_watch, "LOOK_SECONDS", 0.01)
    clock, never = RushingClock(1.0), threading.Event()
    root = Patience(clock, is_root=lambda: True)
    with pytest.raises(NoAnswerError):
        call_watched(never.wait, 12 * 3600.0, root, clock)
    assert root.seconds(60.0) <= 0.0
    assert clock.monotonic() - 1000.0 < 200.0  # not what it might have taken
    with pytest.raises(NoAnswerError):
        call_watched(os.getppid, 60.0, root, clock)


@pytest.fixture
def idle() -> Iterator[tuple[int, int]]:
    """A process that waits, and the descriptor at which it reads a byte and waits again."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(writer)
            while os.read(reader, 1):
                pass
        finally:
            os._exit(0)
    os.close(reader)
    yield pid, writer
    os.close(writer)
    os.waitpid(pid, 0)


def test_a_process_that_waits_has_done_nothing_since(idle: tuple[int, int]) -> None:
    pid, writer = idle
    before = progress_of(pid)
    while progress_of(pid) != before:  # until it has come to its first wait
        before = progress_of(pid)
    assert progress_of(pid) == before
    os.write(writer, b"x")
    deadline = threading.Event()
    while progress_of(pid) == before:
        deadline.wait(0.001)


def test_its_children_are_part_of_it(idle: tuple[int, int]) -> None:
    assert idle[0] in [one[0] for one in progress_of(os.getpid())]


def test_a_process_that_is_gone() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    assert progress_of(pid) == ((pid,),)
