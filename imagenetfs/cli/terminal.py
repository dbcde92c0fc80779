"""What a person reads: sentences on standard error, results on standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

PROGRAM = "imagenetfs"


def say(sentence: str) -> None:
    """One line on standard error, with the program's name in front."""
    try:
        print(f"{PROGRAM}: {sentence}", file=sys.stderr, flush=True)
    except (OSError, ValueError):  # closed or broken: there is no one to tell
        return


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table on standard output, nothing of it cut off; tab-separated lines
    where that is no terminal.
    """
    if not sys.stdout.isatty():
        for row in (head, *rows):
            print("\t".join(map(_printable, row)))
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in head:
        grid.add_column(_literal(title), overflow="fold")
    for row in rows:
        grid.add_row(*(_literal(cell) for cell in row))
    Console().print(grid)


def _literal(text: str) -> str:
    """Square brackets in a path are no markup."""
    from rich.markup import escape

    return escape(_printable(text))


def _printable(text: str) -> str:
    r"""Bytes of a path that are no UTF-8 as ``\xfc``."""
    return os.fsencode(text).decode(errors="backslashreplace")


def in_bytes(count: float) -> str:
    """``1536`` -> ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1024 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def in_time(seconds: float) -> str:
    """``3725`` -> ``1 h 02 min``; below an hour minutes and seconds."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60:02} min"
    return f"{whole // 86400} d {whole % 86400 // 3600:02} h"
