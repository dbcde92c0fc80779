"""What status says of a mount to a person, and how it is laid out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from imagenetfs.cli.status_view import (
    Line,
    curve_of,
    in_seconds,
    laid_out,
    lines_of,
    one_line,
    show_lines,
    sparkline,
)
from imagenetfs.job.status import MountStatus

NOW: dict[str, Any] = {
    "images": 1830.4,
    "bytes": 201e6,
    "busy": 0.35,
    "source_requests": 120.2,
    "median": 0.0041,
    "p99": 0.0123,
    "origins": {},
}
DETAILS: dict[str, Any] = {
    "pid": 4242,
    "version": "1.2.3",
    "started": 1000.0,
    "workers": [{"pid": 1, "state": "idle"}, {"pid": 2, "state": "in the source for 0.1 s"}],
    "worker_restarts": 2,
    "versions": {"ILSVRC2012": {}, "winter21_whole": {}, "Imagenet16": {}},
    "now": NOW,
    "limit": {"by": "source", "sentence": "the source: it is slow", "advice": "have a cache"},
    "counters": {"images_read": 612_311, "bytes_served": 67_000_000_000},
    "origins": {"cache": 0.41, "memory": 0.001, "source": 0.589},
    "cache": {
        "directory": "/c",
        "size": 30 * 10**9,
        "used": 28_100_000_000,
        "steps_aside": None,
        "held": {"ILSVRC2012/train": 27_900_000_000, "winter21_whole": 100_000_000},
    },
    "progress": [
        {
            "what": "indexing",
            "of": "winter21_whole/train",
            "unit": "archives",
            "done": 2300,
            "total": 19_167,
            "running": True,
            "per_second": 421.0,
            "seconds_left": 40.1,
        },
        {
            "what": "staging",
            "of": "ILSVRC2012/train",
            "unit": "bytes",
            "done": 54_700_000_000,
            "total": 147_900_000_000,
            "running": True,
            "per_second": 210e6,
            "seconds_left": 444.0,
        },
    ],
    "history": {"seconds": 1, "images_per_second": [0.0, 1000.0, 2000.0], "bytes_per_second": []},
    "log": "/log/x.log",
    "problems": [],
    "warnings": [],
}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 1000.0 + 3725)


def said(state: str = "live", **changes: Any) -> dict[str, list[str]]:
    """The parts of each line."""
    entry = MountStatus("/m", "/s", state, {**DETAILS, **changes})
    found: dict[str, list[str]] = {}
    for label, parts in lines_of(entry):
        found.setdefault(label, []).extend(parts)
    return found


def test_a_mount_at_work() -> None:
    assert said() == {
        "mountpoint": ["/m", "ILSVRC2012 and 2 more", "up 1 h 02 min"],
        "source": ["/s"],
        "now": ["1,830 images/s", "201.0 MB/s", "2 workers, 35 % busy", "2 restarts"],
        "requests": [
            *("120 a second to the source", "median 4.1 ms", "99 % within 12 ms"),
            "1 under way",
        ],
        "limit": ["the source: it is slow", "-> have a cache"],
        "so far": ["612,311 images", "67.0 GB", "read cache 41 %", "source 59 %"],
        "cache": [
            *("28.1 GB of 30 GB", "ILSVRC2012/train 27.9 GB", "winter21_whole 100.0 MB"),
            "/c",
        ],
        "indexing": [
            *("winter21_whole/train 12 %", "2,300 of 19,167 archives", "421 a second"),
            "40 s left",
        ],
        "staging": [
            *("ILSVRC2012/train 37 %", "54.7 GB of 147.9 GB", "210.0 MB/s"),
            "7 min 24 s left",
        ],
        "problems": ["none"],
        "server": ["process 4242", "imagenetfs 1.2.3"],
        "log": ["/log/x.log"],
    }


def test_a_limit_with_which_nothing_is_to_be_done() -> None:
    assert said(limit={"sentence": "nothing is read now", "advice": ""})["limit"] == [
        "nothing is read now"
    ]
    assert said(limit={"sentence": "an older server's"})["limit"] == ["an older server's"]


def test_a_server_of_another_version_may_say_less() -> None:
    entry = MountStatus("/m", "/s", "live", {})
    assert list(lines_of(entry)) == [
        Line("mountpoint", ["/m"]),
        Line("source", ["/s"]),
        Line("now", ["0 workers"]),
        Line("problems", ["none"]),
        Line("server", ["process ?", "imagenetfs ?"]),
    ]


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ("stale", "stale: its server has gone (imagenetfs umount takes it away)"),
        ("silent", "does not answer"),
    ],
)
def test_a_mount_without_an_answer(state: str, sentence: str) -> None:
    entry = MountStatus("/m", "/s", state)
    assert list(lines_of(entry))[1:] == [Line("source", ["/s"]), Line("state", [sentence])]
    assert one_line(entry) == f"/m: {sentence}"


def test_a_cache_in_trouble() -> None:
    cache = {"directory": "/c", "size": 1024, "steps_aside": "the disk is full"}
    assert said(cache=cache)["cache"] == [
        "at most 1 KiB",
        "steps aside now: the disk is full",
        "/c",
    ]


def test_a_worker_that_is_stopped_is_named() -> None:
    workers = [{"pid": 7, "state": "does not answer: stopped for 3.0 s"}]
    assert said(workers=workers)["now"][-1] == "stopped, and answering nothing: process 7"


def test_a_stage_that_has_ended() -> None:
    one = {**DETAILS["progress"][1], "running": False, "seconds_left": None}
    assert said(progress=[one])["staging"][-1] == "stopped: the log says why"
    one["done"] = one["total"]
    assert said(progress=[one])["staging"][-2:] == ["147.9 GB of 147.9 GB", "done"]


def test_problems_come_before_warnings_and_end_somewhere() -> None:
    problems = [f"p{n}" for n in range(12)]
    found = said(problems=problems, warnings=["w", *problems])
    assert found["problem"] == [*problems[:10], "and 2 more: see the log"]
    assert found["warning"] == ["w"]
    assert "problems" not in found


def test_nothing_of_the_source_where_it_is_not_asked() -> None:
    idle = {**NOW, "source_requests": 0.0, "median": None, "p99": None}
    assert "requests" not in said(now=idle, workers=[])
    assert said(now=idle)["requests"] == ["0 a second to the source", "1 under way"]


def test_one_line_for_a_log() -> None:
    entry = MountStatus("/m", "/s", "live", {**DETAILS, "problems": ["x"]})
    assert one_line(entry) == (
        "/m: 1,830 images/s, 201.0 MB/s, 2 workers, 35 % busy, 2 restarts, indexing "
        "winter21_whole/train 12 %, staging ILSVRC2012/train 37 %, limit: the source: it is slow, "
        "1 problem"
    )
    assert one_line(MountStatus("/m", "/s", "live", {})) == "/m: not known yet"


# --- how it is laid out ---------------------------------------------------------------------------


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_longer_than_the_terminal_is_wide(width: int) -> None:
    long = "a sentence of quite some words " * 6
    rows = laid_out(
        [*lines_of(MountStatus("/m", "/s", "live", DETAILS)), Line("warning", [long])], width
    )
    assert max(map(len, rows)) <= width
    assert " ".join(" ".join(rows).split()).endswith(" ".join(long.split()))
    labelled = [row for row in rows if not row.startswith(" ")]
    assert len(labelled) == 13, "what goes on hangs below its beginning"


def test_parts_stay_whole() -> None:
    parts = ["one part of this", "another part", "a third"]
    assert laid_out([Line("label", parts)], 42) == [
        "label      one part of this   another part",
        "           a third",
    ]


def test_a_name_is_no_message_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [Line("source", ["/a\x1b[31m\nb"])]
    for width in (80, None):
        show_lines(lines, width)
        shown = capsys.readouterr().out
        assert "\x1b" not in shown
        assert shown.count("\n") == 1


def test_where_standard_output_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    show_lines([Line("now", ["a", "b"])], None)
    assert capsys.readouterr().out == "now\ta, b\n"


# --- the curve ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "width", "bars"),
    [
        ([], 10, ""),
        ([0, 0], 10, "▁▁"),
        ([0, 35, 70], 10, "▁▅█"),
        ([70, 70, 0, 0], 2, "█▁"),
        (list(range(300)), 8, "▁▂▃▄▅▆▇█"),
    ],
)
def test_a_sparkline(values: list[float], width: int, bars: str) -> None:
    assert sparkline(values, width) == bars


def test_a_terminal_without_block_characters() -> None:
    assert sparkline([0, 35, 70], 10, blocks=False).isascii()


def test_the_curve_says_what_it_shows() -> None:
    assert curve_of(DETAILS, 80) == [
        Line("curve", ["▁▅█"]),
        Line("", ["images/s in the last 3 s, 2,000 at most"]),
    ]
    assert curve_of({}, 80) == []
    many = {"history": {"seconds": 1, "images_per_second": [1.0] * 299}}
    [curve, _] = curve_of(many, 80)
    assert len(laid_out([curve], 80)[0]) == 80


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0.0041, "4.1 ms"), (0.0123, "12 ms"), (1.0, "1.0 s"), (75.4, "75 s")),
        *((65e-6, "65 µs"), (5e-7, "0.5 µs"), (0.9996, "1,000 ms")),
    ],
)
def test_seconds(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text
