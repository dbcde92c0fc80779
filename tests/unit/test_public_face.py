"""The public face of the package: what it is, that it does not change unseen, and that it is told.

Who changes it changes this test, docs/python.md and CHANGELOG.md.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs.library.settings import MountSettings, OpenSettings

DOCUMENT = Path(__file__).parents[2] / "docs" / "python.md"

NAMES = ["ImagenetfsError", "Mount", "Split", "Tree", "__version__", "mount", "open"]
MEMBERS = {
    "Mount": {"close", "closed", "path", "source", "status"},
    "Split": {
        *("class_to_idx", "classes", "labels", "name", "path", "read", "read_many", "tree"),
        "with_extensions",
    },
    "Tree": {
        *("close", "closed", "entries", "exists", "listdir", "open", "read", "read_many"),
        *("read_ranges", "source", "splits", "stat", "versions", "warnings"),
    },
}
INNER = {
    "Mount": {"after_fork"},
    "Split": {"forget", "read_path", "stored_order"},
    "Tree": set[str](),
}
"""Methods without an underscore that are for the package alone."""

OPEN = {
    *("cache_dir", "cache_size", "in_flight", "index_dir", "index_path", "keep_free"),
    *("prefer", "revalidate", "view"),
}
MOUNT = {"log", "read_timeout", "require", "stage", "workers"}
TORCH = ["ImageFolder", "NodeLocalSampler", "pil_loader"]


def test_names() -> None:
    assert imagenetfs.__all__ == NAMES == dir(imagenetfs)
    assert all(getattr(imagenetfs, name) is not None for name in NAMES)
    with pytest.raises(AttributeError, match="no attribute 'closing'"):
        imagenetfs.closing  # noqa: B018 (that is the test)


@pytest.mark.parametrize("name", MEMBERS)
def test_members(name: str) -> None:
    public = {one for one in dir(getattr(imagenetfs, name)) if not one.startswith("_")}
    own = {"Mount": {"path", "source"}, "Split": {"name", "tree"}}.get(name, set())
    assert public | own == MEMBERS[name] | INNER[name]


def test_settings() -> None:
    assert set(OpenSettings.__annotations__) == OPEN
    assert set(MountSettings.__annotations__) - OPEN == MOUNT


def test_signatures() -> None:
    assert list(inspect.signature(imagenetfs.open).parameters) == ["source", "settings"]
    assert list(inspect.signature(imagenetfs.mount).parameters) == [
        *("source", "mountpoint", "settings"),
    ]


@pytest.mark.slow
def test_of_torch() -> None:
    pytest.importorskip("torch")
    import imagenetfs.torch as ours

    assert ours.__all__ == TORCH
    assert list(inspect.signature(ours.ImageFolder).parameters) == [
        *("root", "transform", "target_transform", "loader", "is_valid_file", "allow_empty"),
    ]
    assert list(inspect.signature(ours.NodeLocalSampler).parameters) == [
        *("dataset", "num_replicas", "rank", "ranks_per_node", "exchange", "shuffle", "seed"),
        *("drop_last", "unit"),
    ]


def test_everything_is_documented() -> None:
    for name in ("open", "mount", *MEMBERS):
        assert inspect.getdoc(getattr(imagenetfs, name))
    text = DOCUMENT.read_text()
    for name, members in MEMBERS.items():
        for member in (name, *members):
            assert f"{member}" in text, f"{name}.{member} is not in docs/python.md"
    for setting in OPEN | MOUNT:
        assert f"`{setting}`" in text, f"{setting} is not in docs/python.md"


def test_importing_it_is_quick() -> None:
    """Nothing large is imported before it is asked for."""
    large = "('numpy', 'scipy', 'torch')"
    code = f"import sys, imagenetfs; print([n for n in {large} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
