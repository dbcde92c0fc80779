"""status --watch: what it shows again and again, and how it ends."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli import status_watch
from imagenetfs.errors import NotMountedError
from imagenetfs.job.status import MountStatus
from imagenetfs.system.patience import Patience
from tests.helpers.in_process import call

HISTORY = {"seconds": 1, "images_per_second": [1.0, 2.0], "bytes_per_second": []}


class Mounts:
    """What the looks find, one after the other; then Ctrl-C."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: list[list[MountStatus] | Exception] = []
        self.fills = 0
        self.pauses: list[float] = []
        self.now = 1000.0
        monkeypatch.setattr(status_watch, "collect", self._collect)
        monkeypatch.setattr(status_watch, "add_cache_fill", self._fill)
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)
        monkeypatch.setattr(time, "strftime", lambda form: "12:00:00")

    def _collect(self, mountpoint: str | None) -> list[MountStatus]:
        if not self.next:
            raise KeyboardInterrupt
        found = self.next.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def _fill(self, found: list[MountStatus]) -> None:
        self.fills += 1
        for entry in found:
            entry.details["cache"] |= {"used": self.fills, "held": {}}

    def _sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def mounts(monkeypatch: pytest.MonkeyPatch) -> Mounts:
    # The default value of a parameter was taken before.
    found = Mounts(monkeypatch)
    monkeypatch.setattr(status_watch._as_lines, "__defaults__", (found._sleep,))
    return found


def mount(**details: Any) -> MountStatus:
    return MountStatus("/m", "/s", "live", {"cache": {"directory": "/c", "size": 9}, **details})


def test_lines_until_ctrl_c(mounts: Mounts, capsys: pytest.CaptureFixture[str]) -> None:
    mounts.next = [[], [mount()], [MountStatus("/m", "/s", "silent", {"cache": {}})]]
    assert call(capsys, "status", "--watch") == (
        0,
        "12:00:00 this user has no mount of imagenetfs here.\n"
        "12:00:00 /m: not known yet\n"
        "12:00:00 /m: does not answer\n",
        "",
    )
    assert mounts.pauses == [10.0] * 3


def test_a_mount_that_ends_ends_it(mounts: Mounts, capsys: pytest.CaptureFixture[str]) -> None:
    mounts.next = [[mount()], NotMountedError("none")]
    done = call(capsys, "status", "/m", "--watch")
    assert (done.code, done.err) == (0, "imagenetfs: the mount at /m has ended.\n")


def test_no_mount_there_is_a_refusal(mounts: Mounts, capsys: pytest.CaptureFixture[str]) -> None:
    mounts.next = [NotMountedError("No mount is at /m.")]
    assert call(capsys, "status", "/m", "--watch").code == 25


def test_metrics_are_written_again_and_again(
    mounts: Mounts, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "x.prom"
    mounts.next = [[mount()], [mount(), MountStatus("/n", "/s", "live", {"cache": {}})]]
    assert call(capsys, "status", "--watch", "--metrics", path).code == 0
    assert 'imagenetfs_up{mountpoint="/n"} 1' in path.read_text()


def test_the_caches_directory_is_not_looked_at_each_second(mounts: Mounts) -> None:
    """And what was found there is shown until the next look."""
    looks = status_watch._Looks(None, None)
    used = []
    for _ in range(12):
        mounts.next = [[mount()]]
        found = looks.look()
        assert found is not None
        used.append(found[0].details["cache"]["used"])
        mounts.now += 1
    assert used == [1] * 10 + [2] * 2


def test_root_waits_with_each_look_as_long_as_ever(
    mounts: Mounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = Patience(is_root=lambda: True)
    monkeypatch.setattr(status_watch, "PATIENCE", patience)
    looks, left = status_watch._Looks(None, None), []

    def collect(mountpoint: str | None) -> list[MountStatus]:
        with patience.waiting(8.0) as seconds:
            left.append(seconds)
            mounts.now += seconds
        return []

    monkeypatch.setattr(status_watch, "collect", collect)
    for _ in range(3):
        looks.look()
    assert left == [8.0] * 3


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (40, 10)])
def test_a_screen_fits_the_terminal(mounts: Mounts, width: int, height: int) -> None:
    entry = mount(history=HISTORY, problems=["a problem of many words " * 5] * 3)
    rows = status_watch.screen_of([entry, entry], width, height)
    assert len(rows) <= height
    assert max(len(row) for _, row in rows) <= width
    assert rows[-1] == ("hint", "12:00:00   Ctrl-C ends this")
    assert any(about == "curve" for about, _ in rows)


def test_a_terminal_gets_a_screen_of_its_own(
    mounts: Mounts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("LINES", "24")
    mounts.next = [[mount(history=HISTORY)], [mount(history=HISTORY)]]
    capsys.readouterr()
    status_watch.watch("/m", None)
    shown = capsys.readouterr().out
    assert shown.startswith("\x1b[?1049h"), "it takes the screen"
    assert "\x1b[?1049l" in shown, "and gives it back"
    assert "mountpoint /m" in shown
    assert "▅█" in shown, "the screen is written to as what it is"
    assert mounts.pauses == [1.0, 1.0]


def test_a_screen_without_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("mountpoint", "/m"), ("problem", "p"), ("hint", "Ctrl-C")]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert [span.style for span in status_watch._text(rows).spans] == ["bold", "red", "dim"]
    monkeypatch.setenv("NO_COLOR", "1")
    assert status_watch._text(rows).spans == []
