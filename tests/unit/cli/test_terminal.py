"""What a person reads: numbers, tables, progress."""

from __future__ import annotations

import io
import re
import sys

import pytest

from imagenetfs.cli import terminal


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (148e9, "137.8 GiB"), (5e15, "4547.5 TiB")],
)
def test_bytes(count: float, text: str) -> None:
    assert terminal.in_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.4, "59 s"), (61, "1 min 01 s"), (3725, "1 h 02 min"), (90000, "1 d 01 h")],
)
def test_times(seconds: float, text: str) -> None:
    assert terminal.in_time(seconds) == text


def test_a_table_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(("a", "b"), [("1", "[red]x")])
    assert capsys.readouterr().out == "a\tb\n1\t[red]x\n"


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


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", closed)
    terminal.say("nobody hears this")
