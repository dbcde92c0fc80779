"""The layout of the tests: tests/unit mirrors the package, test modules hold tests, helpers stand
elsewhere.
"""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

_MENTIONED = re.compile(r"(from|import)\s[^#]*\btest_\w+")
"""A test module may be imported here, or something that is named like one."""

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef

TESTS = Path(__file__).parents[1]
UNIT, PACKAGE = TESTS / "unit", TESTS.parent / "imagenetfs"

OF_THE_WHOLE = {
    *("test_helpers", "test_layers", "test_layout", "test_public_face"),
    *("test_run_checks", "test_semantics"),
}
"""Modules of tests/unit itself that are about the whole package, or about the tests."""

TESTED_OTHERWISE = {
    "__init__.py": "it is the public face: test_public_face.py",
}
"""Modules with logic that have no test file of their own, and where they are tested instead."""

MODULES = sorted(TESTS.rglob("*.py"))
TEST_MODULES = [path for path in MODULES if path.name.startswith("test_")]
UNIT_MODULES = [path for path in TEST_MODULES if path.is_relative_to(UNIT)]


def module_of(test: str, modules: set[str]) -> str | None:
    """The module that a test module is named for: ``test_<module>`` or
    ``test_<module>_<topic>``.
    """
    name = test.removeprefix("test_")
    while name and name not in modules:
        name = name.rpartition("_")[0]
    return name or None


@cache
def modules_in(directory: Path) -> set[str]:
    """The names of a package's modules and packages, its own ``__init__`` left out."""
    files = {path.stem for path in directory.glob("*.py")}
    packages = {path.parent.name for path in directory.glob("*/__init__.py")}
    return (files | packages) - {"__init__"}


def files_for(module: Path) -> list[Path]:
    """The test files that are named for a module; a package's ``__init__`` has the package's."""
    at = module.parent if module.name == "__init__.py" else module
    if at == PACKAGE:
        return []
    directory = UNIT / at.parent.relative_to(PACKAGE)
    modules = modules_in(at.parent)
    found = directory.glob(f"test_{at.stem}*.py")
    return [test for test in found if module_of(test.stem, modules) == at.stem]


def has_logic(tree: ast.Module) -> bool:
    """Whether a module has a function or method that does anything: not just constants, types,
    and what a protocol asks for.
    """
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    own = [node for node in classes if "Protocol" not in map(ast.unparse, node.bases)]
    scopes: list[ast.Module | ast.ClassDef] = [tree, *own]
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and not all(map(is_empty, node.body))
        for scope in scopes
        for node in scope.body
    )


def is_empty(statement: ast.stmt) -> bool:
    """Whether it is a docstring or an ellipsis."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def found_tests(tree: ast.Module) -> list[str]:
    """The names of the tests that pytest finds in a module."""
    scopes: list[ast.Module | ast.ClassDef] = [tree]
    scopes += [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return [
        node.name
        for scope in scopes
        for node in scope.body
        if isinstance(node, FUNCTIONS) and node.name.startswith("test")
    ]


def imported(tree: ast.Module) -> set[str]:
    """Every module that may be imported anywhere in a file: of ``from a import b`` both a and
    a.b.
    """
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def among_test_modules(modules: set[str]) -> set[str]:
    """Those of the modules that are test modules of this checkout."""
    return {
        name
        for name in modules
        if name.startswith("tests.") and name.rpartition(".")[2].startswith("test_")
    }


@pytest.mark.slow
@pytest.mark.parametrize("path", UNIT_MODULES, ids=lambda path: str(path.relative_to(UNIT)))
def test_a_unit_test_is_named_for_its_module(path: Path) -> None:
    if path.parent == UNIT and (path.stem in OF_THE_WHOLE or path.stem.startswith("test_helpers_")):
        return
    package = PACKAGE / path.parent.relative_to(UNIT)
    assert module_of(path.stem, modules_in(package)), f"no module of {package.name} has this name"


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(TESTS)))
def test_tests_stand_in_test_modules_and_helpers_elsewhere(path: Path) -> None:
    tree = ast.parse(text := path.read_text())
    if _MENTIONED.search(text):  # to walk through every module would take ten seconds
        assert not among_test_modules(imported(tree)), (
            "move what is shared to tests/helpers or conftest"
        )
    assert bool(found_tests(tree)) is path.name.startswith("test_")


def test_each_module_with_logic_has_its_test_file() -> None:
    """What is listed in TESTED_OTHERWISE has none, so that the list does not grow old."""
    untested = {
        str(path.relative_to(PACKAGE))
        for path in PACKAGE.rglob("*.py")
        if not files_for(path) and has_logic(ast.parse(path.read_text()))
    }
    assert untested == set(TESTED_OTHERWISE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A = 1\nclass C:\n    x: int\n", False),
        ('class C(Protocol):\n    def f(self) -> int:\n        """It."""\n        ...', False),
        ("def f() -> int: ...", False),
        ("def f() -> int:\n    return 1", True),
        ("class C:\n    async def f(self) -> None:\n        self.x = 1", True),
        ("class C(Protocol): ...\nclass D(C):\n    def f(self) -> None:\n        pass", True),
    ],
)
def test_what_is_logic(text: str, expected: bool) -> None:
    assert has_logic(ast.parse(text)) is expected


def test_the_checks_can_fail() -> None:
    modules = {"walk", "child_call", "config"}
    assert module_of("test_walk_tools", modules) == "walk"
    assert module_of("test_child_call", modules) == "child_call"
    assert module_of("test_config", modules) == "config"
    assert module_of("test_walker", modules) is None
    assert module_of("test_resolve", modules) is None
    assert {"config", "errors", "limits"} <= modules_in(PACKAGE)
    assert [path.name for path in files_for(PACKAGE / "byte_range.py")] == ["test_byte_range.py"]
    assert UNIT / "test_config.py" in files_for(PACKAGE / "config" / "__init__.py")
    assert files_for(PACKAGE / "tree" / "nothing.py") == []
    walk = {path.name for path in files_for(PACKAGE / "formats" / "tar" / "walk.py")}
    assert {"test_walk.py", "test_walk_properties.py"} <= walk
    wrong = ast.parse("from tests.unit.index.test_arena import ended\nfrom tests.nfs import test_x")
    assert among_test_modules(imported(wrong)) == {
        "tests.unit.index.test_arena",
        "tests.nfs.test_x",
    }
    assert found_tests(wrong) == []
    assert found_tests(ast.parse("class TestX:\n    def test_y(self): ...")) == ["test_y"]
