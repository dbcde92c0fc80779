"""What happens around a command's work: its exit code, its streams, and the process's end."""

from __future__ import annotations

import io
import itertools
import logging
import os
import sys
from pathlib import Path

import pytest

from imagenetfs.cli import app, commands
from imagenetfs.errors import SourceMissingError
from tests.helpers.forked import answer


@pytest.fixture
def executed(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The command lines that were executed; each fails."""
    seen: list[list[str]] = []

    def execute(arranged: list[str]) -> int:
        seen.append(arranged)
        raise SourceMissingError("It is not there.")

    monkeypatch.setattr(commands, "execute", execute)
    return seen


def test_a_failure_is_a_sentence_and_a_code(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.main(["info", "/x"]) == 10
    assert capsys.readouterr() == ("", "imagenetfs: It is not there.\n")
    assert executed == [["info", "/x"]]


@pytest.mark.parametrize("command", ["run", "enter"])
def test_a_users_command_keeps_its_codes(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert app.main([command, "--", "true"]) == 125
    assert executed == [[command, "--", "true"]]


def test_only_a_real_command_line_is_isolated(
    executed: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    isolated: list[list[str]] = []
    monkeypatch.setattr(app, "isolate", isolated.append)
    monkeypatch.setattr(sys, "argv", ["imagenetfs", "info", "/y"])
    app.main(["info", "/x"])
    assert isolated == []
    app.main()
    assert isolated == [["info", "/y"]]
    assert executed[-1] == ["info", "/y"]


@pytest.mark.expects_log("odd")
def test_layers_below_write_no_log_to_the_terminal(
    executed: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    app.main(["info"])
    capsys.readouterr()
    logging.getLogger("imagenetfs.tree").warning("odd")
    assert capsys.readouterr().err == ""


class Closed(io.StringIO):
    def flush(self) -> None:
        raise BrokenPipeError


@pytest.mark.parametrize("stream", [None, Closed()])
def test_the_process_ends_with_the_code_whatever_its_streams_are(
    monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(app, "main", lambda: 42)
    monkeypatch.setattr(os, "_exit", codes.append)
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "stderr", stream)
        app.command()
    assert codes == [42]


@pytest.mark.slow
@pytest.mark.parametrize(
    "closed", [fds for count in range(4) for fds in itertools.combinations(range(3), count)]
)
def test_whichever_streams_are_closed_three_are_open(closed: tuple[int, ...]) -> None:
    def streams_after() -> list[str]:
        for fd in closed:
            os.close(fd)
        app.open_missing_streams()
        return [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in range(3)]

    before = [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in range(3)]
    wanted = [os.devnull if fd in closed else path for fd, path in enumerate(before)]
    assert answer(streams_after) == wanted
