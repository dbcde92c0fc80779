"""Listings: sorted, complete, from any position, and find() agrees with entries()."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import build_catalogue
from imagenetfs.tree.inode import InodeKind, base, fields, inode, kind_of
from imagenetfs.tree.listing import (
    Attributes,
    FixedListing,
    FlatListing,
    RowsListing,
    member_attributes,
)
from imagenetfs.tree.per_class_split import container_listing
from imagenetfs.tree.source_view import LooseListing, loose_listing
from imagenetfs.tree.tree import Tree
from tests.helpers.archives import class_tar, image, index_of, tar_of, train_tar
from tests.helpers.listings import check_listing
from tests.helpers.tables import DIRECTORY, FILE, LINK, members_of


@pytest.mark.parametrize("count", [0, 1, 127, 128, 129, 300])
def test_flat(tmp_path: Path, count: int) -> None:
    (tmp_path / "c.tar").write_bytes(tar_of({f"{n}.JPEG": b"x" * (n % 5) for n in range(count)}))
    container = index_of(tmp_path, "c.tar").container(0)
    assert FlatListing.fits(container.members)
    listing = FlatListing(container.members, base(InodeKind.FILE, 0, OUTER))
    found = check_listing(listing)
    assert sorted(found) == sorted(b"%d.JPEG" % n for n in range(count))
    for name, (number, attributes) in found.items():
        kind, (archive, inner, row) = kind_of(number), fields(number)
        assert (kind, archive, inner) == (InodeKind.FILE, 0, OUTER)
        assert container.members.name(row) == name
        assert attributes == member_attributes(container.members, row)


def test_what_is_not_flat() -> None:
    assert FlatListing.fits(members_of([(b"a", FILE), (b"b", FILE)]))
    assert not FlatListing.fits(members_of([(b"a/b", FILE)]))
    assert not FlatListing.fits(members_of([(b"a", FILE), (b"b", LINK)]))
    assert not FlatListing.fits(members_of([(b"a", LINK), (b"b", LINK)]))
    assert not FlatListing.fits(members_of([(b"a", DIRECTORY)]))


def test_attributes_are_readable_and_never_writable() -> None:
    members = members_of(
        [(b"a", stat.S_IFREG | 0o777), (b"b", stat.S_IFREG), (b"c", stat.S_IFREG | 0o6700)]
    )
    modes = [member_attributes(members, row).mode for row in range(3)]
    assert modes == [stat.S_IFREG | mode for mode in (0o555, 0o444, 0o544)]


def test_rows_of_several_tables() -> None:
    tables = [
        members_of([(b"x/b", FILE), (b"a", FILE), (b"x/d", FILE)]),
        members_of([(b"c", FILE), (b"0", FILE)]),
    ]
    bases = [base(InodeKind.FILE, 4, OUTER), base(InodeKind.FILE, 5, 7)]
    where = {}
    for which, members in enumerate(tables):
        for row in members.regular().tolist():
            where[members.name(row).rpartition(b"/")[2]] = (which, row)
    chosen = np.array([where[name] for name in sorted(where)])
    listing = RowsListing(
        list(zip(tables, bases, strict=True)), chosen[:, 0].astype(np.uint8), chosen[:, 1]
    )
    found = check_listing(listing)
    assert list(found) == [b"0", b"a", b"b", b"c", b"d"]
    for name, (number, _) in found.items():
        which, row = where[name]
        assert number == bases[which] + row
    part = check_listing(listing.part(np.array([1, 3])))
    assert part == {name: found[name] for name in (b"a", b"c")}
    assert check_listing(listing.part(np.array([], dtype=np.int64))) == {}


def test_fixed() -> None:
    children = [(b"b", 7), (b"a", 9), (b"c", 8)]
    listing = FixedListing(children, lambda number: Attributes(number, 0, 0, 1))
    assert {name: number for name, (number, _) in check_listing(listing).items()} == dict(children)


def test_a_container_with_directories_shows_base_names(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(
        tar_of({"test/": b"", "test/b.JPEG": b"22", "a.JPEG": b"1", "other/c.JPEG": b"333"})
    )
    found = check_listing(container_listing(index_of(tmp_path, "t.tar"), (0, OUTER)))
    assert {name: attributes.size for name, (_, attributes) in found.items()} == {
        b"a.JPEG": 1,
        b"b.JPEG": 2,
        b"c.JPEG": 3,
    }


# --- loose directories ----------------------------------------------------------------------------


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
