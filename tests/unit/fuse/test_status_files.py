"""status.json and the log as the files below .imagenetfs/ show them."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cache.inflated_arrays import UnderWay
from imagenetfs.counters import Counter
from imagenetfs.fuse.progress import ProgressRow
from imagenetfs.fuse.stats import INDEXER, STAGER, SUPERVISOR, SharedStats
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


def test_of_a_log_that_earlier_mounts_have_written_to_the_own_part_is_shown(
    tmp_path: Path, board: SharedStats
) -> None:
    log, failures = tmp_path / "log", FailureRegister()
    log.write_bytes(b"before\nnow\n")
    files = StatusFiles(board, LateWarnings(), log, failures, log_start=7)
    assert files.contents("log") == b"now\n"
    log.write_bytes(b"anew\n")  # a shorter one: another file
    assert files.contents("log") == b"anew\n"
    failures.close()


def test_without_a_log_file_there_is_an_empty_one(tmp_path: Path) -> None:
    assert log_of(None) == b""
    assert log_of(tmp_path / "gone") == b""
    assert log_of(tmp_path) == b""


# --- what is done now -----------------------------------------------------------------------------


def test_nothing_is_known_of_now_at_the_start(board: SharedStats) -> None:
    found = status(board)
    assert (found["now"], found["limit"]["by"], found["progress"]) == (None, "unknown", [])
    assert found["history"] == {"seconds": 1, "images_per_second": [], "bytes_per_second": []}


def test_now_is_of_the_last_seconds_and_the_history_of_all(board: SharedStats) -> None:
    row = board.row(2)
    for second in range(20):
        row[Counter.IMAGES] += 100 if second >= 10 else 10
        row[Counter.BYTES] += 1000
        board.samples.keep(board.sample(second * 1_000_000_000))
    found = status(board)
    assert (found["now"]["seconds"], found["now"]["images"]) == (5.0, 100.0)
    assert found["history"]["images_per_second"] == [10.0] * 9 + [100.0] * 10
    assert found["history"]["bytes_per_second"] == [1000] * 19


def test_the_limit_is_that_of_the_mounts_own_means(board: SharedStats) -> None:
    board.publish({"cpus": 4, "most_workers": 8, "cache": None})
    own = board.row(SUPERVISOR)
    for second in range(7):
        board.row(0)[Counter.IMAGES] += 10
        own[Counter.WORKER_NS] += 2_000_000_000
        own[Counter.BUSY_NS] += 990_000_000
        own[Counter.SOURCE_NS] += 980_000_000
        own[Counter.MOST_BUSY] = 1
        board.row(0)[Counter.SOURCE_REQUESTS] += 10
        board.samples.keep(board.sample(second * 1_000_000_000))
    assert status(board)["limit"] == {
        "by": "source",
        "sentence": "the source: workers wait for it 99 % of the time that a reader waits",
        "advice": "a read cache (--cache-dir, --stage) keeps what was read; more DataLoader "
        "workers ask for more at a time",
    }


def test_where_everything_came_from(board: SharedStats) -> None:
    board.row(0)[Counter.CACHE_BYTES] = 300
    board.row(1)[Counter.SOURCE_BYTES] = 100
    board.row(STAGER)[Counter.SOURCE_BYTES] = 10**9  # no reader had it
    board.row(1)[Counter.FIRST_LATENCY + 20] = 4
    assert status(board)["origins"] == {"cache": 0.75, "memory": 0.0, "source": 0.25}


def test_how_long_the_sources_requests_took(board: SharedStats) -> None:
    assert status(board)["source_latency"] == {"below": [], "requests": [], "seconds": 0.0}
    board.row(0)[Counter.FIRST_LATENCY + 20] = 4
    board.row(1)[Counter.FIRST_LATENCY + 22] = 1
    board.row(1)[Counter.SOURCE_SPENT_NS] = 7_000_000
    assert status(board)["source_latency"] == {
        "below": [2**20 / 1e9, 2**21 / 1e9, 2**22 / 1e9],
        "requests": [4, 0, 1],
        "seconds": 0.007,
    }


def test_what_goes_on_in_the_background(board: SharedStats) -> None:
    board.publish({"split_names": ["a/train", "a/val"], "stage": ["a/train", "b"]})
    for number, of in ((INDEXER, 1), (STAGER, 0)):
        row = ProgressRow(board.row(number), lambda: NOW - 2_000_000_000)
        row.begin(of)
        row.update(30, 100, 20)
    failures = FailureRegister()
    arrays = [UnderWay("x.npz", 5, 10, 1.0)]
    files = StatusFiles(board, LateWarnings(), None, failures, lambda: arrays)
    found = json.loads(files.contents("status.json"))
    failures.close()
    assert [(one["what"], one["of"], one["done"]) for one in found["progress"]] == [
        ("indexing", "a/val", 30),
        ("staging", "a/train, b", 30),
        ("unpacking", "x.npz", 5),
    ]
    assert {one["per_second"] for one in found["progress"]} == {10.0, 5.0}
    assert "split_names" not in found
