"""source/ and archives/: directories of the source as they stand."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.inode import InodeKind, inode
from imagenetfs.tree.listing import FlatListing
from imagenetfs.tree.source_view import LooseListing, loose_listing
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import class_tar, image, train_tar
from tests.helpers.listings import check_listing


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    source = tmp_path / "imagenet"
    deep = source / "ILSVRC2012" / "kept" / "inner"
    for name in ("empty", "full/deeper", "foo", "empty2"):
        (deep / name).mkdir(parents=True)
    (deep / "full" / "x.JPEG").write_bytes(image(1))
    (deep / "full" / "deeper" / "y.JPEG").write_bytes(image(2))
    (deep / "full.txt").write_bytes(b"between full and full/ in a plain sort")
    (deep / "link").symlink_to("full/x.JPEG")
    (source / "ILSVRC2012" / "ILSVRC2012_img_train.tar").write_bytes(train_tar(2))
    (source / "ILSVRC2012" / "ILSVRC2012_img_val.tar").write_bytes(class_tar(1))
    (source / "readme").write_bytes(b"top")
    catalogue = build_catalogue(
        Source(source), places=IndexSearchPath(None, source), arena_dir=tmp_path
    )
    return Tree(catalogue, "0")


def _walk(tree: Tree, number: int, path: Path, seen: set[int]) -> None:
    """Compare a directory of source/ with the real one."""
    listing = LooseListing(tree.catalogue, number)
    found = check_listing(listing)
    assert sorted(map(bytes, found)) == sorted(name.name.encode() for name in path.iterdir())
    assert number not in seen
    seen.add(number)
    for name, (child, attributes) in found.items():
        real = path / name.decode()
        status = real.lstat()
        assert stat.S_IFMT(attributes.mode) == stat.S_IFMT(status.st_mode)
        if stat.S_ISDIR(status.st_mode):
            _walk(tree, child, real, seen)
            continue
        assert child not in seen
        seen.add(child)
        assert attributes.size == status.st_size
        assert attributes.mtime_ns == status.st_mtime_ns
        assert tree.attributes(child) == attributes
        if real.is_symlink():
            assert tree.link_target(child) == str(real.readlink()).encode()


def test_loose_directories_are_the_real_ones(tree: Tree) -> None:
    top = tree.catalogue.numbers[b""]
    _walk(tree, inode(InodeKind.SOURCE, top, OUTER, 0), tree.catalogue.source.path, set())


def test_views_have_directories_of_their_own_and_files_in_common(tree: Tree) -> None:
    archive = tree.catalogue.numbers[b"ILSVRC2012/kept"]
    views = [
        LooseListing(
            tree.catalogue,
            LooseListing(tree.catalogue, inode(kind, archive, OUTER, 0)).find(b"inner") or 0,
        )
        for kind in (InodeKind.SOURCE, InodeKind.ALIAS)
    ]
    assert views[0].find(b"full") != views[1].find(b"full")
    assert views[0].find(b"full.txt") == views[1].find(b"full.txt") is not None


def test_a_tar_of_nothing_but_images_is_listed_as_a_class_is(tree: Tree) -> None:
    seen = []

    def compare(number: int, path: str) -> None:
        listing, slow = loose_listing(tree.catalogue, number), LooseListing(tree.catalogue, number)
        assert list(listing.entries(0)) == list(slow.entries(0))
        check_listing(listing)
        if isinstance(listing, FlatListing):
            seen.append(path)
        for name, child, what in slow.entries(0):
            if stat.S_ISDIR(what.mode):
                compare(child, f"{path}/{name.decode()}")

    for root in (b"archives", b"source"):
        compare(tree.lookup(1, root), root.decode())
    train, val = (f"archives/ILSVRC2012/ILSVRC2012_img_{split}.tar" for split in ("train", "val"))
    assert {path for path in seen if ".tar" in path} == {
        val,
        f"{train}/n00000001.tar",
        f"{train}/n00000002.tar",
    }


def test_an_empty_directory_holds_nothing(tree: Tree) -> None:
    number = tree.lookup(tree.lookup(1, b"source"), b"ILSVRC2012")
    for name in (b"kept", b"inner", b"empty"):
        number = tree.lookup(number, name)
    listing = tree.listing(number)
    assert len(listing) == 0
    assert [listing.find(name) for name in (b"empty", b"full", b"full.txt")] == [None] * 3
