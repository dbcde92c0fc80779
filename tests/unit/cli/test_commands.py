"""The commands, put together: what the parser refuses is a sentence, and help is help."""

from __future__ import annotations

import importlib
import re
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from imagenetfs.cli import app, commands
from imagenetfs.cli.commands import COMMANDS, Arranged
from imagenetfs.errors import GroupNeededError, UsageError
from imagenetfs.job import primary_group


@pytest.mark.slow
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


def test_no_arguments_give_an_overview(capsys: pytest.CaptureFixture[str]) -> None:
    """It fits on a screen, and says where the rest is."""
    assert app.main([]) == 0
    out = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +[A-Z]", out, re.MULTILINE) for name in COMMANDS)
    assert "Exit codes:" not in out
    assert out.count("\n") < 50
    assert "imagenetfs --help" in out


@pytest.mark.parametrize("arguments", [[], ["--help"], ["run", "-h"], ["mount", "--help"]])
def test_help(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert app.main(arguments) == 0
    assert "Usage:" in capsys.readouterr().out


def test_a_group_of_commands_without_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["cache"]) == 2
    sentence = "Name one of these commands: ls, verify, clear. See `imagenetfs cache --help`."
    assert sentence in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("imagenetfs ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert app.main([name, "--help"]) == 0
    out, err = capsys.readouterr()
    assert f"Usage: imagenetfs {name} " in out
    assert err == ""


def test_help_lists_all_commands_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    out = capsys.readouterr().out
    places = [re.search(rf"^\W*{name}\b", out, re.MULTILINE) for name in COMMANDS]
    found = [place.start() for place in places if place is not None]
    assert len(found) == len(COMMANDS)
    assert found == sorted(found)


def test_only_the_named_command_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = importlib.import_module

    def import_module(name: str) -> object:
        asked.append(name)
        return real(name)

    monkeypatch.setattr(commands, "import_module", import_module)
    commands._parser("settings")
    assert asked == ["imagenetfs.cli.settings"]
    commands._parser("--help")
    assert len(asked) == 1 + len(COMMANDS)


def test_a_command_that_exists_is_not_called_wrong_by_its_options(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert app.main(["umount", "--layz", "/x"]) == 2
    err = capsys.readouterr().err
    assert err.startswith("imagenetfs: No such option: --layz")
    assert "--lazy" in err.partition("--layz")[2]
    assert err.endswith(" See `imagenetfs umount --help`.\n")


# --- another group --------------------------------------------------------------------------------


class Gone(BaseException):
    """This process has become another."""


def _starts_again(monkeypatch: pytest.MonkeyPatch, is_again: bool) -> list[tuple[list[str], bool]]:
    asked: list[tuple[list[str], bool]] = []

    def execute(arranged: Arranged) -> int:
        raise GroupNeededError("It needs a group.", "imagenet")

    def again(need: object, given: list[str], say: object, *, is_again: bool) -> None:
        asked.append((given, is_again))
        raise Gone

    monkeypatch.setattr(commands, "_execute", execute)
    if is_again:
        monkeypatch.setenv(primary_group.UNDER_VARIABLE, "users")
        monkeypatch.setattr(primary_group, "consume_reexec_marker", lambda: True)
    monkeypatch.setattr(primary_group, "reexec_under_group", again)
    return asked


@pytest.mark.parametrize("is_again", [False, True])
def test_the_whole_command_line_starts_again_under_the_group(
    monkeypatch: pytest.MonkeyPatch, is_again: bool
) -> None:
    asked = _starts_again(monkeypatch, is_again)
    with pytest.raises(Gone):
        commands.execute(["run", "/s", "--", "ls", "{mnt}"])
    with pytest.raises(Gone):
        commands.execute(["mount", "/s", "/m"])
    assert asked == [
        (["run", "/s", "--", "ls", "{mnt}"], is_again),
        (["mount", "/s", "/m"], is_again),
    ]


# --- the parser's ways out ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("way_out", "expected"),
    [
        (typer.Exit(7), 7),
        (typer.Abort(), KeyboardInterrupt),
        (SystemExit(1), BrokenPipeError),
        (typer.BadParameter("odd"), UsageError),
        (None, 0),
    ],
)
def test_ways_out_of_the_parser(
    monkeypatch: pytest.MonkeyPatch, way_out: BaseException | None, expected: Any
) -> None:
    def main(**more: object) -> None:
        if way_out is not None:
            raise way_out

    monkeypatch.setattr(commands, "_parser", lambda first: SimpleNamespace(main=main))
    if isinstance(expected, int):
        assert commands.execute(["status"]) == expected
    else:
        with pytest.raises(expected):
            commands.execute(["status"])
