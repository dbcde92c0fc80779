"""``imagenetfs settings``: every setting, its value, and who set it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Annotated, Any, NamedTuple

import typer

from imagenetfs import config
from imagenetfs.cli.parser import App
from imagenetfs.cli.terminal import say, show, show_json, table

GROUPS = ("Source", "Index", "Cache", "Advanced")

_DEFAULT = "default"
_OF_THE_SITE = frozenset({"opt_in_page", "support_address", "support_subject"})
_COLUMN = 18
_WIDEST, _LEAST_ROOM = 100, 30
_HOW_TO_SET = (
    "A setting such as cache-dir is given as --cache-dir, where the command has that option, as "
    "$IMAGENETFS_CACHE_DIR, or as cache_dir in ~/.config/imagenetfs/config.toml; the first of "
    "these counts."
)


class SettingLine(NamedTuple):
    """A setting, its value and who set it, and what it is for."""

    name: str
    value: str
    set_by: str
    help: str


def register(app: App) -> None:
    """Add this command."""
    app.command("settings")(settings)


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show every setting with its value, who set it, and what it is for."""
    current = config.resolve()
    for note in current.notes:
        say(note)
    rows = [(entry.name, getattr(current, entry.name)) for entry in config.table()]
    if as_json:
        show_json({name: _entry(value, current.origins[name]) for name, value in rows}, indent=None)
        return
    lines = [
        SettingLine(name, _shown(value), current.origins[name], config.help_of(name))
        for name, value in rows
    ]
    if not sys.stdout.isatty():
        table(("setting", "value", "set by", "what it is for"), lines)
        return
    for text in page(lines, shutil.get_terminal_size().columns):
        show(text)


def page(lines: Sequence[SettingLine], width: int) -> Iterator[str]:
    """The settings in the groups of a command's help, for a person. What only a site's
    administrator sets is left out where it is not set.
    """
    groups: dict[str, list[SettingLine]] = {group: [] for group in GROUPS}
    for entry, line in zip(config.table(), lines, strict=True):
        if entry.name not in _OF_THE_SITE or line.set_by != _DEFAULT:
            groups[entry.metadata["group"]].append(line)
    room = max(_LEAST_ROOM, min(width, _WIDEST) - _COLUMN)
    for group, members in groups.items():
        yield f"{group}:"
        for line in members:
            by = "" if line.set_by == _DEFAULT else f"   (set by {line.set_by})"
            yield f"  {line.name.replace('_', '-'):<{_COLUMN - 2}}{line.value}{by}"
            for text in wrap(line.help, room, break_on_hyphens=False):
                yield f"{'':<{_COLUMN}}{text}"
        yield ""
    for text in wrap(_HOW_TO_SET, max(_LEAST_ROOM, min(width, _WIDEST))):
        yield text


def _shown(value: Any) -> str:
    """As its option takes it; a time with its unit."""
    return f"{value:g}s" if isinstance(value, float) else config.as_text(value) or "-"


def _entry(value: Any, origin: str) -> dict[str, Any]:
    is_plain = value is None or isinstance(value, int | float)
    return {"value": value if is_plain else config.as_text(value) or None, "set_by": origin}
