"""source/ and archives/: the source tree as it stands.

A directory's entries are rows of its table.
"""

from __future__ import annotations

import stat
from array import array
from collections.abc import Iterator

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.tree.archive_view import archive_inode
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.class_listing import numbered_table
from imagenetfs.tree.inode import MAX_INNER, InodeKind, base, fields, inode, kind_of
from imagenetfs.tree.listing import (
    DIRECTORY_MODE,
    UNCOUNTED,
    Attributes,
    Entry,
    FlatListing,
    Listing,
    RowwiseListing,
    member_attributes,
)
from imagenetfs.tree.split_backend import troubles


def directory_inode(catalogue: Catalogue, kind: int, archive: int, inner: int, row: int) -> int:
    """The inode of the directory at ``row`` of a container, in the view ``kind``.

    A directory that is an archive or an inner container itself is named by
    that, and not by its row.
    """
    view = InodeKind(kind)
    container = catalogue.index.container(archive, inner)
    if inner != OUTER or container.extent.kind is not Kind.DIRECTORY:
        return inode(view, archive, inner, row + 1)
    own = catalogue.numbers.get(container.locate(row)[0])
    if own is not None and catalogue.archives[own].kind is Kind.DIRECTORY:
        return inode(view, own, OUTER, 0)
    return inode(view, archive, catalogue.index.inner_of_row(archive, row), 0)


def loose_listing(catalogue: Catalogue, number: int) -> Listing:
    """What a directory of the source shows, or one within a tar."""
    kind, (archive, inner, row) = kind_of(number), fields(number)
    container = catalogue.index.container(archive, inner)
    members, _ = numbered_table(catalogue.index, (archive, inner))
    _tell_problems(catalogue, archive, inner)
    is_packed = container.extent.kind is not Kind.DIRECTORY
    shows_archives = kind == InodeKind.ARCHIVES and (not is_packed or len(members.nested) > 0)
    if row == 0 and not shows_archives and FlatListing.fits(members):
        return FlatListing(members, base(InodeKind.FILE, archive, inner))
    return LooseListing(catalogue, number)


def _tell_problems(catalogue: Catalogue, archive: int, inner: int) -> None:
    """Say once a mount, also in status, what of a tar is broken or not shown."""
    for sentence in troubles(catalogue.index, (archive, inner)):
        catalogue.late_warnings.tell(sentence)
    nested = len(catalogue.index.nested(archive)) if inner == OUTER else 0
    if nested > MAX_INNER:
        catalogue.late_warnings.tell(
            f"{catalogue.index.title(archive)} has {nested:,} tars or directories, and "
            f"{MAX_INNER:,} can be shown as directories: further tars are shown as "
            "files, further directories not at all."
        )


class LooseListing(RowwiseListing):
    """The entries of one directory of the source, or of one within a tar."""

    __slots__ = ("_archive", "_catalogue", "_inner", "_kind", "_members", "_row", "_rows")

    def __init__(self, catalogue: Catalogue, number: int) -> None:
        self._catalogue = catalogue
        self._kind = kind_of(number)
        self._archive, self._inner, row = fields(number)
        self._members = catalogue.index.container(self._archive, self._inner).members
        # 8 bytes each; there may be 100,000
        self._rows = array("Q", filter(self._has_number, self._members.children(row - 1)))
        self._row = row - 1

    def _has_number(self, row: int) -> bool:
        """False for a directory of the source that is a container behind too many others."""
        nested = self._members.nested
        if len(nested) <= MAX_INNER or row <= nested[MAX_INNER - 1]:
            return True
        return not stat.S_ISDIR(self._members.mode(row))

    def __len__(self) -> int:
        return len(self._rows)

    def _inode(self, row: int) -> int:
        place = (self._archive, self._inner)
        if stat.S_ISDIR(self._members.mode(row)):
            return directory_inode(self._catalogue, self._kind, *place, row)
        if self._kind == InodeKind.ARCHIVES:
            archive = archive_inode(self._catalogue, *place, row)
            if archive is not None:
                return archive
        return inode(InodeKind.FILE, *place, self._members.owner(row))

    def entries(self, start: int) -> Iterator[Entry]:
        members = self._members
        for row in self._rows[start:]:
            number = self._inode(row)
            if kind_of(number) == InodeKind.FILE:
                attributes = member_attributes(members, row)
            else:
                attributes = Attributes(DIRECTORY_MODE, 0, members.mtime_ns(row), UNCOUNTED)
            yield members.base_name(row), number, attributes

    def find(self, name: bytes) -> int | None:
        row = self._members.child(self._row, name)
        return self._inode(row) if row >= 0 and self._has_number(row) else None
