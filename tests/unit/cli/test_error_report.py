"""Errors become one sentence and an exit code; nothing else reaches the terminal."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagenetfs import errors
from imagenetfs.cli.error_report import guarded
from imagenetfs.errors import ExitCode
from imagenetfs.job.command import CommandNotFoundError


def raises(error: BaseException) -> int:
    raise error


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("IMAGENETFS_DEBUG", raising=False)


def test_a_code_passes() -> None:
    assert guarded(lambda: 7) == 7


def test_our_own_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raises(errors.NotMountedError("Nothing is there."))) == 25
    assert capsys.readouterr() == ("", "imagenetfs: Nothing is there.\n")


def test_run_keeps_its_commands_codes_free(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raises(errors.SourceMissingError("No.")), is_run=True) == 125
    assert guarded(lambda: raises(CommandNotFoundError("No.")), is_run=True) == 127
    assert guarded(lambda: raises(ValueError("No.")), is_run=True) == 125
    assert guarded(lambda: 7, is_run=True) == 7


def test_ctrl_c_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded(lambda: raises(KeyboardInterrupt())) == 130
    assert capsys.readouterr() == ("", "")


def test_anything_else_is_kept_in_a_log(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert guarded(lambda: raises(ValueError("odd"))) == ExitCode.INTERNAL
    log = tmp_path / "imagenetfs" / "log" / "commands.log"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "ValueError: odd" in said
    assert str(log) in said
    assert "Traceback" in log.read_text()


def test_debugging_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGENETFS_DEBUG", "1")
    assert guarded(lambda: raises(ValueError("odd"))) == ExitCode.INTERNAL
    assert "Traceback" in capsys.readouterr().err


def test_a_log_that_cannot_be_written(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    assert guarded(lambda: raises(ValueError("odd"))) == ExitCode.INTERNAL
    assert "IMAGENETFS_DEBUG=1" in capsys.readouterr().err


def test_a_full_disk(capsys: pytest.CaptureFixture[str]) -> None:
    full = OSError(errno.ENOSPC, "No space left on device", "/x/file")
    assert guarded(lambda: raises(full)) == ExitCode.NO_SPACE
    assert "/x/file" in capsys.readouterr().err


def test_exit_codes_are_never_renumbered() -> None:
    # Part of the interface: scripts of users depend on these.
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "INTERNAL": 1,
        "USAGE": 2,
        "SOURCE_MISSING": 10,
        "SOURCE_UNREADABLE": 11,
        "SOURCE_UNKNOWN": 12,
        "ARCHIVE_BROKEN": 13,
        "INDEX_WRONG": 14,
        "REQUIREMENT_NOT_MET": 15,
        "MOUNTPOINT_MISSING": 20,
        "MOUNTPOINT_NOT_DIRECTORY": 21,
        "MOUNTPOINT_NOT_EMPTY": 22,
        "MOUNTPOINT_IN_USE": 23,
        "MOUNTPOINT_STALE": 24,
        "NOT_MOUNTED": 25,
        "STILL_BUSY": 26,
        "PLACE_REFUSED": 27,
        "FUSE_UNAVAILABLE": 30,
        "FUSE_REFUSED": 31,
        "NO_SPACE": 32,
        "MISSING_PACKAGE": 33,
        "DOCTOR_YELLOW": 40,
        "DOCTOR_RED": 41,
        "VERIFY_FAILED": 42,
        "RUN_FAILED": 125,
        "COMMAND_NOT_EXECUTABLE": 126,
        "COMMAND_NOT_FOUND": 127,
    }


@pytest.mark.slow
def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "imagenetfs", "settings"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
