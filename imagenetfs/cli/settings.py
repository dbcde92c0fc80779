"""``imagenetfs settings``: every setting, its value, and who set it."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer

from imagenetfs import config
from imagenetfs.cli.terminal import say, table


def register(app: typer.Typer) -> None:
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
        print(json.dumps({name: _entry(value, current.origins[name]) for name, value in rows}))
        return
    lines = [
        (name, _text(value), current.origins[name], config.help_of(name)) for name, value in rows
    ]
    table(("setting", "value", "set by", "what it is for"), lines)


def _text(value: Any) -> str:
    """A value as the option takes it; ``-`` where there is none."""
    if isinstance(value, tuple):
        pairs = (each if isinstance(each, tuple) else (each,) for each in value)
        value = os.pathsep.join("=".join(map(str, pair)) for pair in pairs) or None
    return "-" if value is None else str(value)


def _entry(value: Any, origin: str) -> dict[str, Any]:
    plain = value if value is None or isinstance(value, int | float) else _text(value)
    return {"value": plain, "set_by": origin}
