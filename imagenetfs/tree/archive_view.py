"""archives/: the source tree with every tar and zip, and every one within such, a directory.

Deeper ones are files, but for those of which a split is made, and so is every other file. One in a
directory that discovery did not read becomes an archive when a reader comes upon it (see
index/archives.py); but in a directory that a split reads it is what it is there, so that a file has
one inode. What an archive may hold that is harmful was made harmless when its table was made: names
that lead outside, links that lead outside (see index.names).
"""

from __future__ import annotations

import stat

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.index.archives import OUTER, Kind, is_archive_name
from imagenetfs.index.table import Table
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.inode import MAX_INNER, InodeKind, inode, max_rows

_ZIP_MEMBER = 46
"""Bytes that a member of a zip takes at the least: an entry of the directory."""


def archive_inode(catalogue: Catalogue, archive: int, inner: int, row: int) -> int | None:
    """The directory that the tar or zip at ``row`` of a container is shown as, if it is one."""
    index = catalogue.index
    container = index.container(archive, inner)
    if not stat.S_ISREG(container.members.mode(row)):
        return None
    if container.extent.kind is Kind.DIRECTORY and is_archive_name(
        container.members.base_name(row)
    ):
        path, numbers = container.locate(row)[0], index.archives
        own = numbers.number(path) if archive in catalogue.served else numbers.add(path)
        if own is not None:
            return inode(InodeKind.ARCHIVES, own, OUTER, 0)
    within = index.inner_of_row(archive, row) if inner == OUTER else OUTER
    if within == OUTER:
        return None
    promoted = index.promoted(archive, row)
    if promoted is not None:
        return inode(InodeKind.ARCHIVES, promoted, OUTER, 0)
    if not _has_room(catalogue, archive, within):
        return None
    return inode(InodeKind.ARCHIVES, archive, within, 0)


def _has_room(catalogue: Catalogue, archive: int, inner: int) -> bool:
    """Whether the rows of one within an archive have numbers; else that is said, once a mount."""
    index, most = catalogue.index, max_rows(inner)
    if inner >= MAX_INNER:
        return False
    extent = index.extent(archive, inner)
    least = _ZIP_MEMBER if extent.kind is Kind.ZIP else BLOCK  # a header each
    if (extent.end - extent.start) // least <= most:
        return True
    try:
        rows = len(index.container(archive, inner).members)
    except ArchiveError:
        return True  # what is wrong with it is said where it is listed
    if rows > most:
        catalogue.late_warnings.tell(
            f"{index.title(archive, inner)} has {rows:,} members, and what lies within an "
            f"archive can show {most:,}: it is shown as a file; take it out of the other to see "
            "what is in it."
        )
    return rows <= most


def container_mtime_ns(catalogue: Catalogue, archive: int, inner: int) -> int:
    """When a container changed last, as the directory or tar around it tells."""
    index = catalogue.index
    known = index.mtime_ns(archive, inner)
    if known is not None:
        return known
    members, name = _around(catalogue, index.archives[archive].path)
    row = members.find(name) if members is not None else -1
    return members.mtime_ns(row) if members is not None and row >= 0 else catalogue.mtime_ns


def _around(catalogue: Catalogue, path: bytes) -> tuple[Table | None, bytes]:
    """The table of the directory around an archive, and the archive's name in it.

    None where no reader came here through it: nothing is read to look up a name.
    """
    index, (parent, _, name) = catalogue.index, path.rpartition(b"/")
    if not path:
        return None, name
    while parent not in catalogue.numbers:  # deeper directories are no archives of their own
        parent, _, directory = parent.rpartition(b"/")
        name = directory + b"/" + name
    around = catalogue.numbers[parent]
    if not index.known(around):
        return None, name
    members = index.container(around).members
    directory, _, below = name.partition(b"/")
    if not below:
        return members, name
    inner = index.inner_of_row(around, members.find(directory))
    return index.container(around, inner).members if index.known(around, inner) else None, below
