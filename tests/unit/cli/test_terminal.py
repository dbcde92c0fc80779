"""What a person reads: tables, progress."""

from __future__ import annotations

import ast
import io
import logging
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.cli import terminal
from imagenetfs.cli.terminal import Loudness


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_table_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(("a", "b"), [("1", "[red]x")])
    assert capsys.readouterr().out == "a\tb\n1\t[red]x\n"


HOSTILE = "\x1b]0;PWN\x07\n[31mx\u202e"
SHOWN = r"\x1b]0;PWN\x07\n[31mx\u202e"


def test_no_control_character_is_printed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """S19: on the terminal."""
    terminal.say(HOSTILE)
    assert capsys.readouterr().err == f"imagenetfs: {SHOWN}\n"
    terminal.show(HOSTILE)
    terminal.table(("a",), [(HOSTILE,)])
    assert capsys.readouterr().out == f"{SHOWN}\na\n{SHOWN}\n"
    terminal.show_graded("red", HOSTILE)
    assert SHOWN in capsys.readouterr().out
    terminal.show_json([HOSTILE])
    assert "\x1b" not in capsys.readouterr().out
    terminal.say_traceback(f"one\n{HOSTILE}")
    assert capsys.readouterr().err == "one\n" + SHOWN.replace(r"\n", "\n") + "\n"
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    terminal.table(("a",), [(HOSTILE,)])
    assert SHOWN in screen.getvalue()


@pytest.mark.slow
def test_all_that_commands_print_goes_through_one_place() -> None:
    printing = []
    for path in sorted(Path(terminal.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if path.name == "terminal.py" or not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in ("print", "typer.echo", "typer.secho") or re.search(
                r"(stdout|stderr)\.write", called
            ):
                printing.append(f"{path.name}:{node.lineno} {called}")
    assert printing == []


def test_a_table_for_people(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    terminal.table(("a", "b"), [("1", "[red]x")])
    assert "[red]x" in screen.getvalue()


def test_a_table_cuts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, path = Screen(), "/scratch/" + "0123456789" * 12
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "50")
    terminal.table(("mountpoint", path[:40]), [("source", path)])
    lines = re.sub(r"\x1b\[\d*m", "", screen.getvalue()).splitlines()
    assert max(map(len, lines)) <= 50
    right = "".join(line[12:].strip(" ─") for line in lines)
    assert right == path[:40] + path


@pytest.mark.parametrize(
    ("environ", "has_styles"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_no_colours_for_those_who_want_none(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], has_styles: bool
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("TERM", raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    graded, heads = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", graded)
    terminal.show_graded("green", "source: it is there")
    monkeypatch.setattr(sys, "stdout", heads)
    terminal.table(("a", "b"), [("1", "2")])
    for shown in (graded.getvalue(), heads.getvalue()):
        assert ("\x1b[1" in shown) is has_styles
        assert has_styles or "\x1b" not in shown


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    terminal.say("nobody hears this")


# --- more and less --------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _usual() -> Iterator[None]:
    yield
    terminal.be(Loudness.USUAL)


def test_the_quiet_hear_warnings_and_what_is_always_said(
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal.be(Loudness.QUIET)
    terminal.say("a note")
    terminal.say("warning: a thing")
    terminal.say("an error", always=True)
    assert capsys.readouterr().err == "imagenetfs: warning: a thing\nimagenetfs: an error\n"


@pytest.mark.parametrize(
    ("loudness", "said"),
    [
        (Loudness.USUAL, ""),
        (Loudness.VERBOSE, "imagenetfs: INFO a\\nb\n"),
        (Loudness.DEBUG, "imagenetfs: INFO a\\nb\nimagenetfs: DEBUG c\n"),
    ],
)
def test_what_is_logged_is_said(
    capsys: pytest.CaptureFixture[str], loudness: Loudness, said: str
) -> None:
    terminal.be(Loudness.DEBUG)
    terminal.be(loudness)
    log = logging.getLogger("imagenetfs.anything")
    log.info("%s", "a\rb".replace("\r", "\\n"))
    log.debug("c")
    assert capsys.readouterr().err == said
    assert terminal.is_debugging() is (loudness is Loudness.DEBUG)


def test_names_and_values(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("name", "a long value " * 4), ("n", "")]
    terminal.fields(rows)
    assert capsys.readouterr().out == f"name\t{rows[0][1]}\nn\t\n"
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    terminal.fields(rows)
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "name  a long value a long value a long",
        "      value a long value",
        "n",
    ]


def test_a_number_stays_with_its_unit() -> None:
    assert terminal.wrapped("one reader gets 347 MB/s", 19) == ["one reader gets", "347 MB/s"]
    assert terminal.wrapped("it is 7 % of it", 7) == ["it is", "7 % of", "it"]
    assert terminal.wrapped("", 20) == [""]
