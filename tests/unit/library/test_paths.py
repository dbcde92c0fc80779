"""From a path to its inode, as the kernel walks it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

import imagenetfs
from imagenetfs.errors import NoEntryError, NotDirectoryError
from imagenetfs.library import paths
from imagenetfs.library.errors import PathNotFoundError
from imagenetfs.library.paths import PathWalker, text_of
from imagenetfs.tree.inode import ROOT, InodeKind, kind_of
from imagenetfs.tree.tree import Tree as Nodes

CLASS = "ILSVRC2012/train/n00000001"
IMAGE = f"{CLASS}/n00000001_0.JPEG"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", ""),
        ("/", ""),
        (".", ""),
        ("//a//b/", "a/b"),
        ("./a/./b/.", "a/b"),
        ("a/../b", "a/../b"),  # of a link, the directory above is another one
        (b"a/\xff", "a/\udcff"),
        (Path("a/b"), "a/b"),
        ("...", "..."),
    ],
)
def test_the_text_of_a_path(path: paths.AnyPath, text: str) -> None:
    assert text_of(path) == text


@pytest.fixture
def nodes(shared_tree: imagenetfs.Tree) -> Nodes:
    with shared_tree._opened.locked() as parts:
        return parts.nodes


@pytest.fixture
def walker(nodes: Nodes) -> PathWalker:
    return PathWalker(nodes)


def test_the_way_up(walker: PathWalker) -> None:
    image = walker.find(IMAGE)
    assert kind_of(image) == InodeKind.FILE
    for path in (
        f"{CLASS}/../n00000001/n00000001_0.JPEG",
        f"ILSVRC2012/../{IMAGE}",
        f"../../{IMAGE}",  # nothing is above the root
    ):
        assert walker.find(path) == image
    assert walker.find(f"{CLASS}/..") == walker.find("ILSVRC2012/train")
    assert walker.find("") == walker.find("..") == walker.find("ILSVRC2012/..") == ROOT


@pytest.mark.parametrize("path", [f"{IMAGE}/x", f"{IMAGE}/..", f"{IMAGE}/../n00000001_0.JPEG"])
def test_a_file_is_no_directory(walker: PathWalker, path: str) -> None:
    with pytest.raises(NotDirectoryError):
        walker.find(path)


@pytest.mark.parametrize("path", ["nothing", "nothing/x", f"{CLASS}/nothing", "ILSVRC2012/\udcff"])
def test_what_is_not_there(walker: PathWalker, path: str) -> None:
    with pytest.raises(NoEntryError):
        walker.find(path)


def test_a_file_of_a_mount_alone_says_so(walker: PathWalker) -> None:
    with pytest.raises(PathNotFoundError, match="a mount has this file"):
        walker.find(".imagenetfs/status.json")


def test_directories_are_remembered_up_to_a_limit(
    nodes: Nodes, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []

    def lookup(above: int, name: bytes) -> int:
        asked.append(name)
        return nodes.lookup(above, name)

    counting = SimpleNamespace(
        lookup=lookup,
        attributes=nodes.attributes,
        live_file=nodes.live_file,
        link_target=nodes.link_target,
    )
    walker = PathWalker(cast(Nodes, counting))
    walker.find(IMAGE)
    assert len(asked) == 4
    walker.find(f"{CLASS}/n00000001_1.JPEG")
    assert asked[4:] == [b"n00000001_1.JPEG"]
    monkeypatch.setattr(paths, "_MOST_DIRECTORIES", 2)
    for path in ("ILSVRC2012/train/n00000002", "ILSVRC2012/test", IMAGE):
        walker.find(path)
    assert len(walker._directories) <= 2


# --- links ----------------------------------------------------------------------------------------


class Linked:
    """Directories and links by path: ``{"d/l": "../x"}``."""

    def __init__(self, links: dict[str, str], *more: str) -> None:
        self.links = links
        self.paths = ["", *more, *links]

    def _number(self, path: str) -> int:
        place = self.paths.index(path)
        return ROOT if not place else (InodeKind.FILE << 60) | place

    def _path(self, inode: int) -> str:
        return "" if inode == ROOT else self.paths[inode & 0xFFFF]

    def lookup(self, above: int, name: bytes) -> int:
        path = f"{self._path(above)}/{os.fsdecode(name)}".lstrip("/")
        if path not in self.paths:
            raise NoEntryError(path)
        return self._number(path)

    def attributes(self, inode: int) -> Any:
        is_link = self._path(inode) in self.links
        return SimpleNamespace(mode=0o120777 if is_link else 0o040755)

    def link_target(self, inode: int) -> bytes:
        return os.fsencode(self.links[self._path(inode)])

    def live_file(self, inode: int) -> None:
        return None

    def find(self, path: str, *, follow: bool = True) -> str:
        return self._path(PathWalker(cast(Nodes, self)).find(path, follow=follow))


def test_links_are_followed_from_where_they_stand() -> None:
    tree = Linked({"d/up": "../e", "d/here": "./x", "e/back": "../d/up/f"}, "d", "d/x", "e", "e/f")
    assert tree.find("d/here") == "d/x"
    assert tree.find("d/up/f") == "e/f"
    assert tree.find("d/up/..") == ""  # of what it leads to
    assert tree.find("e/back") == "e/f"
    assert tree.find("d/up", follow=False) == "d/up"
    assert tree.find("d/up/f", follow=False) == "e/f", "one on the way is followed all the same"


def test_a_link_in_a_circle_ends_as_in_linux() -> None:
    with pytest.raises(OSError) as caught:
        Linked({"a": "b", "b": "a"}).find("a")
    assert (caught.value.errno, caught.value.filename) == (errno.ELOOP, "a")


def test_so_many_links_in_a_row_as_linux_follows() -> None:
    links = {f"l{number}": f"l{number + 1}" for number in range(41)}
    tree = Linked(links, "l41")
    assert tree.find("l1") == "l41"  # 40 of them
    with pytest.raises(OSError, match="symbolic links"):
        tree.find("l0")


@pytest.mark.parametrize("target", ["/etc/passwd", "/"])
def test_a_link_out_of_the_tree_leads_nowhere(target: str) -> None:
    with pytest.raises(PathNotFoundError, match=f"leads out of the tree, to {target}"):
        Linked({"a": target}).find("a")


def test_a_link_to_nothing() -> None:
    with pytest.raises(NoEntryError):
        Linked({"a": "gone"}).find("a")
