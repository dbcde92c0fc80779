"""The parser's classes, with help of our own (:mod:`imagenetfs.cli.manual`), and usage lines that
say what the parser cannot know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup


def _write_help(command: Any, ctx: Any, formatter: Any) -> None:
    from imagenetfs.cli.help_text import write_help

    path = " ".join(ctx.command_path.split()).partition(" ")[2]
    formatter.write(write_help(command, path))


class Command(TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter)


class Group(TyperGroup):
    """Commands below a word."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter)


class App(typer.Typer):
    """What commands register with."""

    def command(
        self, name: str | None = None, *, cls: type[Any] | None = None, **more: Any
    ) -> Callable[[Any], Any]:
        return super().command(name, cls=cls or Command, **more)


def with_usage(usage: str) -> type[Command]:
    """A command whose usage line reads as given: the parser cannot know what it is not shown."""

    class CommandWithUsage(Command):
        def format_usage(self, ctx: Any, formatter: Any) -> None:
            formatter.write_usage(" ".join(ctx.command_path.split()), usage)

    return CommandWithUsage
