"""Questions in a child process: answers, errors, and the time-out."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagenetfs.system import child_call


def test_an_answer() -> None:
    assert child_call.call_in_child(lambda: {"names": ["a", "b"], "n": 3}, 10) == {
        "names": ["a", "b"],
        "n": 3,
    }
    assert child_call.call_in_child(lambda: None, 10) is None


def test_a_long_answer() -> None:
    assert child_call.call_in_child(lambda: "x" * 3_000_000, 10) == "x" * 3_000_000


def test_an_error_arrives_as_itself(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        child_call.call_in_child(lambda: os.stat(tmp_path / "x").st_size, 10)
    with pytest.raises(NotADirectoryError):
        child_call.call_in_child(lambda: len(list(Path("/dev/null").iterdir())), 10)


def test_no_answer_in_time() -> None:
    began = time.monotonic()
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(lambda: time.sleep(60), 0.2)
    assert time.monotonic() - began < 5


def test_a_child_that_dies() -> None:
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(lambda: os.kill(os.getpid(), 9), 10)
    with pytest.raises(child_call.NoAnswerError):
        child_call.call_in_child(lambda: object(), 10)  # JSON cannot carry it


def test_no_child_is_left() -> None:
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    before = children.read_text()
    for _ in range(3):
        child_call.call_in_child(lambda: 1, 10)
    assert children.read_text() == before


def test_the_child_holds_nothing_of_ours() -> None:
    reader, writer = os.pipe()
    held = child_call.call_in_child(
        lambda: sorted(int(fd.name) for fd in Path("/proc/self/fd").iterdir()), 10
    )
    os.close(reader)
    os.close(writer)
    assert reader not in held
    assert len([fd for fd in held if fd > 2]) <= 2  # the answer's pipe, and the listing itself
