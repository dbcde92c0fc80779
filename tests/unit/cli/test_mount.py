"""imagenetfs mount: what was typed becomes a request, in the background or here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli import mount
from imagenetfs.job import logs, signals
from imagenetfs.job.mount_paths import MountLock, try_lock
from imagenetfs.job.server import MountRequest
from tests.helpers.in_process import call


class Played:
    """Starts that are played: the requests, and how each was served."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[MountRequest] = []
        self.ways: list[str] = []
        self.warnings: list[str] = []
        self.logs: list[str] = []
        monkeypatch.setattr(signals, "raise_when_told_to_end", lambda: None)
        monkeypatch.setattr(
            mount, "start_mount", lambda request, *rest: self._add("start", request)
        )
        monkeypatch.setattr(mount, "check_all", lambda request, say: self._check(request))
        monkeypatch.setattr(mount, "serve_mount", self._serve)
        monkeypatch.setattr(logs, "to_stderr", lambda level: self.logs.append("stderr"))
        monkeypatch.setattr(logs, "prepare", lambda place, settings: Path("/the/log"))
        monkeypatch.setattr(logs, "install", lambda settings, log: self.logs.append(str(log)))

    def _check(self, request: MountRequest) -> None:
        self.ways.append("check")

    def _serve(
        self, request: MountRequest, lock: MountLock, ready: Callable[[list[str]], None]
    ) -> None:
        self._add("serve", request)
        ready(self.warnings)

    def _add(self, way: str, request: MountRequest) -> None:
        assert try_lock(request.paths) is None, "the place's lock is held"
        self.ways.append(way)
        self.requests.append(request)


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "run"))
    return Played(monkeypatch)


def test_source_and_mountpoint(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "link").symlink_to("m")
    assert call(capsys, "mount", "/s", tmp_path / "link") == (0, "", "")
    [request] = played.requests
    assert (request.source, request.paths.mountpoint) == (Path("/s"), tmp_path / "m")
    assert (request.born, request.made, request.fuse_options) == ("mount", False, ())
    assert played.ways == ["start"]
    assert not list((tmp_path / "run").rglob("*.lock"))


@pytest.mark.slow
def test_on_a_terminal_it_says_what_to_do_next(
    played: Played,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mount, "is_on_terminal", lambda: True)
    place = tmp_path / "a b"
    said = call(capsys, "mount", "/s", place)
    assert (said.code, said.out, said.err.count("\n")) == (0, "", 1)
    assert f"/s is mounted at {place}. `imagenetfs status` shows" in said.err
    assert f"`imagenetfs umount '{place}'` ends it." in said.err
    assert call(capsys, "mount", "-q", "/s", place) == (0, "", "")


def test_the_bare_form(played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = "ro,workers=3,allow_other,noauto"
    assert call(capsys, "/s", tmp_path / "m", "-o", options).code == 0
    [request] = played.requests
    assert (request.settings.workers, request.settings.origins["workers"]) == (3, "--workers")
    assert request.fuse_options == ("allow_other", "default_permissions")


def test_a_mountpoint_alone(
    played: Played,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("IMAGENETFS_SOURCE", "/of/the/site")
    assert call(capsys, "mount", tmp_path / "m").code == 0
    assert played.requests[0].source == Path("/of/the/site")


def test_a_mountpoint_that_is_made(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(capsys, "mount", "--make", "/s", tmp_path / "m").code == 0
    assert played.requests[0].made
    assert (tmp_path / "m").is_dir()


def test_notes_of_o_are_said(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    done = call(capsys, "mount", "/s", tmp_path / "m", "-o", "rw")
    assert done.err == (
        "imagenetfs: mounted read-only, although `rw` was asked for: there is nothing to "
        "write to.\n"
    )


@pytest.mark.slow
@pytest.mark.parametrize("how", [["--foreground"], ["-f"], ["-o", "foreground"]])
def test_in_the_foreground(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    played.warnings = ["the devkit is missing."]
    done = call(capsys, "mount", "/s", tmp_path / "m", *how)
    assert done == (
        *(0, ""),
        "imagenetfs: warning: the devkit is missing.\n"
        f"imagenetfs: /s is mounted at {tmp_path}/m.\n",
    )
    assert played.ways == ["check", "serve"]
    assert played.logs == ["stderr"]
    assert played.requests[0].log is None


@pytest.mark.parametrize(
    ("log", "installed", "kept"),
    [("/a.log", ["stderr", "/the/log"], Path("/the/log")), ("syslog", ["/the/log"], None)],
)
def test_logs_in_the_foreground(
    played: Played,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    log: str,
    installed: list[str],
    kept: Path | None,
) -> None:
    call(capsys, "mount", "-f", "/s", tmp_path / "m", "--log", log)
    assert played.logs == installed
    assert played.requests[0].log == kept


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a", "b", "c"], "mount takes SOURCE and MOUNTPOINT, or MOUNTPOINT alone."),
        (["/s", "/m", "-o", "bogus"], "Unknown mount option: bogus."),
        (
            ["/s", "/m", "-o", "workers=0"],
            "--workers must be a whole number from 1 to 64, not '0'.",
        ),
        (["/s", "/m", "--idle", "never"], "--idle must be a time such as 90, 90s or 2m"),
    ],
)
def test_refusals(
    played: Played, capsys: pytest.CaptureFixture[str], arguments: list[str], sentence: str
) -> None:
    done: Any = call(capsys, "mount", *arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"imagenetfs: {sentence}")
    assert played.ways == []


@pytest.mark.parametrize("words", [["--allow-other"], ["-o", "allow_other"]])
def test_others_are_let_in_by_either_way(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert call(capsys, "mount", "-r", *words, "/s", tmp_path / "m").code == 0
    assert played.requests[0].fuse_options == ("allow_other", "default_permissions")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "level"),
    [
        ([], "info"),
        (["--log-level", "warning"], "warning"),
        (["--debug"], "debug"),
        (["--debug", "--log-level", "error"], "error"),
        (["-o", "log_level=error"], "error"),
    ],
)
def test_how_much_is_logged(
    played: Played,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    level: str,
) -> None:
    done = call(capsys, "mount", *words, "/s", tmp_path / "m", "--log-file", tmp_path / "log")
    assert done.code == 0, done.err
    assert played.requests[0].settings.log_level == level
    assert played.requests[0].settings.log == tmp_path / "log"
