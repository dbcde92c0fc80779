"""The tree: what an inode is, what it is not, and that nothing is read above class level."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.counters import BYTES, REQUESTS, SOURCE_WORDS
from imagenetfs.errors import (
    ImagenetfsError,
    IsDirectoryError,
    NoEntryError,
    NotDirectoryError,
    NotLinkError,
)
from imagenetfs.tree.tree import Tree
from tests.helpers.devkit import LEAVES
from tests.helpers.trees import at, ilsvrc2012, names, tree_of


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return ilsvrc2012(tmp_path / "imagenet")


def test_names_that_are_not_listed(source: Path) -> None:
    tree = tree_of(source)
    one = "ILSVRC2012_val_00000001.JPEG"
    inode = at(tree, f"ILSVRC2012/val/{LEAVES[1].decode()}/{one}")
    assert at(tree, f"ILSVRC2012/val/{one}") == inode
    assert at(tree, f"ILSVRC2012/validation/{one}") == inode
    assert at(tree, f"ILSVRC2012/validation/{LEAVES[1].decode()}/{one}") == inode
    assert at(tree, "ILSVRC2012/validation") != at(tree, "ILSVRC2012/val")
    assert names(tree, "ILSVRC2012/ILSVRC2012_devkit_t12/data") == [
        "ILSVRC2012_validation_ground_truth.txt",
        "meta.mat",
    ]


@pytest.mark.slow
def test_inodes_are_the_same_at_every_mount(source: Path) -> None:
    def walk(tree: Tree, number: int, found: dict[str, int], path: str) -> dict[str, int]:
        for name, child, attributes in list(tree.listing(number).entries(0)):
            below = f"{path}/{name.decode()}"
            found[below] = child
            assert 0 < child < 1 << 63
            if stat.S_ISDIR(attributes.mode):
                walk(tree, child, found, below)
        return found

    one, other = walk(tree_of(source), 1, {}, ""), walk(tree_of(source), 1, {}, "")
    assert one == other
    directories = [child for path, child in one.items() if "." not in path.rpartition("/")[2]]
    assert len(directories) == len(set(directories))


def test_a_listing_opens_no_class_tar(source: Path) -> None:
    tree = tree_of(source)
    index = tree.catalogue.index
    train = tree.catalogue.numbers[b"ILSVRC2012/ILSVRC2012_img_train.tar"]
    list(tree.listing(at(tree, "ILSVRC2012/train")).entries(0))
    assert [index.known(train, inner) for inner in range(3)] == [False] * 3
    at(tree, "ILSVRC2012/train/n00000002/n00000002_0.JPEG")
    assert [index.known(train, inner) for inner in range(3)] == [False, True, False]


def _reads(tree: Tree, act: Callable[[], object]) -> list[int]:
    meter: list[int] = [0] * SOURCE_WORDS
    tree.catalogue.source.count_on(meter)
    with contextlib.suppress(NoEntryError):
        act()
    return [meter[REQUESTS], meter[BYTES]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    [
        *("ILSVRC2012", "ILSVRC2012/train", "ILSVRC2012/val", "ILSVRC2012/test", "ILSVRC2012/meta"),
        *("ILSVRC2012/train/n00000001", "ILSVRC2012/train/nothing", "nothing", "source"),
        *("ILSVRC2012/nothing", "ILSVRC2012/labels.txt", "ILSVRC2012/meta.bin", ".imagenetfs"),
        "ILSVRC2012/ILSVRC2012_devkit_t12",
        f"ILSVRC2012/val/{LEAVES[0].decode()}",
        *("ILSVRC2012/val/nothing", "ILSVRC2012/test/.git"),
    ],
)
def test_lookups_above_class_level_read_nothing(source: Path, path: str) -> None:
    tree = tree_of(source)
    assert _reads(tree, lambda: tree.attributes(at(tree, path))) == [0, 0]


def test_listings_above_class_level_read_nothing(source: Path) -> None:
    tree = tree_of(source)

    def act() -> None:
        for number in (1, *(at(tree, f"ILSVRC2012{below}") for below in ("", "/train", "/meta"))):
            list(tree.listing(number).entries(0))

    assert _reads(tree, act) == [0, 0]


def test_attributes(source: Path) -> None:
    tree = tree_of(source)
    one = tree.attributes(1)
    assert (one.mode, one.nlink) == (stat.S_IFDIR | 0o755, 2 + 3)
    assert tree.attributes(at(tree, "ILSVRC2012/train")).nlink == 2 + 3
    assert tree.attributes(at(tree, "ILSVRC2012")).nlink == 2 + 4
    directory = tree.attributes(at(tree, "ILSVRC2012/train/n00000001"))
    assert (directory.nlink, directory.mtime_ns) == (2, 7 * 10**9)
    member = tree.attributes(at(tree, "ILSVRC2012/train/n00000001/n00000001_2.JPEG"))
    assert member == (stat.S_IFREG | 0o444, 602, 7 * 10**9, 1)


def test_what_an_inode_is_not(source: Path) -> None:
    tree = tree_of(source)
    member, directory = at(tree, "ILSVRC2012/train/n00000001/n00000001_0.JPEG"), at(tree, "source")
    with pytest.raises(NotDirectoryError):
        tree.listing(member)
    with pytest.raises(NotDirectoryError):
        tree.lookup(at(tree, "ILSVRC2012/wnids.txt"), b"x")
    for number in (
        1,
        directory,
        at(tree, "ILSVRC2012/train"),
        at(tree, "ILSVRC2012/train/n00000001"),
    ):
        with pytest.raises(IsDirectoryError):
            tree.file(number)
        with pytest.raises(NotLinkError):
            tree.link_target(number)
    with pytest.raises(NotLinkError):
        tree.link_target(member)
    for number in (0, 999, 2 << 60 | 77 << 40, 2 << 60 | 99, 1 << 60 | 500 << 40, 6 << 60):
        with pytest.raises(ImagenetfsError):
            tree.attributes(number)
