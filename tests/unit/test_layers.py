"""The rules that the code's text shows: the layers of docs/architecture.md, each of which imports
only downwards and without circles; sizes; names of classes.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "imagenetfs"

LAYERS = [
    {"__init__"},
    {"cli", "__main__", "torch"},
    {"library"},
    {"job"},
    {"server"},
    {"fuse"},
    {"read"},
    {"tree"},
    {"index", "cache", "sample"},
    {"source", "formats"},
    {"config"},
    {"system"},
    {"errors", "limits", "counters", "byte_range", "units", "version"},
]
"""From the top down. A package may import packages of lower lines, and of its own line only itself,
but that the command may import cli.
"""

BESIDE = {("__main__", "cli")}

NO_MOUNT = {"__init__", "library", "torch"}
"""What runs in a user's own process: never what serves a mount."""

SERVING = {"fuse", "server"}

SETTINGS_READERS = {"cli", "library", "job", "config"}
"""Who may import config: what lies below gets values, not settings."""

THIRD_PARTY = {
    "pyfuse3": {"server"},
    "typer": {"cli"},
    "rich": {"cli"},
    "scipy": {"tree", "sample"},
    "PIL": {"sample", "torch", "library"},
    "torch": {"torch", "library"},
    "fsspec": {"library"},
}
"""Who may import what. numpy, trio and platformdirs are everybody's."""


