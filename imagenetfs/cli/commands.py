"""The command line: the bare form and the user's command after ``--`` are sorted out, typer parses
the rest, and its errors are handed on as ours.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer

from imagenetfs.cli.parser import App, Group
from imagenetfs.cli.terminal import PROGRAM, Loudness, be, say, show
from imagenetfs.errors import GroupNeededError, UsageError
from imagenetfs.job import primary_group
from imagenetfs.system.patience import PATIENCE

COMMANDS = (
    *("mount", "umount", "run", "enter", "status", "info", "show", "index", "stage", "cache"),
    *("verify", "doctor", "bench", "settings", "sample"),
)
"""In the order of ``--help``. Each is a module of this package by that name."""

# BadParameter, UsageError, ClickException: the last is the base of all the parser's errors. It
# lives in click or, in newer versions, within typer itself; so it is found by inheritance.
_ParserError: type[Exception] = typer.BadParameter.__mro__[2]

_EPILOG = (
    "`imagenetfs help COMMAND` says more of each, with examples, and so does `man "
    "imagenetfs-COMMAND`. `imagenetfs --install-completion` has your shell complete commands, "
    "options and values."
    "\n\n"
    "The bare form `imagenetfs SOURCE MOUNTPOINT [-o OPTION,...]` mounts too, for fstab and mount."
)


# --- before typer sees it -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Arranged:
    """Arguments for typer, the user's command (None where there was no ``--``), and what was typed
    of the options that every command has. ``is_overview``: the short form of the help is wanted.
    """

    arguments: list[str]
    command: list[str] | None = None
    loudness: tuple[str, ...] = ()
    is_overview: bool = False


_LOUDNESS = {
    "-q": Loudness.QUIET,
    "--quiet": Loudness.QUIET,
    "-v": Loudness.VERBOSE,
    "--verbose": Loudness.VERBOSE,
    "--debug": Loudness.DEBUG,
}
"""Options that every command has, wherever they stand before a ``--``."""


def split_argv(given: list[str]) -> Arranged:
    """Sort a command line out: no arguments at all ask for the overview. Raises UsageError for a
    command that does not exist.
    """
    cut = given.index("--") if "--" in given else len(given)
    own, rest = given[:cut], given[cut:]
    loudness = tuple(word for word in own if word in _LOUDNESS)
    own = [word for word in own if word not in _LOUDNESS]
    if own[:1] == ["help"]:
        own = [*own[1:], "--help"]
    elif own[:1] and own[0] in COMMANDS and not {"-V", "--version"}.isdisjoint(own):
        own, rest = ["--version"], []
    return replace(_arranged([*own, *rest]), loudness=loudness)


def _arranged(given: list[str]) -> Arranged:
    """The same, without the options that every command has."""
    if not given:
        return Arranged(["--help"], is_overview=True)
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


_OTHER_WORDS = {
    "version": "imagenetfs --version",
    "unmount": "umount",
    "exec": "run",
    "ls": "info",
    "list": "info",
    "config": "settings",
    "check": "verify",
    "top": "status --watch",
    "watch": "status --watch",
}
"""What others call a command, and what it is called here."""


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
    known = near or first in _OTHER_WORDS
    if looks_like_word and (known or len(given) == 1 or too_many):
        meant = _OTHER_WORDS.get(first, near[0] if near else "")
        hint = f"Did you mean `{meant}`?" if meant else f"There are {', '.join(COMMANDS)}."
        raise UsageError(f"There is no command `{first}`. {hint}")
    return True


# --- with typer -----------------------------------------------------------------------------------


def _print_version(value: bool) -> None:
    if value:
        from imagenetfs.version import __version__

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


class _Commands(Group):
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
    app = App(
        name=PROGRAM,
        cls=_Commands,
        epilog=_EPILOG,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in (first,) if first in COMMANDS else COMMANDS:
        import_module(f"imagenetfs.cli.{name}").register(app)
    return typer.main.get_command(app)


def all_commands() -> Any:
    """The parser with every command in it, for those who describe them."""
    return _parser("")


def _completed() -> Arranged | None:
    """The command of a line that the shell wants completed, so that no other is imported; None
    where there is no such line.
    """
    if f"_{PROGRAM.upper()}_COMPLETE" not in os.environ:
        return None
    words = (os.environ.get("COMP_WORDS") or os.environ.get("_TYPER_COMPLETE_ARGS", "")).split()
    is_known = len(words) > 2 and words[1] in COMMANDS
    return Arranged(words[1:2] if is_known else ["--help"])


def execute(given: list[str]) -> int:
    """Run one command line, under another group where the source needs
    one; returns its exit code.
    """
    arranged = _completed() or split_argv(given)
    be(_LOUDNESS[arranged.loudness[-1]] if arranged.loudness else Loudness.USUAL)
    is_again = False
    if primary_group.UNDER_VARIABLE in os.environ:
        is_again = primary_group.consume_reexec_marker()
    try:
        with PATIENCE.as_command():
            return _execute(arranged)
    except GroupNeededError as need:
        # Only now: whatever the command had taken (locks, directories) has been given back.
        given = [*arranged.arguments, *arranged.loudness]
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
    context = getattr(error, "ctx", None)
    path = " ".join(context.command_path.split()) if context is not None else PROGRAM
    # The message of this one is the whole help.
    if context is not None and type(error).__name__.startswith("NoArgsIsHelp"):
        message = f"Name one of these commands: {', '.join(context.command.commands)}."
    else:
        message = " ".join(str(error.format_message()).split("\n"))
    message += "" if message.endswith((".", "?")) else "."
    return f"{message} See `{path} --help`."
