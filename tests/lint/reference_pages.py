"""Writes the reference pages of docs, and golden files: ``python -m tests.lint.reference_pages``.

They are made of what the program itself says: its manual, the tables of settings and exit codes.
Nothing of this machine (CPUs, home, environment) may stand in them.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from imagenetfs import config
from imagenetfs.cli.commands import all_commands
from imagenetfs.cli.exit_codes import EXIT_CODES
from imagenetfs.cli.manual import (
    EVERY_COMMAND,
    Option,
    Page,
    as_plain_data,
    page_of,
    pages,
    paragraphs,
)
from imagenetfs.cli.terminal import PROGRAM
from tests.lint import golden
from tests.lint.messages import messages_page

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
typing error is named, with what was probably meant. A path in a file is absolute. In the
site's file a table `[ceilings]` sets upper limits that no user's option can exceed.
"""
_ABOUT_CODES = """\
Every failure is one sentence on standard error that says what to do, and an exit code. The numbers
do not change between versions. `run` passes its command's own code on; its own failures are 125,
126 and 127, and 15.
"""
_MORE_OF_CODES = """\
**27** has five causes:

- The index, cache, log or run directory is under the mountpoint. The server would wait for itself
  there.
- The mountpoint is within the source.
- The directory belongs to another user, or others may write to it.
- `index`: the index directory cannot be written to.
- The log file cannot be written.

`verify` of the sample that `imagenetfs sample` makes reports 16 problems and exits with 42. That is
expected: the sample is smaller than the real data set.
"""
_WHOLE_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}
_FILE_VALUES = {str: "text", int: "a number", float: "a number", list: "a list", dict: "a table"}


def commands_page() -> str:
    """docs/commands.md."""
    parts = ["# Commands", _NOT_EDITED, _ABOUT_COMMANDS.strip()]
    for page in pages(all_commands()):
        parts += _of_command(page)
    every = "\n".join(_option(option) for option in _group(page_of_all(), EVERY_COMMAND))
    parts += ["## Every command", every]
    return "\n\n".join(parts) + "\n"


def page_of_all() -> Page:
    """What is said of the program as a whole."""
    return page_of("", all_commands())


def _group(page: Page, wanted: str) -> tuple[Option, ...]:
    return next((options for group, options in page.groups if group == wanted), ())


def _of_command(page: Page) -> Iterator[str]:
    yield f"## `{PROGRAM} {page.path}`"
    yield f"    {page.usage}"
    yield from (_paragraph(text) for text in (page.purpose, *page.paragraphs))
    own = [*_group(page, "Arguments"), *_group(page, "Options")]
    if own:
        yield "\n".join(map(_option, own))
    settings = [f"`{_long(o)}`" for _, options in page.groups for o in options if o.setting]
    if settings:
        yield fill(f"[Settings](settings.md): {', '.join(settings)}.", COLUMNS, **_WHOLE_WORDS)
    if page.commands:
        yield "\n".join(_item(f"`{name}`: {purpose}") for name, purpose in page.commands)
    if page.examples:
        yield "\n".join(f"    # {one.what}\n    {one.command}" for one in page.examples)


def _long(option: Option) -> str:
    return next(name for name in option.names if name.startswith("--"))


def _paragraph(text: str) -> str:
    return fill(text, COLUMNS, **_WHOLE_WORDS)


def _paragraphs(text: str) -> list[str]:
    """Wrapped anew: a docstring's lines are as long as its code allows."""
    return [_paragraph(part) for part in paragraphs(text)]


def _option(option: Option) -> str:
    value = f" {option.value}" if option.value else ""
    title = ", ".join(f"`{name}{value}`" for name in option.names)
    return _item(f"{title}: {option.text}")


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
    for page in pages(all_commands()):
        for _, options in page.groups:
            for name in (name for option in options for name in option.names):
                found.setdefault(name, []).append(page.path)
    return found


def manual_data() -> str:
    """imagenetfs/cli/manual.json, of which the man pages are made."""
    return json.dumps(as_plain_data(all_commands()), indent=1, ensure_ascii=False) + "\n"


# --- exit codes -----------------------------------------------------------------------------------


def exit_codes_page() -> str:
    """docs/exit-codes.md."""
    rows = [f"| {code} | {meaning} | {todo or '-'} |" for code, meaning, todo in EXIT_CODES]
    table = "\n".join(["| code | what it means | what to do |", "|---|---|---|", *rows])
    parts = ["# Exit codes", _NOT_EDITED, _ABOUT_CODES.strip(), table, _MORE_OF_CODES.strip()]
    return "\n\n".join(parts) + "\n"


PAGES = {
    "docs/commands.md": commands_page,
    "docs/settings.md": settings_page,
    "docs/exit-codes.md": exit_codes_page,
    "docs/messages.md": messages_page,
    "imagenetfs/cli/manual.json": manual_data,
    **golden.FILES,
}


def main() -> int:
    """Write the pages."""
    for name, page in PAGES.items():
        (REPOSITORY / name).write_text(page())
    return 0


if __name__ == "__main__":
    sys.exit(main())
