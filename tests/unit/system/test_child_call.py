"""Questions in a child process: answers, errors, and the time-out."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from imagenetfs.system import child_call
from tests.helpers.children import children_of
from tests.helpers.clocks import FakeClock

HANG_SECONDS = 100


def test_an_answer() -> None:
    assert child_call.call_in_child(lambda: {"names": ["a", "b"], "n": 3}, HANG_SECONDS) == {
        "names": ["a", "b"],
        "n": 3,
    }
    assert child_call.call_in_child(lambda: None, HANG_SECONDS) is None


def test_a_long_answer() -> None:
    assert child_call.call_in_child(lambda: "x" * 3_000_000, HANG_SECONDS) == "x" * 3_000_000


def test_an_error_arrives_as_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        child_call.call_in_child(lambda: os.stat(tmp_path / "x").st_size, HANG_SECONDS)
    with pytest.raises(NotADirectoryError):
        child_call.call_in_child(lambda: len(list(Path("/dev/null").iterdir())), HANG_SECONDS)


class UntilItEnds(FakeClock):
    """A pause lasts until the child, which has been killed by then, has ended."""

    def sleep(self, seconds: float, /) -> None:
        super().sleep(seconds)
        if seconds:
            os.waitid(os.P_PID, children_of(os.getpid())[-1], os.WEXITED | os.WNOWAIT)


def test_no_answer_in_time() -> None:
    """The child is not waited for, nor left."""
    before = children_of(os.getpid())
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(signal.pause, 0.01, UntilItEnds())
    assert children_of(os.getpid()) == before


def test_a_child_that_dies() -> None:
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(lambda: os.kill(os.getpid(), 9), HANG_SECONDS)
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(lambda: object(), HANG_SECONDS)  # JSON cannot carry it


def test_no_child_is_left() -> None:
    before = children_of(os.getpid())
    for _ in range(3):
        child_call.call_in_child(lambda: 1, HANG_SECONDS, UntilItEnds())
    assert children_of(os.getpid()) == before


def test_the_child_holds_nothing_of_ours() -> None:
    reader, writer = os.pipe()
    held = child_call.call_in_child(
        lambda: sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()), HANG_SECONDS
    )
    os.close(reader)
    os.close(writer)
    assert reader not in held
    assert len([fd for fd in held if fd > 2]) <= 2  # the answer's pipe, and the listing itself


def test_one_that_is_left_behind_holds_no_stream() -> None:
    """Who reads what a command says to its end would wait for the child as well."""
    held = child_call.call_in_child(
        lambda: [os.readlink(f"/proc/self/fd/{fd}") for fd in range(3)], HANG_SECONDS
    )
    assert held == [os.devnull] * 3


def test_why_there_was_no_answer() -> None:
    assert child_call.reason_of(child_call.NoAnswerError()) == "no answer"
    assert child_call.reason_of(OSError(errno.EIO, os.strerror(errno.EIO))) == "Input/output error"
    assert child_call.reason_of(OSError("odd")) == "odd"
