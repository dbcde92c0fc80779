"""status.json and the log as the files below .imagenetfs/ show them."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import STAGER, SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.source.failures import FailureRegister
from imagenetfs.tree.late_warnings import LateWarnings

NOW = 5_000_000_000_000
"""The monotonic time of these tests, in nanoseconds."""


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic_ns", lambda: NOW)


@pytest.fixture
def board() -> SharedStats:
    return SharedStats()


def contents(name: str, board: SharedStats, notices: LateWarnings, log: Path | None) -> bytes:
    failures = FailureRegister()
    try:
        return StatusFiles(board, notices, log, failures).contents(name)
    finally:
        failures.close()


def status(board: SharedStats, notices: LateWarnings | None = None) -> dict[str, Any]:
    text = contents("status.json", board, notices or LateWarnings(), None)
    assert text.endswith(b"}\n")
    found: dict[str, Any] = json.loads(text)
    return found


def test_the_supervisors_facts_are_passed_on(board: SharedStats) -> None:
    board.publish({"version": "1", "source": "/a ä", "cache": None})
    found = status(board)
    assert (found["version"], found["source"], found["cache"]) == ("1", "/a ä", None)


def test_it_can_be_read_before_the_supervisor_has_said_anything(board: SharedStats) -> None:
    found = status(board)
    assert (found["workers"], found["warnings"]) == ([], [])
    assert found["counters"]["bytes_served"] == 0


def test_what_each_worker_does(board: SharedStats) -> None:
    board.publish({"worker_pids": [11, 0, 13, 14]})
    board.row(0)[Counter.BUSY_SINCE] = 1
    board.row(1)[Counter.BUSY_SINCE] = 1  # of one that is gone
    board.row(2)[Counter.BUSY_SINCE] = 1
    board.row(2)[Counter.SOURCE_SINCE] = NOW - 2_340_000_000
    found = status(board)
    assert found["workers"] == [
        {"pid": 11, "state": "busy"},
        {"pid": 13, "state": "in the source for 2.3 s"},
        {"pid": 14, "state": "idle"},
    ]
    assert "worker_pids" not in found


@pytest.mark.expects_log("later")
def test_warnings_of_the_start_come_before_those_of_later(board: SharedStats) -> None:
    board.publish({"warnings": ["at the start"]})
    notices = LateWarnings()
    notices.tell("later")
    assert status(board, notices)["warnings"] == ["at the start", "later"]
    assert status(board, notices)["warnings"] == ["at the start", "later"]


def test_counters_are_the_sums_of_now(board: SharedStats) -> None:
    for sum_so_far in (3, 6):
        board.row(7)[Counter.BYTES] += 3
        assert status(board)["counters"]["bytes_served"] == sum_so_far


def test_a_cache_that_steps_aside_says_why(board: SharedStats) -> None:
    board.publish({"cache": {"directory": "/c"}})
    assert status(board)["cache"] == {"directory": "/c", "steps_aside": None}
    board.row(STAGER)[Counter.CACHE_TROUBLE] = errno.ENOSPC
    board.row(STAGER)[Counter.CACHE_ASIDE_UNTIL] = NOW + 1
    assert status(board)["cache"]["steps_aside"] == "No space left on device"
    board.row(STAGER)[Counter.CACHE_ASIDE_UNTIL] = NOW
    assert status(board)["cache"]["steps_aside"] is None


# --- the log --------------------------------------------------------------------------------------


def log_of(path: Path | None) -> bytes:
    return contents("log", SharedStats(), LateWarnings(), path)


def test_the_log_is_the_files_contents_of_now(tmp_path: Path) -> None:
    path = tmp_path / "log"
    for text in (b"", b"one line\n", b"one line\ntwo\n"):
        path.write_bytes(text)
        assert log_of(path) == text


@pytest.mark.parametrize("more", [0, 1, 1000])
def test_of_a_long_log_the_end_is_shown(tmp_path: Path, more: int) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"a" * more + b"b" * 128 * 1024)
    assert log_of(path) == b"b" * 128 * 1024


def test_without_a_log_file_there_is_an_empty_one(tmp_path: Path) -> None:
    assert log_of(None) == b""
    assert log_of(tmp_path / "gone") == b""
    assert log_of(tmp_path) == b""
