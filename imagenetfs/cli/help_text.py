"""A command's page on a terminal, or as plain lines."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from textwrap import wrap
from typing import Any

from imagenetfs.cli.exit_codes import EXIT_CODES
from imagenetfs.cli.manual import Option, Page
from imagenetfs.cli.terminal import has_styles

_WIDEST, _NARROWEST = 100, 40
_COLUMN = 26
"""Where the texts of options begin."""

_CODE = re.compile(r"`([^`]+)`")


def help_text(page: Page) -> str:
    """The page in as many columns as the terminal has, up to 100."""
    return "\n".join(_lines(page, _width(), has_styles())) + "\n"


def _width() -> int:
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size((80, 24)).columns))


_READ_ON = (
    "`imagenetfs help COMMAND` says more of each, with examples; `imagenetfs --help` has the "
    "options of all commands, and the exit codes."
)


def overview(page: Page) -> str:
    """What fits on a screen: the page of all commands without options and exit codes."""
    short_page = replace(page, groups=(), notes=(_READ_ON,))
    return "\n".join(_lines(short_page, _width(), has_styles(), has_codes=False)) + "\n"


def _lines(page: Page, width: int, bold: bool, *, has_codes: bool = True) -> Iterator[str]:
    def heading(text: str) -> str:
        return f"\033[1m{text}\033[0m" if bold else text

    yield from _wrapped(f"Usage: {page.usage}", width, "", " " * 7)
    for text in (page.purpose, *page.paragraphs):
        yield ""
        yield from _wrapped(text, width)
    if page.examples:
        yield from ("", heading("Examples:"))
        for example in page.examples:
            yield from _wrapped(example.what + ":", width, "  ")
            yield f"    {example.command}"
    if page.commands:
        yield from ("", heading("Commands:"))
        for name, purpose in page.commands:
            yield from _two_columns(name, purpose, width, 12)
    for group, options in page.groups:
        yield from ("", heading(f"{group}:"))
        for option in options:
            yield from _two_columns(option.title, _text_of(option), width, _COLUMN)
    if not page.path and has_codes:
        yield from ("", heading("Exit codes:"))
        for code, meaning, _ in EXIT_CODES:
            yield from _two_columns(code, meaning, width, 12)
    for note in page.notes:
        yield ""
        yield from _wrapped(note, width)


def _text_of(option: Option) -> str:
    return f"{option.text} {option.facts}".strip()


def _two_columns(left: str, right: str, width: int, column: int) -> Iterator[str]:
    """A name, and its text beside it; below it where the name is long."""
    column = min(column, width // 2)
    lines = wrap(right, width - column, break_on_hyphens=False) or [""]
    head = f"  {left}"
    if len(head) + 2 > column:
        yield head
    else:
        yield f"{head:<{column}}{lines.pop(0)}".rstrip()
    for line in lines:
        yield " " * column + line


def _wrapped(text: str, width: int, first: str = "", others: str | None = None) -> Iterable[str]:
    return wrap(
        text,
        width,
        initial_indent=first,
        subsequent_indent=first if others is None else others,
        break_on_hyphens=False,
        break_long_words=False,
    )


def short(text: str) -> str:
    """A text without its marks, for a list of completions."""
    return _CODE.sub(r"\1", text)


def write_help(command: Any, path: str) -> str:
    """The text of a command of the parser."""
    from imagenetfs.cli.manual import page_of

    return help_text(page_of(path, command))


def write_overview(command: Any) -> str:
    """The overview of all commands, of the parser."""
    from imagenetfs.cli.manual import page_of

    return overview(page_of("", command))
