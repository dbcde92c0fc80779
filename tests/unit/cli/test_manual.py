"""What is said of each command: nothing is missing, and the examples are right."""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from imagenetfs import config
from imagenetfs.cli.commands import COMMANDS, all_commands, split_argv
from imagenetfs.cli.examples import EXAMPLES, Example
from imagenetfs.cli.manual import EVERY_COMMAND, Option, Page, page_of, pages, paragraphs

ROOT = all_commands()
PAGES = {page.path: page for page in pages(ROOT)}


def test_a_page_for_each_command() -> None:
    assert {path.partition(" ")[0] for path in PAGES} == set(COMMANDS)
    assert {"cache", "cache ls", "index", "index check"} <= PAGES.keys()
    assert PAGES.keys() | {""} == EXAMPLES.keys()


@pytest.mark.parametrize("path", PAGES)
def test_purpose_examples_and_options(path: str) -> None:
    page = PAGES[path]
    assert page.purpose.endswith("."), "one sentence says what it is for"
    assert 2 <= len(page.examples) <= 3
    assert [group for group, _ in page.groups][-1] == EVERY_COMMAND
    for _, options in page.groups:
        for option in options:
            assert option.text.endswith((".", ")")), option
            for parsers in ("<", "{", "[["):
                assert parsers not in option.title


@pytest.mark.parametrize("path", PAGES)
def test_each_setting_says_value_and_variable(path: str) -> None:
    names = {config.option_name(entry.name): entry.name for entry in config.table()}
    for _, options in PAGES[path].groups:
        for option in options:
            name = names.get(max(option.names, key=len))
            if name is not None:
                assert f"Variable: ${config.variable_name(name)}." in option.facts
                assert option.facts.startswith("Value: ")


def _all_examples() -> list[Example]:
    return [example for examples in EXAMPLES.values() for example in examples]


@pytest.mark.slow
@pytest.mark.parametrize("example", _all_examples(), ids=lambda example: example.command)
def test_the_parser_takes_each_example(example: Example) -> None:
    program, *words = shlex.split(example.command)
    assert program == "imagenetfs"
    arranged = split_argv(words)
    command: Any = ROOT
    rest = arranged.arguments
    while getattr(command, "commands", None) and rest[:1] and rest[0] in command.commands:
        command, rest = command.commands[rest[0]], rest[1:]
    if "index" in getattr(command, "commands", {}):
        command = command.commands["index"]
    context = command.make_context("x", list(rest))
    assert context.params or not command.params
    assert (arranged.command is not None) == ("--" in words)


def test_a_default_that_the_text_does_not_say() -> None:
    seeds = [o for o in options_of(PAGES["sample"]) if "--seed" in o.names]
    assert seeds[0].text.endswith("pictures (default: 0).")


def options_of(page: Page) -> list[Option]:
    return [option for _, options in page.groups for option in options]


def test_the_program_as_a_whole() -> None:
    page = page_of("", ROOT)
    assert [name for name, _ in page.commands] == list(COMMANDS)
    assert len(page.notes) == 2


def test_paragraphs() -> None:
    assert paragraphs("a\n  b\n\n  c\n\n") == ["a b", "c"]
    assert paragraphs("") == [""]
