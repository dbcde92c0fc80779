"""Other processes: their end, and what they hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagenetfs.job import processes
from tests.helpers.clocks import FakeClock

HANG_SECONDS = 100


@pytest.fixture(params=[True, False], ids=["pidfd", "polling"])
def _ways(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if not request.param:

        def refuse(pid: int) -> int:
            raise PermissionError

        monkeypatch.setattr(os, "pidfd_open", refuse)


@pytest.mark.usefixtures("_ways")
def test_waiting_for_an_end() -> None:
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert not processes.wait_for_end(child.pid, 0.01)
    child.communicate()
    assert processes.wait_for_end(child.pid, HANG_SECONDS)


def test_waiting_ends_with_the_process() -> None:
    """Not with the time that it was given, which would be the time of the test too."""
    child = subprocess.Popen(["sleep", "0.02"])
    assert processes.wait_for_end(child.pid, 10 * HANG_SECONDS)
    child.wait()


def test_looking_ends_with_the_process() -> None:
    """Where there is no pidfd."""
    clock = FakeClock()
    child = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    clock.after(0.3, lambda: print(child.communicate()))
    assert processes._poll_for_end(child.pid, 30.0, clock)
    assert 0.3 <= sum(clock.pauses) < 0.4
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
    assert not processes._poll_for_end(other.pid, 30.0, clock)
    assert sum(clock.pauses) >= 30.0
    other.communicate()


@pytest.mark.slow
def test_who_holds_a_directory(tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "file").write_text("x")
    (tmp_path / "into").mkdir()
    script = "import sys; f = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    by_file = subprocess.Popen(
        [sys.executable, "-c", script, inside / "file"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    by_cwd = subprocess.Popen(["cat"], cwd=inside, stdin=subprocess.PIPE)
    beside = subprocess.Popen(["cat"], cwd=tmp_path / "into", stdin=subprocess.PIPE)
    try:
        assert by_file.stdout is not None
        by_file.stdout.readline()
        with (inside / "own").open("w"):  # the one that asks is not named
            found = processes.holders(str(inside))
        assert not any(f"({os.getpid()})" in name for name in found)
        assert f"cat ({by_cwd.pid})" in found
        assert any(name.endswith(f"({by_file.pid})") for name in found)
        assert not any(str(beside.pid) in name for name in found)
    finally:
        for child in (by_file, by_cwd, beside):
            child.communicate()
