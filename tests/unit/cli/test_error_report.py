"""Errors become one sentence and an exit code; nothing else reaches the terminal."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from imagenetfs import errors
from imagenetfs.cli import app
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


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["mount"], 2, "Missing argument"),
        (["mount", "--bogus", "x"], 2, "No such option"),
        (["mount", "a", "b", "c"], 2, "SOURCE and MOUNTPOINT"),
        (["mount", "/a", "/b", "--source", "/c"], 2, "given twice"),
        (["mount", "/a", "/b", "--workers", "none"], 2, "--workers must be"),
        (["mount", "/a", "/b", "-o", "bogus"], 2, "Unknown mount option: bogus"),
        (["umount"], 2, "Missing argument"),
        (["umount", "/proc"], 25, "not imagenetfs"),
        (["umount", "/no/such"], 25, "Nothing is mounted"),
        (["status", "/no/such"], 25, "No mount of imagenetfs"),
        (["umount", "/no/such"], 25, "`imagenetfs status` lists your mounts"),
        (["index", "--json"], 2, "See `imagenetfs index --help`."),
        (["moutn", "x"], 2, "Did you mean `mount`?"),
        (["run", "ls"], 125, "Put `--` before the command"),
        (["run", "--"], 125, "There is no command after `--`"),
        (["run", "--bogus", "--", "true"], 125, "No such option"),
        (["sample", "x", "--full-size", "--classes", "3"], 2, "--full-size"),
    ],
)
def test_bad_usage_through_the_whole_command(
    capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, sentence: str
) -> None:
    assert app.main(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("imagenetfs: ")
    assert sentence in captured.err


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"], ["mount", "--help"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert app.main(arguments) == 0
    assert "Usage:" in capsys.readouterr().out


def test_a_group_of_commands_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache"]) == 2
    assert "Name one of these commands. See `imagenetfs cache --help`." in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("imagenetfs ")


def test_settings_that_are_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["settings", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    unset = {"value": None, "set_by": "default"}
    assert [shown[name] for name in ("index_path", "in_flight", "view", "log")] == [unset] * 4


def test_a_sample_says_how_to_go_on(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = tmp_path / "a sample"
    assert app.main(["sample", str(made), "--classes", "2", "--images", "4"]) == 0
    line = capsys.readouterr().err.splitlines()[-1]
    assert line == f"imagenetfs: try it: imagenetfs run '{made}' -- ls {{mnt}}"


def test_a_closed_pipe_is_quiet() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "imagenetfs", "settings"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, check=False, timeout=30)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")
