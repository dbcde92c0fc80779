"""What a person reads: sentences on standard error, results on standard output.

All that the commands print goes through here: no control character reaches a terminal, whatever it
is that a file, a member or another user's process is called.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Sequence
from enum import IntEnum

from imagenetfs.system.text import printable

PROGRAM = "imagenetfs"

DEBUG_VARIABLE = "IMAGENETFS_DEBUG"

WARNING = "warning: "


class Loudness(IntEnum):
    """How much a command says on standard error."""

    QUIET = 0
    USUAL = 1
    VERBOSE = 2
    DEBUG = 3


class _Voice:
    """How loud this command is, and what shows the log where it is louder than usual."""

    def __init__(self) -> None:
        self.loudness = Loudness.USUAL
        self.handler: logging.Handler | None = None


_voice = _Voice()


def be(loudness: Loudness) -> None:
    """Say more or less from now on. VERBOSE and DEBUG show what the layers below log, too."""
    _voice.loudness = loudness
    logger = logging.getLogger("imagenetfs")
    if _voice.handler is not None:
        logger.removeHandler(_voice.handler)
        logger.setLevel(logging.NOTSET)
        _voice.handler = None
    if loudness > Loudness.USUAL:
        _voice.handler = logging.StreamHandler()
        _voice.handler.setFormatter(_LogFormatter(f"{PROGRAM}: %(levelname)s %(message)s"))
        logger.addHandler(_voice.handler)
        logger.setLevel(logging.DEBUG if loudness is Loudness.DEBUG else logging.INFO)


class _LogFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))


def is_quiet() -> bool:
    """Whether progress and notes are left out."""
    return _voice.loudness is Loudness.QUIET


def is_debugging() -> bool:
    """Whether --debug was typed."""
    return _voice.loudness is Loudness.DEBUG


def is_on_terminal() -> bool:
    """Whether what is said is read by a person now, and not by a script or a log."""
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # closed
        return False


def say(sentence: str, *, always: bool = False) -> None:
    """One line on standard error, with the program's name in front. ``always``: even to those who
    want warnings and errors only.
    """
    if is_quiet() and not always and not sentence.startswith(WARNING):
        return
    try:
        print(f"{PROGRAM}: {printable(sentence)}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed or broken: there is no one to tell
        return


def say_traceback(text: str) -> None:
    """Lines on standard error, as they are but for control characters."""
    for line in text.splitlines():
        print(printable(line), file=sys.stderr)


def has_styles() -> bool:
    """Whether results are coloured and bold: on a terminal, unless the user wants none of that."""
    is_plain = os.environ.get("NO_COLOR") or os.environ.get("TERM", "dumb") == "dumb"
    return sys.stdout.isatty() and not is_plain


def show(line: str) -> None:
    """One line of the result."""
    print(printable(line))


def show_graded(colour: str, line: str) -> None:
    """One line of the result behind its grade, which is a colour's name."""
    grade = f"{colour:<6}"
    if has_styles():
        from typer import style

        grade = style(grade, fg=colour, bold=True)
    print(f"{grade} {printable(line)}")


def show_json(value: object, *, indent: int | None = 2) -> None:
    """The result for programs; JSON has escapes of its own."""
    print(json.dumps(value, indent=indent))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output, nothing of it cut off; tab-separated lines
    where that is no terminal.
    """
    if not sys.stdout.isatty():
        for row in (head, *rows):
            print("\t".join(map(printable, row)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    style = "bold" if has_styles() else ""
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style=style)
    for title in head:
        grid.add_column(literal(title), overflow="fold")
    for row in rows:
        grid.add_row(*(literal(cell) for cell in row))
    Console().print(grid)


_WITH_UNIT = re.compile(r"(\d) (%|[kMGT]?B(?:/s)?|m?s|min|h|images|CPUs)(?!\w)")


def wrapped(text: str, room: int, *, break_long_words: bool = True) -> list[str]:
    """The lines of a text; a number stays with its unit."""
    from textwrap import wrap

    text = _WITH_UNIT.sub("\\1\N{NO-BREAK SPACE}\\2", text)
    lines = wrap(text, room, break_on_hyphens=False, break_long_words=break_long_words)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines] or [""]


def fields(rows: Iterable[tuple[str, str]]) -> None:
    """Names and values, a line each: on a terminal in two columns, long values wrapped below their
    beginning; elsewhere separated by tabs.
    """
    every = [(printable(name), printable(value)) for name, value in rows]
    if not sys.stdout.isatty():
        for row in every:
            print("\t".join(row))
        return
    import shutil

    indent = max((len(name) for name, _ in every), default=0) + 2
    room = max(20, shutil.get_terminal_size().columns - indent)
    for name, value in every:
        first, *others = wrapped(value, room)
        print(f"{name:<{indent}}{first}".rstrip())
        for line in others:
            print(" " * indent + line)


def literal(text: str) -> str:
    """For rich: square brackets in a path are no markup."""
    from rich.markup import escape

    return escape(printable(text))
