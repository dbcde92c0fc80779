"""Progress: a bar on a terminal, lines elsewhere, nothing before a refusal."""

from __future__ import annotations

import io
import sys
import time

import pytest

from imagenetfs.cli.progress import ProgressBar


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


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


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a bar sees."""
    seen = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: seen[0])
    return seen


def test_a_total_that_is_not_known(now: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("Indexing", unit="members") as bar:
        now[0] += 10
        bar.update(2500, None)
    assert capsys.readouterr().err.splitlines() == [
        "imagenetfs: Indexing: 2,500 members, 250 members/s",
        "imagenetfs: Indexing: 2,500 members, 250 members/s, in 10 s.",
    ]


def test_a_line_each_five_seconds_at_most(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar("Making") as bar:
        for _ in range(60):
            now[0] += 0.25
            bar.fraction("train", 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[:-1] == [f"imagenetfs: Making train: 50 %, {left} s left" for left in (5, 10)]
    assert lines[-1] == "imagenetfs: Making: done in 15 s."


def test_nothing_is_left_of_what_is_done(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar("Staging", unit="MB") as bar:
        now[0] += 10
        bar.update(20, 20)
    assert "left" not in capsys.readouterr().err


def test_ctrl_c_leaves_no_second_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    with pytest.raises(KeyboardInterrupt), ProgressBar("Indexing", unit="images") as bar:
        bar.update(1, 2, "train")
        raise KeyboardInterrupt
    assert screen.getvalue().endswith("\x1b[1A\x1b[2K"), "the bar's line is erased"


def test_a_bar_is_drawn_ten_times_a_second_and_at_each_step(
    now: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    drawn = []
    with ProgressBar("Making") as bar:
        real = bar._draw

        def draw() -> None:
            drawn.append(now[0])
            real()

        monkeypatch.setattr(bar, "_draw", draw)
        for step, later in (("a", 0.0), ("a", 0.05), ("a", 0.06), ("b", 0.01)):
            now[0] += later
            bar.fraction(step, 0.5)
    assert drawn == pytest.approx([100.0, 100.11, 100.12, 100.12])


def test_what_was_there_before_is_no_speed_and_no_time(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    """A stage that goes on where an earlier one was: 90 of 200 MB were there, 10 came in 10 s."""
    with ProgressBar("Staging", unit="MB") as bar:
        now[0] += 10
        bar.update(100, 200, there=90)
        now[0] += 10
        bar.update(200, 200, there=180)
    assert capsys.readouterr().err.splitlines() == [
        "imagenetfs: Staging: 50 % 100/200 MB (90 were there), 1 MB/s, 1 min 40 s left",
        "imagenetfs: Staging: 100 % 200/200 MB (180 were there), 1 MB/s",
        "imagenetfs: Staging: 200/200 MB (180 were there), 1 MB/s, in 20 s.",
    ]


def test_no_time_is_left_while_nothing_was_done_yet(
    now: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with ProgressBar("Staging", unit="MB") as bar:
        now[0] += 10
        bar.update(90, 200, there=90)
    assert "left" not in capsys.readouterr().err
