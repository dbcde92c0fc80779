"""The layers of docs/architecture.md: each imports only downwards, and only serve/ imports pyfuse3."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "imagenetfs"

LAYERS = [
    {"cli", "job", "__main__"},
    {"serve"},
    {"tree"},
    {"index", "cache", "stage", "sample"},
    {"source", "formats"},
    {"system"},
    {"config"},
    {"errors", "__init__"},
]
"""From the top down. A room may import rooms of lower lines, and of its own line only itself, but that
cli may import job, and sample the formats; every room may import the last line."""

BESIDE = {("cli", "job"), ("__main__", "cli")}

THIRD_PARTY = {
    "pyfuse3": {"serve"},
    "typer": {"cli"},
    "rich": {"cli"},
    "scipy": {"tree", "sample"},
    "PIL": {"sample"},
}
"""Who may import what. numpy, trio and platformdirs are everybody's."""


def room(path: Path) -> str:
    """The name of the room that a module belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def level(name: str) -> int:
    """The layer of a room; an unknown room has none and fails."""
    return next(number for number, rooms in enumerate(LAYERS) if name in rooms)


def imports(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            found.add(node.module or "")
            if node.module == "imagenetfs":
                found |= {f"imagenetfs.{alias.name}" for alias in node.names}
    return found


MODULES = sorted(PACKAGE.rglob("*.py"))


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


def test_every_room_has_its_layer() -> None:
    assert {room(path) for path in MODULES} <= set().union(*LAYERS)


def test_the_check_can_fail(tmp_path: Path) -> None:
    module = tmp_path / "wrong.py"
    module.write_text("def f():\n    from imagenetfs.fuse.stats import Board\n    import pyfuse3\n")
    assert {"imagenetfs.fuse.stats", "pyfuse3"} <= imports(module)
    assert level("serve") < level("index")
