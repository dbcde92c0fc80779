"""Kinds of values: how each is written on the command line, in a variable, and in TOML."""

from __future__ import annotations

import os
import pwd
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {unit + "i": 1024**power for power, unit in enumerate("KMGT", start=1)}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]i?)?B?|(%))", re.IGNORECASE)


# --- amounts of a disk ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Size:
    """The least of several amounts: ``count`` bytes, ``part`` (0 to 1) of a
    whole; None: no such bound.
    """

    count: int | None = None
    part: float | None = None

    def of(self, whole: int) -> int:
        """In bytes, where ``whole`` is what there is."""
        bounds = [whole if self.part is None else int(self.part * whole)]
        return min(bounds if self.count is None else [*bounds, self.count])

    def under(self, ceiling: Size) -> Size:
        """No more than this and no more than a ceiling."""
        counts = [c for c in (self.count, ceiling.count) if c is not None]
        parts = [p for p in (self.part, ceiling.part) if p is not None]
        return Size(min(counts, default=None), min(parts, default=None))

    def __str__(self) -> str:
        part = "" if self.part is None else f"{100 * self.part:g}%"
        count = "" if self.count is None else _short(self.count)
        return " at most ".join(filter(None, (part, count)))


def _short(count: int) -> str:
    for unit, factor in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def parse_size(text: str) -> Size:
    """``200G``, ``1.5TiB``, ``1000000`` or ``50%``. Raises ValueError."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number = float(found[1])
    if found[3]:
        if number > 100:
            raise ValueError(text)
        return Size(part=number / 100)
    unit = (found[2] or "").upper().replace("I", "i")
    return Size(count=int(number * _UNITS[unit]))


# --- kinds ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ValueKind:
    """How a value is written: ``parse`` takes text, raises ValueError; TOML holds ``types``.

    ``paths_in`` names the paths in a text that ``parse`` takes: those in a file must be absolute.
    """

    expects: str
    parse: Callable[[str], Any]
    types: tuple[type, ...] = (str,)
    paths_in: Callable[[str], list[str]] = lambda text: []


def count(most: int) -> ValueKind:
    """A whole number from 1 to ``most``."""

    def parse(text: str) -> int:
        number = int(text)
        if not 1 <= number <= most:
            raise ValueError(text)
        return number

    return ValueKind(f"a whole number from 1 to {most}", parse, types=(int,))


def _parse_duration(text: str) -> float:
    """``90``, ``90s``, ``1.5m`` or ``1h``, in seconds."""
    unit = {"s": 1, "m": 60, "h": 3600}.get(text[-1:])
    seconds = float(text[:-1]) * unit if unit else float(text)
    if not 0 < seconds < 1e9:
        raise ValueError(text)
    return seconds


def _parse_path(text: str) -> Path:
    if not text or "\0" in text:
        raise ValueError(text)
    try:
        path = Path(text)
        return at_home(path.expanduser()) if text.startswith("~") else path.absolute()
    except RuntimeError as error:  # "~name" of an unknown user, or no home at all
        raise ValueError(text) from error


def _one_path(text: str) -> list[str]:
    return [text]


def _parse_path_or_none(text: str) -> Path | None:
    return None if text == "none" else _parse_path(text)


def _path_unless_none(text: str) -> list[str]:
    return [] if text == "none" else [text]


def _parse_views(text: str) -> tuple[tuple[str, Path], ...]:
    """``NAME=FILE``, several separated by colons as in $PATH; no name twice."""
    views: dict[str, Path] = {}
    for entry in filter(None, text.split(os.pathsep)):
        name, _, path = entry.partition("=")
        if not name or name.startswith(".") or "/" in name or name in views:
            raise ValueError(entry)
        views[name] = _parse_path(path)
    return tuple(views.items())


def _paths_of_views(text: str) -> list[str]:
    return [entry.partition("=")[2] for entry in text.split(os.pathsep) if entry]


def _parse_stages(text: str) -> tuple[str, ...]:
    """``VERSION`` or ``VERSION/SPLIT``, several separated by colons; ``none`` for nothing."""
    names = [name.strip("/") for name in text.split(os.pathsep)]
    if any(not name or name.count("/") > 1 for name in names):
        raise ValueError(text)
    return () if names == ["none"] else tuple(dict.fromkeys(names))


def _parse_requirements(text: str) -> tuple[str, ...]:
    """``VERSION/SPLIT`` or ``VERSION/SPLIT:complete``, separated by commas or colons. The version
    of a view is ``views/NAME``.
    """
    names: list[str] = []
    for word in re.split("[,:]", text):
        name = word.strip().strip("/")
        if name == "complete" and names and not names[-1].endswith(":complete"):
            names[-1] += ":complete"
        elif not name or name == "complete" or name.removeprefix("views/").count("/") > 1:
            raise ValueError(text)
        else:
            names.append(name)
    return () if names == ["none"] else tuple(dict.fromkeys(names))


def _parse_paths(text: str) -> tuple[Path, ...]:
    """Several paths, separated by colons as in $PATH."""
    return tuple(_parse_path(path) for path in text.split(os.pathsep) if path)


def _several_paths(text: str) -> list[str]:
    return [path for path in text.split(os.pathsep) if path]


class SystemLog(StrEnum):
    """A log that the system keeps, instead of a file of our own."""

    SYSLOG = "syslog"
    JOURNAL = "journal"


def _parse_log(text: str) -> Path | SystemLog:
    if text == "-":
        raise ValueError(text)  # a server in the background has no standard output
    return SystemLog(text) if text in set(SystemLog) else _parse_path(text)


def _path_unless_system_log(text: str) -> list[str]:
    return [] if text in set(SystemLog) else [text]


def choice(*allowed: str) -> ValueKind:
    """One of a few words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return ValueKind("one of " + ", ".join(allowed), parse)


