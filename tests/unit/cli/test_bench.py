"""imagenetfs bench: what it measures, which part it names as the limit, and what it advises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagenetfs.cli import bench
from imagenetfs.cli.bench import Report
from imagenetfs.library.rates import Rate
from tests.helpers.in_process import call_forked


def report(**most: float) -> Report:
    """Parts that bring so many images by two processes, and half by one."""
    made = Report("/imagenet", [1, 2], 30.0)
    for part, images in most.items():
        made.rates[part] = [Rate(1, images / 2, images * 50e3), Rate(2, images, images * 100e3)]
    return made


@pytest.mark.slow
def test_the_parts_of_a_source(
    sample: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cache = tmp_path / "cache"
    options = ("--seconds", "1", "--processes", "1", "--json", "--index-dir", "none")
    done = call_forked(capsys, "bench", sample, *options, "--cache-dir", cache)
    assert done.code == 0, done.err
    shown = json.loads(done.out)
    assert list(shown["rates"]) == ["source", "disk", "mount", "decoding"], shown["not_measured"]
    for found in shown["rates"].values():
        [one] = found
        assert one["workers"] == 1
        assert one["images"] > 0 < one["bytes"]
    assert shown["limit"] in ("source", "mount", "decoding")
    assert shown["advice"][0] == "num_workers=1"
    assert "MB/s" in shown["notes"]["source"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (("--seconds", "0"), 2, "--seconds is 1 at least."),
        (("--processes", "0"), 2, "--processes is a number from 1 to 64."),
        (("/nowhere/at/all",), 10, "/nowhere/at/all"),
    ],
)
def test_what_makes_no_sense(
    options: tuple[str, ...], code: int, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call_forked(capsys, "bench", *options)
    assert (done.code, done.out) == (code, "")
    assert sentence in done.err


@pytest.mark.slow
def test_a_source_without_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ILSVRC2012").mkdir()
    done = call_forked(capsys, "bench", tmp_path, "--index-dir", "none")
    assert done.code == 12
    assert done.out == ""


def test_how_many_processes_are_tried() -> None:
    assert [bench._steps(most) for most in (1, 2, 3, 8, 12)] == [
        *([1], [1, 2], [1, 2, 3], [1, 2, 4, 8]),
        [1, 2, 4, 8, 12],
    ]


@pytest.mark.parametrize(
    ("most", "limit", "advice"),
    [
        ({"source": 900, "disk": 5000, "mount": 8000, "decoding": 400}, "decoding", "no cache"),
        ({"source": 300, "disk": 5000, "mount": 8000, "decoding": 400}, "source", "--stage, which"),
        ({"source": 300, "mount": 8000, "decoding": 400}, "source", "a --cache-dir on this node"),
        ({"source": 300, "disk": 90, "mount": 8000, "decoding": 400}, "source", "--cache-dir none"),
        ({"source": 300, "mount": 200}, "mount", "a --cache-dir on this node"),
        ({"decoding": 3}, "decoding", "num_workers=2"),
    ],
)
def test_the_limit_and_what_to_set(most: dict[str, float], limit: str, advice: str) -> None:
    made = report(**most)
    assert made.limit == limit
    assert advice in ", ".join(made.advice())
    *_, last = made.lines()
    assert last.startswith(f"limit      {limit}; set num_workers=2")


def test_as_many_workers_as_bring_most_of_it() -> None:
    made = Report("/imagenet", [1, 2, 4, 8], 30.0)
    made.rates["decoding"] = [
        Rate(n, rate, 1.0) for n, rate in ((1, 50), (2, 95), (4, 100), (8, 99))
    ]
    assert made.workers == 2


def test_five_lines_for_people() -> None:
    made = report(source=300, mount=8000, decoding=400)
    made.absent["disk"] = "there is no --cache-dir."
    made.notes["source"] = "30 MB/s"
    assert list(made.lines()) == [
        "source     1: 150  2: 300 images/s  (30 MB/s)",
        "cache disk not measured: there is no --cache-dir.",
        "mount      1: 4,000  2: 8,000 images/s",
        "decoding   1: 200  2: 400 images/s",
        "limit      source; set num_workers=2, a --cache-dir on this node, and --stage: the source"
        " is slower",
    ]
    assert list(report().lines())[-1] == "limit      unknown: nothing could be measured"
