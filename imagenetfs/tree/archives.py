"""archives/: the source tree with every tar, and every tar within a tar, a directory.

Deeper tars are files, and so is every other file. A tar that lies more than three directories deep in
the source is a file too (see tree.survey). What an archive may hold that is harmful was made harmless
when its table was made: names that lead outside, links that lead outside (see index.names).
"""

from __future__ import annotations

import stat

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.inode import InodeKind, inode


def tar_inode(catalogue: Catalogue, archive: int, inner: int, row: int) -> int | None:
    """The directory that the tar at ``row`` of a container is shown as; None where it is a file."""
    index = catalogue.index
    container = index.container(archive, inner)
    if inner != OUTER or not stat.S_ISREG(container.members.mode(row)):
        return None
    if container.extent.kind is Kind.DIRECTORY:
        own = catalogue.numbers.get(container.locate(row)[0])
        if own is not None and catalogue.archives[own].kind is Kind.TAR:
            return inode(InodeKind.ARCHIVES, own, OUTER, 0)
    within = index.inner_of_row(archive, row)
    return None if within == OUTER else inode(InodeKind.ARCHIVES, archive, within, 0)


def container_mtime_ns(catalogue: Catalogue, archive: int, inner: int) -> int:
    """When a container changed last, as the directory or tar around it tells."""
    index = catalogue.index
    if inner != OUTER:
        return index.container(archive).members.mtime_ns(int(index.nested(archive)[inner]))
    path = catalogue.archives[archive].path
    parent, _, name = path.rpartition(b"/")
    around = catalogue.numbers.get(parent) if path else None
    if around is None or not index.known(around):
        return catalogue.mtime_ns  # nobody came here through it; nothing is read to look up a name
    members = index.container(around).members
    row = members.find(name)
    return members.mtime_ns(row) if row >= 0 else catalogue.mtime_ns
