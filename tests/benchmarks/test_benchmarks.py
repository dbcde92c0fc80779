"""The benchmarks themselves: that they run, leave nothing, and lose nothing.

No figure is judged here.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import pytest

from . import client, document, latency, report, results
from .children import CHECKOUT
from .epochs import COPIED, REMOTE
from .results import Part
from .systems import BOUND, OURS, RATARMOUNT, STAGED

_SMALL = ("--classes", "2", "--images", "5", "--rounds", "1", "--no-install")


def _part(*rounds: tuple[float, float]) -> Part:
    part = Part("2025-01-31", {"CPU": "some"}, {"classes": 2, "images": 5})
    for number, (ours, its) in enumerate(rounds):
        part.add(number, OURS, {"first 4": ours, "walk first": ours})
        part.add(number, RATARMOUNT, {"first 4": its, "walk first": its})
    return part


def test_ratios_are_taken_round_by_round() -> None:
    part = _part((10.0, 1.0), (40.0, 8.0), (9.0, 3.0))
    faster = part.ratio("first 4", OURS, RATARMOUNT, less_is_better=False)
    assert faster == results.Spread(5.0, 3.0, 10.0)
    quicker = part.ratio("first 4", OURS, RATARMOUNT, less_is_better=True)
    assert quicker == results.Spread(0.2, 0.1, 1.0 / 3.0)


def test_limits_say_what_is_more_than_it_may_be() -> None:
    part = _part((1.0, 1.0))
    part.add(0, OURS, {"requests 1": 0.1, "bytes 1": 1.2})
    rows = {row[0]: row[1:] for row in report.limits({"epochs": part}).rows}
    assert rows["epochs, requests in epoch one"] == ("0.15", "0.10", "kept")
    assert rows["epochs, bytes in epoch one"] == ("1.05", "1.20", "**missed**")
    assert rows["epochs, bytes in epoch one (--stage)"] == ("1.05", "", "not measured")


def test_of_a_hundred_times_the_last_but_one() -> None:
    times = [0.001] * 98 + [0.5, 2.0]
    counts = [0] * client._BUCKETS
    for seconds in times:
        counts[client._bucket(seconds)] += 1
    assert 0.5 <= client._percentile(counts) < 0.5 * 1.03
    assert client._bucket(0.0 + 1e-9) == 0 and client._bucket(1e9) == client._BUCKETS - 1


def test_a_system_that_dropped_out_has_no_ratio() -> None:
    part = _part((10.0, 1.0))
    part.add(1, OURS, {"first 4": 20.0})
    assert part.ratio("first 4", OURS, RATARMOUNT, less_is_better=False) == results.Spread(
        10, 10, 10
    )
    assert part.ratio("first 4", OURS, "another", less_is_better=False) is None


def test_a_part_that_is_run_alone_leaves_the_others(tmp_path: Path) -> None:
    kept, written = tmp_path / "results.json", tmp_path / "benchmarks.md"
    results.save(kept, {"reads": _part((10.0, 1.0))})
    parts = results.load(kept)
    parts["listing"] = _part((1.0, 30.0))
    results.save(kept, parts)
    document.write(written, results.load(kept))
    text = written.read_text()
    assert "## Shuffled reads" in text
    assert "## Mounting and listing" in text
    assert list(tmp_path.glob(".*")) == []


def test_targets_and_losses_say_what_was_missed() -> None:
    parts = {"reads": _part((5.0, 10.0)), "listing": _part((1.0, 30.0))}
    verdicts = {row[1]: row[-1] for row in report.targets(parts).rows if row[0] == RATARMOUNT}
    assert verdicts["reads, 4: first pass"] == "**missed**"
    assert verdicts["listing, walk with stat"] == "reached"
    assert verdicts["latency, larger train indexed at 1 ms (--in-flight 64)"] == "not measured"
    assert report.losses(parts) == ["reads, 4: first pass: ratarmount is 2.0 times better."]
    parts["reads"].add(0, BOUND, {"first 4": 20.0})
    assert (
        report.losses(parts)[1] == f"reads, 4: first pass: {BOUND} (the limit) is 4.0 times better."
    )


def _command(tmp_path: Path, *arguments: str) -> list[str]:
    files = ["--results", str(tmp_path / "results.json"), "--document", str(tmp_path / "out.md")]
    return [sys.executable, "-m", "tests.benchmarks", *arguments, *_SMALL, *files]


def _environ(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}


def _is_clean(tmp_path: Path) -> bool:
    mounts = Path("/proc/self/mountinfo").read_text()
    return str(tmp_path) not in mounts and not list(tmp_path.glob("imagenetfs-bench-*"))


def test_a_small_run_writes_its_document_and_leaves_nothing(tmp_path: Path) -> None:
    command = _command(tmp_path, "listing", "index", "reads")
    subprocess.run(command, cwd=CHECKOUT, env=_environ(tmp_path), check=True, timeout=100)
    text = (tmp_path / "out.md").read_text()
    for title in ("Shuffled reads", "Mounting and listing", "Making an index"):
        assert f"## {title}" in text
    assert "ratarmount is absent: it is not installed" in text
    (measured,) = results.load(tmp_path / "results.json")["reads"].rounds
    if os.geteuid() == 0:  # it has read the same bytes, or the run would have dropped it
        assert set(measured[OURS]) == set(measured[BOUND])
    else:
        assert f"{BOUND} is absent: only root can mount it." in text
    assert _is_clean(tmp_path)


@pytest.mark.timeout(400)  # a dozen mounts, on a machine that may be busy
def test_the_slow_source_counts_and_goes(tmp_path: Path) -> None:
    command = [*_command(tmp_path, "latency"), "--milliseconds", "1"]
    subprocess.run(command, cwd=CHECKOUT, env=_environ(tmp_path), check=True, timeout=380)
    (measured,) = results.load(tmp_path / "results.json")["latency"].rounds
    values = measured[OURS]
    for what in ("class", "val", "folder", "index"):
        # No more can be under way at once, so no quicker can it be.
        asked = values[f"1 ms {what} requests"]
        assert asked > 10
        assert values[f"1 ms {what}"] > asked / 64 / 1000
    assert measured[OURS]["more index requests"] >= latency._MORE * 2 * 5  # a request a member
    assert "## Over a network" in (tmp_path / "out.md").read_text()
    assert _is_clean(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    command = _command(tmp_path, "reads")
    process = subprocess.Popen(command, cwd=CHECKOUT, env=_environ(tmp_path))
    try:
        deadline = time.monotonic() + 60
        while str(tmp_path) not in Path("/proc/self/mountinfo").read_text():
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert _is_clean(tmp_path)


@pytest.mark.timeout(300)
def test_epochs(tmp_path: Path) -> None:
    """Tables and a drawing; every byte comes once, or each time, as it must."""
    command = [*_command(tmp_path, "epochs", "staging"), "--milliseconds", "1"]
    subprocess.run(command, cwd=CHECKOUT, env=_environ(tmp_path), check=True, timeout=280)
    (measured,) = results.load(tmp_path / "results.json")["epochs"].rounds
    for way in (OURS, STAGED, COPIED, REMOTE):
        points = [measured[way][point] for point in ("batch", "epoch 1", "epoch 2")]
        assert 0 < points[0] < points[1] < points[2]
    assert measured[OURS]["bytes 2"] == measured[OURS]["requests 2"] == 0
    assert measured[REMOTE]["bytes 1"] == measured[REMOTE]["bytes 2"] == 1
    text = (tmp_path / "out.md").read_text()
    assert "## Staging beside readers" in text
    (rates,) = results.load(tmp_path / "results.json")["staging"].rounds
    assert all(0 < rates[way]["slow"] < 60 for way in (OURS, STAGED))
    assert "| epochs, requests in epoch one | 0.15 |" in text
    assert "(out-epochs.svg)" in text
    shown = "".join(ElementTree.parse(tmp_path / "out-epochs.svg").getroot().itertext())
    for words in (OURS, STAGED, COPIED, REMOTE, "end of epoch two", " s"):
        assert words in shown
    assert _is_clean(tmp_path)


def test_the_library_s_table() -> None:
    if shutil.which("pkg-config") is None or shutil.which("cc") is None:
        pytest.skip("the slow source cannot be compiled")
    words = ("--classes", "2", "--images", "5", "--rounds", "1", "--workers", "0")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.library", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = ("files, first pass", "mount, second pass", "split.read, first pass")
    for row in (*rows, "mount, one process, one by one", "library, one process, batches of"):
        assert row in done.stdout


def test_what_watching_costs() -> None:
    words = ("--classes", "2", "--images", "5", "--passes", "1", "--seconds", "0")
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.watching", *words],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "beside status --watch" in done.stdout
