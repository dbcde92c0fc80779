"""Listings: sorted, complete, from any position, and find() agrees with entries()."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.tree.inode import InodeKind, base, fields, kind_of
from imagenetfs.tree.listing import (
    Attributes,
    FixedListing,
    FlatListing,
    RowsListing,
    member_attributes,
)
from tests.helpers.archives import index_of, tar_of
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


def test_modes_do_not_matter_for_images() -> None:
    """An archive of images is listed by columns, whatever modes they were packed with."""
    modes = (0o644, 0o444, 0o755)
    images = members_of([(b"%d.JPEG" % mode, stat.S_IFREG | mode) for mode in modes])
    assert not images.one_mode and FlatListing.fits(images)
    listing = FlatListing(images, base(InodeKind.FILE, 0, OUTER))
    for row, (_, _, attributes) in enumerate(listing.entries(0)):
        assert attributes == member_attributes(images, row)
    assert not FlatListing.fits(members_of([(b"a", FILE), (b"b", stat.S_IFREG | 0o755)]))


def test_attributes_are_readable_and_never_writable() -> None:
    members = members_of(
        [(b"a", stat.S_IFREG | 0o777), (b"b", stat.S_IFREG), (b"c", stat.S_IFREG | 0o6700)]
    )
    modes = [member_attributes(members, row).mode for row in range(3)]
    assert modes == [stat.S_IFREG | mode for mode in (0o555, 0o444, 0o544)]


def test_images_are_no_programs() -> None:
    program, image = (b"a.sh", stat.S_IFREG | 0o755), (b"b.JPEG", stat.S_IFREG | 0o755)
    mixed, images = members_of([program, image]), members_of([image, (b"c.jpg", image[1])])
    modes = [member_attributes(mixed, row).mode for row in range(2)]
    assert modes == [stat.S_IFREG | 0o555, stat.S_IFREG | 0o444]
    assert not FlatListing.fits(mixed)
    assert FlatListing.fits(images)
    listing = FlatListing(images, base(InodeKind.FILE, 0, OUTER))
    assert {attributes.mode for _, _, attributes in listing.entries(0)} == {stat.S_IFREG | 0o444}
    assert listing.columns(0, 2).modes == stat.S_IFREG | 0o444


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