def room(path: Path) -> str:
    """The name of the room that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    """The layer of a room; an unknown room has none and fails."""
    return next(number for number, rooms in enumerate(LAYERS) if name in rooms)


@cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a module."""
    return ast.parse(path.read_text())


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
            if node.module == "imagenetfs":
                found |= {f"imagenetfs.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_go_downwards(path: Path) -> None:
    own = room(path)
    for module in imports(path):
        parts = module.split(".")
        if parts[0] in THIRD_PARTY:
            assert own in THIRD_PARTY[parts[0]], f"{own} imports {module}"
        if parts[0] != "imagenetfs" or len(parts) == 1:
            continue
        other = parts[1]
        if other.startswith("__") or other == own or (own, other) in BESIDE:
            continue
        assert level(other) > level(own), f"{own} imports {module}, which is not below it"
        assert own not in NO_MOUNT or other not in SERVING, f"{own} imports {module}"
        if other == "config":
            assert own in SETTINGS_READERS, f"{own} knows settings: hand it their values"


def modules_imported(path: Path, known: set[str]) -> set[str]:
    """The modules of this package that a file imports; a package stands for its ``__init__``."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            within = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= within & known or {node.module or ""}
    return found & known


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """The modules that import each other, directly or by way of others."""
    below: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        left = list(graph[start])
        while left:
            module = left.pop()
            if module not in seen:
                seen.add(module)
                left += graph[module]
        below[start] = seen
    return sorted([a, b] for a in graph for b in below[a] if a < b and a in below[b])


@pytest.mark.slow
def test_no_circles() -> None:
    names = {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in MODULES
    }
    graph = {name: modules_imported(path, set(names)) - {name} for name, path in names.items()}
    assert circles(graph) == []
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}}) == [["a", "b"], ["a", "c"], ["b", "c"]]


def test_every_room_has_its_layer() -> None:
    assert {room(path) for path in MODULES} <= set().union(*LAYERS)


def test_the_check_can_fail(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text(
        "def f():\n    from imagenetfs.fuse.stats import SharedStats\n    import pyfuse3\n"
    )
    assert {"imagenetfs.fuse.stats", "pyfuse3"} <= imports(module)
    assert level("fuse") < level("index")


# --- private names ------------------------------------------------------------------------------

_IMPORTS = re.compile(r"^ *(?:from|import) +(\w+)[^\n(]*(?:\([^)]*\))?", re.MULTILINE)


def may_be_private(text: str) -> bool:
    """Whether a module's syntax tree is to be looked at: to walk all of them would take seconds."""
    words: set[str] = set()
    for found in _IMPORTS.finditer(text):
        if is_dependency(found[1]):
            words.update(re.findall(r"\w+", found[0]))
    used = re.search(rf"\b(?:{'|'.join(words)})\._[a-z]", text) if words else None
    return used is not None or any(map(is_private, words))


def private_names(tree: ast.Module) -> list[str]:
    """What a module takes of a dependency that the dependency keeps for itself."""
    found, modules = [], dict[str, str]()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
            taken = {one.asname or one.name.partition(".")[0]: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            taken = {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
        else:
            continue
        foreign = {own: name for own, name in taken.items() if is_dependency(name)}
        modules.update(foreign)
        found += [name for name in names if is_dependency(name) and is_private(name)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = modules.get(node.value.id)
            if module is not None and is_private(node.attr):
                found.append(f"{module}.{node.attr}")
    return found


def is_dependency(name: str) -> bool:
    top = name.partition(".")[0]
    return top not in sys.stdlib_module_names and top not in ("imagenetfs", "tests")


def is_private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))


@pytest.mark.slow
@pytest.mark.parametrize("directory", ["imagenetfs", "tests"])
def test_no_private_name_of_a_dependency(directory: str) -> None:
    texts = {path: path.read_text() for path in (PACKAGE.parent / directory).rglob("*.py")}
    found = {
        str(path): names
        for path, text in texts.items()
        if may_be_private(text) and (names := private_names(ast.parse(text)))
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "import trio\ntrio._core.run()",
        "from pyfuse3 import _pyfuse3",
        "import pyfuse3._pyfuse3",
        "from numpy._core import x",
        "def f():\n    import numpy as np\n    return np._x",
    ],
)
def test_the_check_of_private_names_can_fail(text: str) -> None:
    assert len(private_names(ast.parse(text))) == 1
    assert may_be_private(text)


def test_private_names_of_our_own_and_of_python_are_no_dependencys() -> None:
    text = "import os\nfrom imagenetfs import errors\nos._exit(1)\nerrors._x\nself._trio.x"
    assert private_names(ast.parse(text)) == []


# --- sizes ----------------------------------------------------------------------------------------

MAX_CLASS_LINES, MAX_FUNCTION_LINES, MAX_PARAMETERS = 250, 60, 7

AS_ELSEWHERE = {"torch/node_local_sampler.py: __init__ has 9 parameters"}
"""Six of them are torch's DistributedSampler's, for which it is put."""


def too_large(tree: ast.Module, *, is_command_line: bool) -> list[str]:
    """Classes and functions that nobody reads in one go, and calls that nobody gets right."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            if lines_of(node) > MAX_CLASS_LINES:
                found.append(f"{node.name} has {lines_of(node)} lines")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if lines_of(node) > MAX_FUNCTION_LINES:
                found.append(f"{node.name} has {lines_of(node)} lines")
            arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            count = sum(argument.arg not in ("self", "cls") for argument in arguments)
            if count > MAX_PARAMETERS and not is_command_line:
                found.append(f"{node.name} has {count} parameters")
    return found


def lines_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.slow
def test_nothing_is_too_large() -> None:
    found = [
        f"{path.relative_to(PACKAGE)}: {what}"
        for path in MODULES
        for what in too_large(parsed(path), is_command_line=room(path) == "cli")
    ]
    assert set(found) == AS_ELSEWHERE


@pytest.mark.slow
def test_the_check_of_sizes_can_fail() -> None:
    long = (
        "def f(a, b, c, d, e, f, g, *, h):\n" + "    pass\n" * 60 + "class C:\n" + " x = 1\n" * 250
    )
    assert too_large(ast.parse(long), is_command_line=False) == [
        "f has 61 lines",
        "f has 8 parameters",
        "C has 251 lines",
    ]
    assert len(too_large(ast.parse(long), is_command_line=True)) == 2


# --- names of classes ---------------------------------------------------------------------------

TWO_FACES = {"Split", "Tree"}
"""``imagenetfs.Split`` and ``imagenetfs.Tree`` are a program's view of what the package has under
the same names.
"""

AS_ELSEWHERE_TOO = {"Array"}
"""An array in an npz is a class of :mod:`imagenetfs.formats.npz`; one of numpy is what all call
so.
"""

_ALIAS = re.compile(r"_?[A-Z][a-z]\w*")


def same_names(modules: dict[str, ast.Module]) -> dict[str, list[str]]:
    """The names of classes that other classes or types have too, and the modules of these."""
    classes: dict[str, list[str]] = defaultdict(list)
    aliases: dict[str, list[str]] = defaultdict(list)
    for module, tree in modules.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef):
                classes[node.name].append(module)
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                name = node.targets[0].id
                if _ALIAS.fullmatch(name):
                    aliases[name].append(module)
    every = {name: [*places, *aliases[name]] for name, places in classes.items()}
    return {name: places for name, places in every.items() if len(places) > 1}


@pytest.mark.slow
def test_a_class_name_means_one_thing() -> None:
    found = same_names({str(path): parsed(path) for path in MODULES})
    assert found.keys() == TWO_FACES | AS_ELSEWHERE_TOO
    one, other = "class One: ...\nclass Two: ...", "class Two: ...\nOne = int"
    some = {"a": ast.parse(one), "b": ast.parse(other)}
    assert same_names(some) == {"One": ["a", "b"], "Two": ["a", "b"]}
