"""The commands, put together; typer parses, and hands its own errors on as ours."""

from __future__ import annotations

from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from imagenetfs.cli.argv import COMMANDS, Arranged
from imagenetfs.cli.terminal import PROGRAM, say, show
from imagenetfs.errors import GroupNeededError, UsageError
from imagenetfs.job import primary_group

# BadParameter, UsageError, ClickException: the last is the base of all the parser's errors. It
# lives in click or, in newer versions, within typer itself; so it is found by inheritance.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]

_EPILOG = (
    "The bare form `imagenetfs SOURCE MOUNTPOINT [-o OPTION,...]` mounts too, for fstab and mount."
)


def _print_version(value: bool) -> None:
    if value:
        from imagenetfs import __version__

        show(f"{PROGRAM} {__version__}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", "-V", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Show ImageNet's archives as a file system: every version as version/split/class/image."""


class _Commands(TyperGroup):
    """All commands, in the order of COMMANDS.

    By default the parser puts those with commands below them last.
    """

    def list_commands(self, ctx: Any) -> list[str]:
        return [name for name in COMMANDS if name in self.commands]


def _parser(first: str) -> Any:
    """The parser of a command line whose first word is ``first``.

    Where that is a command, no other is known: each has a module of its own, and importing all of
    them, and what they need, takes longer than most commands work.
    """
    app = typer.Typer(
        name=PROGRAM,
        cls=_Commands,
        epilog=_EPILOG,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in (first,) if first in COMMANDS else COMMANDS:
        import_module(f"imagenetfs.cli.{name}").register(app)
    return typer.main.get_command(app)


def execute(arranged: Arranged) -> int:
    """Run one command line, under another group where the source needs
    one; returns its exit code.
    """
    is_again = primary_group.consume_reexec_marker()
    try:
        return _execute(arranged)
    except GroupNeededError as need:
        # Only now: whatever the command had taken (locks, directories) has been given back.
        given = arranged.arguments
        if arranged.command is not None:
            given = [*given, "--", *arranged.command]
        primary_group.reexec_under_group(need, given, say, is_again=is_again)


def _execute(arranged: Arranged) -> int:
    try:
        code = _parser(arranged.arguments[0]).main(
            args=arranged.arguments,
            prog_name=PROGRAM,
            obj=arranged,
            standalone_mode=False,
        )
    except typer.Exit as error:
        return error.exit_code
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except SystemExit as error:
        # Not in standalone mode the parser leaves in this way only when standard output is closed.
        raise BrokenPipeError from error
    except _ParserError as error:
        raise UsageError(_sentence(error)) from error
    return code if isinstance(code, int) else 0


def _sentence(error: Any) -> str:
    """The parser's message, and which help to read."""
    message = " ".join(str(error.format_message()).split("\n")) or "Name one of these commands."
    message += "" if message.endswith((".", "?")) else "."
    context = getattr(error, "ctx", None)
    path = " ".join(context.command_path.split()) if context is not None else PROGRAM
    return f"{message} See `{path} --help`."