def _parse_text(text: str) -> str:
    if not text or "\n" in text:
        raise ValueError(text)
    return text


TEXT = ValueKind("one line of text", _parse_text)
DURATION = ValueKind("a time such as 90, 90s or 2m", _parse_duration, types=(int, float, str))
PATH = ValueKind("a path", _parse_path, paths_in=_one_path)
PATHS = ValueKind("paths (in a file a list)", _parse_paths, types=(list,), paths_in=_several_paths)
LOG = ValueKind(
    "a path, syslog, or journal (mount --foreground logs to the terminal)",
    _parse_log,
    paths_in=_path_unless_system_log,
)
VIEWS = ValueKind(
    "NAME=FILE, several separated by colons, no NAME twice",
    _parse_views,
    types=(str, list),
    paths_in=_paths_of_views,
)
REQUIREMENTS = ValueKind(
    "VERSION/SPLIT, views/NAME/SPLIT or VERSION/SPLIT:complete, several separated by commas",
    _parse_requirements,
    (str, list),
)
STAGES = ValueKind(
    "VERSION or VERSION/SPLIT, several separated by colons", _parse_stages, (str, list)
)
SIZE = ValueKind("an amount such as 200G, 500M or 50%", parse_size, types=(int, str))
PATH_OR_NONE = ValueKind("a path, or none", _parse_path_or_none, paths_in=_path_unless_none)


# --- the user's home ------------------------------------------------------------------------------


def at_home(path: Path) -> Path:
    """``path``, which was made from $HOME; moved to the home that the system has for this user
    where $HOME is another user's, and not to be written to: mount(8) and su hand root's over.
    """
    try:
        given, own = Path.home(), Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except (RuntimeError, KeyError):  # neither is known
        return path
    if given == own or not path.is_relative_to(given) or _is_usable(given) or not own.is_dir():
        return path
    return own / path.relative_to(given)


def _is_usable(home: Path) -> bool:
    try:
        is_own = home.stat().st_uid == os.geteuid()
    except FileNotFoundError:
        return True  # it may be made
    except OSError:
        return False
    return is_own or os.access(home, os.W_OK | os.X_OK, effective_ids=True)
