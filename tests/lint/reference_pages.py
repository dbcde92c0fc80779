"""Writes docs/commands.md and docs/settings.md: ``python -m tests.lint.reference_pages``.

Both are made of what the program itself says: the parser's commands and options, and the table of
settings. Nothing of this machine (CPUs, home, environment) may stand in them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from imagenetfs import config
from imagenetfs.cli.commands import all_commands
from imagenetfs.cli.terminal import PROGRAM

REPOSITORY = Path(__file__).parents[2]
COLUMNS = 100

_NOT_EDITED = (
    "*Written by `python -m tests.lint.reference_pages` from the program's own texts: edit those,\n"
    "not this page.*"
)
_ABOUT_COMMANDS = """\
Every command with its arguments and options, as `imagenetfs COMMAND --help` has them. Many options
are settings, which may also stand in a variable or a file: [settings.md](settings.md) says what
each is for, and its default. What the commands exit with is in [exit-codes.md](exit-codes.md).

`{mnt}` in the command behind `--` is the mountpoint. imagenetfs fills it in; the shell does not
see a variable there, which it would expand too early. `$IMAGENETFS_MOUNT` has the same path for
the command itself.
"""
_ABOUT_SETTINGS = """\
A setting has four places. The first one that has a value counts:

1. the option on the command line: `--cache-size 200G`;
2. the environment variable: `export IMAGENETFS_CACHE_SIZE=200G`;
3. your file, `~/.config/imagenetfs/config.toml`: `cache_size = "200G"`;
4. the site's file, `/etc/imagenetfs.toml`, with the same lines.

For `mount` the same names without `--` may follow `-o`, as in fstab: `-o workers=16,idle=30m`.

`imagenetfs settings` shows each value and which place it comes from. A variable or key with a
typing error is told, with the name that was probably meant. A path in a file is absolute. In the
site's file a table `[ceilings]` sets upper limits that no user's option can exceed.
"""
_WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}
_BRACKETS = {
    r"\[\[(\w+)\]\]": r"[\1]",
    r"\[\[(\w+)\]\.\.\.\]\.\.\.": r"[\1]...",
    r"\{(\w+)\}": r"\1",
}
"""What the parser puts around an argument's name although that has its brackets already."""

_FILE_VALUES = {str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}


def commands_page() -> str:
    """docs/commands.md."""
    parts = ["# Commands", _NOT_EDITED, _ABOUT_COMMANDS.strip()]
    for path, command in _commands():
        parts += _of_command(path, command)
    return "\n\n".join(parts) + "\n"


def _commands() -> Iterator[tuple[str, Any]]:
    """Each command with the words that call it: ``("cache ls", ...)``. A group that works without
    a command below it, as `index` does, has that one for itself.
    """
    for name, command in all_commands().commands.items():
        below = getattr(command, "commands", {})
        if not below:
            yield name, command
        for word, one in below.items():
            yield name if word == name else f"{name} {word}", one


def _of_command(path: str, command: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=f"{PROGRAM} {path}")
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    for odd, plain in _BRACKETS.items():
        usage = re.sub(odd, plain, usage)
    yield f"## `{PROGRAM} {path}`"
    yield f"    {usage}"
    yield from _paragraphs(command.help)
    names = {entry.name for entry in config.table()}
    own = [entry for entry in map(_option, (p for p in command.params if p.name not in names))]
    if any(own):
        yield "\n".join(filter(None, own))
    settings = [f"`{p.opts[0]}`" for p in command.params if p.name in names]
    if settings:
        yield fill(f"[Settings](settings.md): {', '.join(settings)}.", COLUMNS, **_WHOLE_WORDS)


def _paragraphs(text: str) -> list[str]:
    """Wrapped anew: a docstring's lines are as long as its code allows."""
    return [fill(" ".join(part.split()), COLUMNS, **_WHOLE_WORDS) for part in text.split("\n\n")]


def _option(parameter: Any) -> str:
    """An item of a list; empty for what every command has."""
    names = [*parameter.opts, *parameter.secondary_opts]
    if "--help" in names or not parameter.help:
        return ""
    if parameter.param_type_name == "argument":
        title = f"`{parameter.metavar}`"
    else:
        value = f" {parameter.metavar}" if parameter.metavar else ""
        title = ", ".join(f"`{name}{value}`" for name in names)
    return _item(f"{title}: {parameter.help}")


def _item(text: str) -> str:
    return fill(f"- {text}", COLUMNS, subsequent_indent="  ", **_WHOLE_WORDS)


def settings_page() -> str:
    """docs/settings.md."""
    takers = _commands_by_option()
    parts = ["# Settings", _NOT_EDITED, _ABOUT_SETTINGS.strip()]
    for entry in config.table():
        about, name = entry.metadata, entry.name
        option = config.option_name(name)
        commands = takers.get(option, [])
        facts = [f"variable `${config.variable_name(name)}`"]
        if commands:
            facts.insert(0, f"option `{option}` of {', '.join(f'`{one}`' for one in commands)}")
        kinds = dict.fromkeys(_FILE_VALUES[kind] for kind in about["kind"].types)
        facts.append(f"in a file `{name}`, {' or '.join(kinds)}")
        if about["ceiling"]:
            facts.append("the site may set a ceiling")
        if about["of_mount"]:
            facts.append("a run that joins a mount cannot change it")
        where = "; ".join(facts)
        parts += [f"## `{name}`", *_paragraphs(about["help"])]
        value = _item(f"Value: {about['kind'].expects}.")
        parts.append(f"{value}\n{_item(f'{where[0].upper()}{where[1:]}.')}")
    return "\n\n".join(parts) + "\n"


def _commands_by_option() -> dict[str, list[str]]:
    """The names of the commands that take an option, by the option."""
    found: dict[str, list[str]] = {}
    for path, command in _commands():
        for parameter in command.params:
            for option in (*parameter.opts, *parameter.secondary_opts):
                found.setdefault(option, []).append(path)
    return found


PAGES = {"docs/commands.md": commands_page, "docs/settings.md": settings_page}


def main() -> int:
    """Write the pages."""
    for name, page in PAGES.items():
        (REPOSITORY / name).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
