"""Each line of the tables in docs/layouts.md is shown by tests that exist."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from imagenetfs.tree.left_out import Reason
from tests.helpers.documents import REPOSITORY

_PAGE = REPOSITORY / "docs" / "layouts.md"
_SECTIONS = ("Accepted", "Refused, and how to mend it", "What is counted and left out")


def lines_of_tables() -> list[str]:
    """The lines of the tables of what is accepted, refused and left out, without their heads."""
    found: list[str] = []
    section = ""
    for line in _PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = line.removeprefix("## ")
        elif line.startswith("| ") and section in _SECTIONS:
            found.append(line.removeprefix("| "))
    return [line for line in found if not line.startswith(("what you have |", "reason (key"))]


def shown_by() -> dict[str, list[str]]:
    """The first words of a line -> the tests that show it."""
    lines = (Path(__file__).parent / "layouts.tsv").read_text().splitlines()
    pairs = [line.split("\t") for line in lines if line and not line.startswith("#")]
    return {words: tests.split() for words, tests in pairs}


@cache
def names_in(path: str) -> frozenset[str]:
    tree = ast.parse((REPOSITORY / path).read_text())
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


@pytest.mark.slow
@pytest.mark.parametrize("line", lines_of_tables(), ids=lambda line: line[:40])
def test_a_line_of_the_page_is_shown_by_tests(line: str) -> None:
    [tests] = [tests for words, tests in shown_by().items() if line.startswith(words)]
    assert tests
    for test in tests:
        path, name = test.split("::")
        assert name in names_in(path), test


def test_no_test_is_named_for_a_line_that_is_not_there() -> None:
    lines = lines_of_tables()
    assert [w for w in shown_by() if not any(line.startswith(w) for line in lines)] == []


def test_every_reason_is_on_the_page() -> None:
    told = {line.split("`")[1] for line in lines_of_tables() if line.startswith("`")}
    assert {reason.value for reason in Reason} <= told
