"""The parser's classes, with help of our own (:mod:`imagenetfs.cli.manual`), and usage lines that
say what the parser cannot know.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup


def _write_help(command: Any, ctx: Any, formatter: Any) -> None:
    from imagenetfs.cli.help_text import write_help, write_overview

    if getattr(ctx.obj, "is_overview", False):
        formatter.write(write_overview(command))
        return
    path = " ".join(ctx.command_path.split()).partition(" ")[2]
    formatter.write(write_help(command, path))


_TEXT = (str, str | None, list[str], list[str] | None)


def texts_of(function: Callable[..., Any]) -> set[str]:
    """The parameters that are declared as text, or as several texts."""
    hints = get_type_hints(function, include_extras=True).items()
    return {
        name for name, hint in hints if get_origin(hint) is Annotated and get_args(hint)[0] in _TEXT
    }


def _spare_conversion(parameter: Any, texts: set[str]) -> None:
    """Have the parser convert nothing where there is nothing to convert: no value, or text."""
    if "process_value" in vars(parameter):
        return
    convert, callback = parameter.process_value, parameter.callback
    is_several = parameter.multiple or parameter.nargs != 1
    is_text = parameter.name in texts and callback is None

    def process(ctx: Any, value: Any) -> Any:
        if value is None and not parameter.required:
            nothing = () if is_several else None
            return nothing if callback is None else callback(ctx, parameter, nothing)
        if is_text and value and isinstance(value, (tuple, list) if is_several else str):
            return value
        return convert(ctx, value)

    parameter.process_value = process


class _SparesConversion:
    """Of a command or a group. Newer versions of typer convert each value by pydantic, and
    importing that takes longer than all else of the command line does; nearly all of our options
    are text, which :mod:`imagenetfs.config` reads.
    """

    callback: Callable[..., Any] | None

    def get_params(self, ctx: Any) -> list[Any]:
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]  # of the parser
        texts = texts_of(inspect.unwrap(self.callback)) if self.callback is not None else set()
        for parameter in parameters:
            _spare_conversion(parameter, texts)
        return parameters


class Command(_SparesConversion, TyperCommand):
    """A command."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        _write_help(self, ctx, formatter)


class Group(_SparesConversion, TyperGroup):
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
