"""``imagenetfs settings``: every setting, its value, and who set it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from imagenetfs import config
from imagenetfs.cli.parser import App
from imagenetfs.cli.terminal import say, show_json, table


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
        (name, config.as_text(value) or "-", current.origins[name], config.help_of(name))
        for name, value in rows
    ]
    table(("setting", "value", "set by", "what it is for"), lines)


def _entry(value: Any, origin: str) -> dict[str, Any]:
    is_plain = value is None or isinstance(value, int | float)
    return {"value": value if is_plain else config.as_text(value) or None, "set_by": origin}
