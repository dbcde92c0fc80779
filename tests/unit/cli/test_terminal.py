"""What a person reads: numbers, tables, progress."""

from __future__ import annotations

import io
import re
import sys
import time

import pytest

from imagenetfs.cli import terminal
from imagenetfs.cli.progress import ProgressBar


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


def test_progress_as_lines(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with ProgressBar("Indexing", unit="images") as bar:
        for second in range(20):
            now[0] = float(second)
            bar.update(second * 1000, 20_000, "train")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "imagenetfs: Indexing train: 25 % 5,000/20,000 images, 1,000 images/s, 15 s left",
        "imagenetfs: Indexing train: 50 % 10,000/20,000 images, 1,000 images/s, 10 s left",
        "imagenetfs: Indexing train: 75 % 15,000/20,000 images, 1,000 images/s, 5 s left",
        "imagenetfs: Indexing: 19,000/20,000 images, 1,000 images/s, in 19 s.",
    ]


def test_progress_of_something_short(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("Making a sample") as bar:
        bar.fraction("one", 0.5)
        bar.fraction("two", 1.0)
    assert capsys.readouterr().err == "imagenetfs: Making a sample: done in 0 s.\n"


def test_progress_says_nothing_of_success_after_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ValueError, match="odd"), ProgressBar("Indexing", unit="images") as bar:
        bar.update(1, None)
        raise ValueError("odd")
    assert capsys.readouterr().err == ""


def test_nothing_is_drawn_before_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(ValueError, match="no"), ProgressBar("Making a sample"):
        raise ValueError("no")
    assert screen.getvalue() == ""


def test_a_progress_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    before = threading.active_count()
    with ProgressBar("Indexing", unit="images") as bar:
        bar.update(5, None, "val")
        bar.update(10, 20, "train")
        assert threading.active_count() == before, "the work may fork"
    text = screen.getvalue()
    assert "Indexing train" in text
    assert " images/s" in text
    assert "10/20 images" in text
    assert "50%" in text
