"""Every sentence of docs/semantics.md has a test that names it, and no test
names one that is not there.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT = TESTS.parent / "docs" / "semantics.md"
_NUMBER = re.compile(r"\bS(\d+)\b")


def _named() -> dict[int, list[str]]:
    """Sentence -> the tests whose docstring names it."""
    found: dict[int, list[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        if not _NUMBER.search(text := path.read_text()):
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for number in _NUMBER.findall((ast.get_docstring(node) or "").partition(":")[0]):
                    found.setdefault(int(number), []).append(node.name)
    return found


@pytest.mark.slow
def test_sentences_and_tests_name_each_other() -> None:
    sentences = [
        int(n) for n in re.findall(r"^- \*\*S(\d+)\*\* ", DOCUMENT.read_text(), re.MULTILINE)
    ]
    assert sentences == list(range(1, len(sentences) + 1))
    assert set(_named()) == set(sentences)
