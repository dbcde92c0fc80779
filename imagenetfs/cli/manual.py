"""What is said of each command: one text, of which its ``--help``, its man page and its part of
docs/commands.md are made.

Purpose and paragraphs are the command's docstring, the options' texts the parser's or the settings'
own, the examples those of :mod:`imagenetfs.cli.examples`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from imagenetfs import config
from imagenetfs.cli.examples import EXAMPLES, Example
from imagenetfs.cli.exit_codes import EXIT_CODES

PROGRAM = "imagenetfs"

EVERY_COMMAND = "Every command"

_GROUPS = ("Arguments", "Options", "Source", "Index", "Cache", "Advanced", EVERY_COMMAND)

_OF_EVERY_COMMAND = (
    (("-q", "--quiet"), "Say warnings and errors only; no progress."),
    (("-v", "--verbose"), "Say what the program logs, too."),
    (
        ("--debug",),
        "Say it in detail, log it in detail, and show the traceback of a bug "
        "(variable $IMAGENETFS_DEBUG).",
    ),
    (("-h", "--help"), "Show this text. `imagenetfs help COMMAND` does so too."),
    (("-V", "--version"), "Print the version."),
)

_BRACKETS = (
    (re.compile(r"\[\[(\w+)\]\]"), r"[\1]"),
    (re.compile(r"\[\[(\w+)\]\.\.\.\]\.\.\."), r"[\1]..."),
    (re.compile(r"\{(\w+)\}"), r"\1"),
)
"""What the parser puts around an argument's name although that has its brackets already."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option or argument: ``names`` as they are typed, ``value`` what follows them; ``facts``:
    what a setting may be, and its variable.
    """

    names: tuple[str, ...]
    value: str
    text: str
    facts: str = ""
    setting: bool = False

    @property
    def title(self) -> str:
        """``-o, --option VALUE``."""
        return ", ".join(self.names) + (f" {self.value}" if self.value else "")


@dataclass(frozen=True, slots=True)
class Page:
    """All about one command; ``commands`` are those below it, with their purpose."""

    path: str
    usage: str
    purpose: str
    paragraphs: tuple[str, ...]
    groups: tuple[tuple[str, tuple[Option, ...]], ...]
    examples: tuple[Example, ...]
    commands: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def page_of(path: str, command: Any) -> Page:
    """The page of a command of the parser; ``path``: the words that call it, ``""`` for all."""
    name = f"{PROGRAM} {path}".rstrip()
    context = command.context_class(command, info_name=name)
    usage = " ".join(command.get_usage(context).split()).removeprefix("Usage: ")
    for odd, plain in _BRACKETS:
        usage = odd.sub(plain, usage)
    purpose, *others = paragraphs(command.help or "")
    below = getattr(command, "commands", {})
    ordered = command.list_commands(context) if below else ()
    return Page(
        path=path,
        usage=usage,
        purpose=purpose,
        paragraphs=tuple(others),
        groups=tuple(_grouped(command.params)),
        examples=EXAMPLES.get(path, ()),
        commands=tuple((one, paragraphs(below[one].help or "")[0]) for one in ordered),
        notes=tuple(filter(None, paragraphs(command.epilog or ""))),
    )


def pages(root: Any) -> Iterator[Page]:
    """Of all commands: a group that works without a command below it, as `index` does, has that
    one for itself.
    """
    context = root.context_class(root, info_name=PROGRAM)
    for name in root.list_commands(context):
        command = root.commands[name]
        below = getattr(command, "commands", {})
        if name not in below:
            yield page_of(name, command)
        for word, one in below.items():
            yield page_of(name if word == name else f"{name} {word}", one)


def paragraphs(text: str) -> list[str]:
    """A docstring's paragraphs, each in one line."""
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()] or [""]


def _grouped(parameters: Sequence[Any]) -> Iterator[tuple[str, tuple[Option, ...]]]:
    """The options group by group, in the groups' order."""
    settings = {entry.name: entry.metadata for entry in config.table()}
    found: dict[str, list[Option]] = {group: [] for group in _GROUPS}
    for parameter in parameters:
        if parameter.param_type_name == "argument":
            found["Arguments"].append(Option((parameter.metavar,), "", parameter.help or ""))
            continue
        names = tuple(sorted((*parameter.opts, *parameter.secondary_opts), key=len))
        if {"--help", "--version"} & set(names) or not parameter.help:
            continue
        about = settings.get(parameter.name)
        if about is None:
            text = _with_default(parameter)
            found["Options"].append(Option(names, parameter.metavar or "", text))
            continue
        variable = config.variable_name(parameter.name)
        value, text = parameter.metavar or "", parameter.help
        if text.startswith(f"{value}: "):  # the settings' page has no other place for it
            text = text.removeprefix(f"{value}: ")
            text = text[0].upper() + text[1:]
        facts = f"Value: {about['kind'].expects}. Variable: ${variable}."
        option = Option(names, value, text, facts, setting=True)
        found[about["group"]].append(option)
    found[EVERY_COMMAND] = [Option(names, "", text) for names, text in _OF_EVERY_COMMAND]
    for group, options in found.items():
        if options:
            yield group, tuple(options)


def _with_default(parameter: Any) -> str:
    """The help of an option, with its default where it has a value and does not say so itself."""
    default = parameter.default
    is_plain = isinstance(default, int | float | str) and not isinstance(default, bool)
    if not is_plain or not parameter.metavar or "default" in parameter.help:
        return str(parameter.help)
    return f"{parameter.help.removesuffix('.')} (default: {default})."


def as_plain_data(root: Any) -> list[dict[str, Any]]:
    """All pages, the program's own first, as manual.json has them."""
    return [_as_plain_data(page) for page in (page_of("", root), *pages(root))]


def _as_plain_data(page: Page) -> dict[str, Any]:
    return {
        "path": page.path,
        "usage": page.usage,
        "purpose": page.purpose,
        "paragraphs": list(page.paragraphs),
        "groups": [
            [group, [{"title": o.title, "text": o.text, "facts": o.facts} for o in options]]
            for group, options in page.groups
        ],
        "examples": [list(example) for example in page.examples],
        "commands": [list(command) for command in page.commands],
        "notes": list(page.notes),
        "exit_codes": [] if page.path else [list(row) for row in EXIT_CODES],
    }
