"""source/: the source tree as it stands, tars as files. A directory's entries are rows of its table."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.inode import InodeKind, fields, inode, kind_of
from imagenetfs.tree.listing import DIRECTORY_MODE, UNCOUNTED, Attributes, Entry, member_attributes


def directory_inode(catalogue: Catalogue, kind: int, archive: int, inner: int, row: int) -> int:
    """The inode of the directory at ``row`` of a container, in the view ``kind``.

    A directory that is an archive or an inner container itself is named by that, and not by its row.
    """
    view = InodeKind(kind)
    if inner != OUTER:
        return inode(view, archive, inner, row + 1)
    container = catalogue.index.container(archive)
    own = catalogue.numbers.get(container.locate(row)[0])
    if own is not None and catalogue.archives[own].kind is Kind.DIRECTORY:
        return inode(view, own, OUTER, 0)
    return inode(view, archive, catalogue.index.inner_of_row(archive, row), 0)


class LooseListing:
    """The entries of one directory of the source."""

    __slots__ = ("_archive", "_catalogue", "_inner", "_kind", "_members", "_prefix", "_rows")

    def __init__(self, catalogue: Catalogue, number: int) -> None:
        self._catalogue = catalogue
        self._kind = kind_of(number)
        self._archive, self._inner, row = fields(number)
        self._members = catalogue.index.container(self._archive, self._inner).members
        self._rows = list(self._members.children(row - 1))
        self._prefix = len(self._members.name(row - 1)) + 1 if row else 0

    def __len__(self) -> int:
        return len(self._rows)

    def _inode(self, row: int) -> int:
        if stat.S_ISDIR(self._members.mode(row)):
            return directory_inode(self._catalogue, self._kind, self._archive, self._inner, row)
        return inode(InodeKind.FILE, self._archive, self._inner, row)

    def entries(self, start: int) -> Iterator[Entry]:
        members = self._members
        for row in self._rows[start:]:
            if stat.S_ISDIR(members.mode(row)):
                attributes = Attributes(DIRECTORY_MODE, 0, members.mtime_ns(row), UNCOUNTED)
            else:
                attributes = member_attributes(members, row)
            yield members.name(row)[self._prefix :], self._inode(row), attributes

    def find(self, name: bytes) -> int | None:
        path = name
        if self._prefix and self._rows:
            path = self._members.name(self._rows[0])[: self._prefix] + name
        row = self._members.find(path)
        return None if row < 0 else self._inode(row)
