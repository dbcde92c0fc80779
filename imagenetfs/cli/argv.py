"""The command line before typer sees it: the bare form, and the user's command after ``--``."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import UsageError

COMMANDS = (
    *("mount", "umount", "run", "enter", "status", "info", "index", "stage", "cache"),
    *("verify", "doctor", "settings", "sample"),
)
"""In the order of ``--help``. Each is a module of this package by that name."""


@dataclass(frozen=True, slots=True)
class Arranged:
    """Arguments for typer, and the user's command (None where there was no ``--``)."""

    arguments: list[str]
    command: list[str] | None = None


def split_argv(given: list[str]) -> Arranged:
    """Sort a command line out. Raises UsageError for a command that does not exist."""
    if not given:
        return Arranged(["--help"])
    if given[0] in ("run", "enter") and "--" in given:
        cut = given.index("--")
        if not given[cut + 1 :] and not _wants_help(given):
            raise UsageError("There is no command after `--`.")
        return Arranged(given[:cut], given[cut + 1 :])
    if given[:1] == ["run"] and not _wants_help(given):
        raise UsageError(f"Put `--` before the command: {_with_dashes(given)}")
    return Arranged(["mount", *given] if _is_bare(given) else given)


def _wants_help(given: list[str]) -> bool:
    return not {"-h", "--help"}.isdisjoint(given)


def _with_dashes(given: list[str]) -> str:
    """``run``'s command line as it was probably meant: options and SOURCE, ``--``, the command."""
    at = 1
    while at < len(given):
        if given[at].startswith("-"):
            at += 1 if "=" in given[at] else 2
        elif Path(given[at]).is_dir():
            at += 1
        else:
            break
    command = given[at:] or ["python", "train.py", "{mnt}"]
    return " ".join(["imagenetfs", *given[:at], "--", *command])


def _is_bare(given: list[str]) -> bool:
    """Whether this is ``imagenetfs SOURCE MOUNTPOINT [-o ...]``, as mount(8) calls it."""
    if not given or given[0] in COMMANDS:
        return False
    first = given[0]
    if first.startswith("-"):
        return first.startswith("-o")
    looks_like_word = "/" not in first and not Path(first).exists()
    near = difflib.get_close_matches(first, COMMANDS, n=1)
    too_many = len(given) > 2 and not given[2].startswith("-")
    if looks_like_word and (near or len(given) == 1 or too_many):
        hint = f"Did you mean `{near[0]}`?" if near else f"There are {', '.join(COMMANDS)}."
        raise UsageError(f"There is no command `{first}`. {hint}")
    return True
