"""Help on a terminal of any width, and where there is none."""

from __future__ import annotations

import re
import sys

import pytest

from imagenetfs.cli import app
from imagenetfs.cli.commands import COMMANDS, all_commands
from imagenetfs.cli.exit_codes import EXIT_CODES
from imagenetfs.cli.help_text import help_text, short
from imagenetfs.cli.manual import page_of, pages
from imagenetfs.errors import ExitCode

PAGES = [page_of("", all_commands()), *pages(all_commands())]


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_nothing_but_commands_and_names_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    for page in PAGES:
        for line in help_text(page).splitlines():
            is_whole = line.startswith("    imagenetfs ") or " " not in line.strip()
            is_title = any(line == f"  {o.title}" for _, options in page.groups for o in options)
            assert len(line) <= min(columns, 100) or is_whole or is_title, line
            assert line == line.rstrip()


def test_headings_are_bold_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "\033" not in help_text(PAGES[1])
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\033[1mExamples:\033[0m" in help_text(PAGES[1])
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\033" not in help_text(PAGES[1])
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert "\033" not in help_text(PAGES[1])


def test_every_exit_code_is_in_the_help_of_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["--help"]) == 0
    out = capsys.readouterr().out
    for code in ExitCode:
        assert re.search(rf"^  {int(code)} +\w*", out, re.MULTILINE), code
    assert [code for code, _, _ in EXIT_CODES][:-1] == [str(int(code)) for code in ExitCode]


@pytest.mark.slow
@pytest.mark.parametrize("name", COMMANDS)
def test_help_by_word(capsys: pytest.CaptureFixture[str], name: str) -> None:
    assert app.main(["help", name]) == 0
    by_word = capsys.readouterr().out
    assert app.main([name, "-h"]) == 0
    assert by_word == capsys.readouterr().out
    assert by_word.startswith(f"Usage: imagenetfs {name} ")


def test_help_of_a_command_below_another(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["help", "cache", "ls"]) == 0
    assert capsys.readouterr().out.startswith("Usage: imagenetfs cache ls ")
    assert app.main(["help", "index", "check"]) == 0
    assert capsys.readouterr().out.startswith("Usage: imagenetfs index check ")
    assert app.main(["help"]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_marks_are_left_out_of_completions() -> None:
    assert short("`none` keeps it") == "none keeps it"
