"""The images of some containers as one listing, and what of the containers is left out of it.

Images are shown by their base names. Of two of one name the one that lies higher is shown, for
what lies below a class (thumbnails, crops) often has its images' names; of two at one level the
later one, as extraction would have it. The other one is counted.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence

import numpy as np

from imagenetfs.errors import ArchiveError, SourceReadError, SourceUnreadableError
from imagenetfs.index.archives import OUTER, Kind, is_archive_name
from imagenetfs.index.container import Container
from imagenetfs.index.contents import first_bytes
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table import Table
from imagenetfs.tree.images import (
    FIRST_BYTES,
    Verdict,
    begins_as_image,
    has_images_alone,
    is_dropping,
    is_packed_image,
    judge,
)
from imagenetfs.tree.inode import InodeKind, base, max_rows
from imagenetfs.tree.left_out import LeftOut, Reason
from imagenetfs.tree.listing import FlatListing, Listing, RowsListing

Place = tuple[int, int]
"""(archive, inner) of a container."""


def numbered_table(index: Index, place: Place) -> tuple[Table, int]:
    """A container's table and the inode of its row 0. ArchiveError where there are more rows than
    numbers."""
    members = index.container(*place).members
    if len(members) > max_rows(place[1]):
        raise ArchiveError(
            f"{index.title(*place)} has {len(members):,} members, and a container within an "
            f"archive can show {max_rows(place[1]):,}: take it out of that, or divide it"
        )
    return members, base(InodeKind.FILE, *place)


def container_listing(index: Index, place: Place, left_out: LeftOut | None = None) -> Listing:
    """The images of one container; what is left out is added to ``left_out``."""
    members, first = numbered_table(index, place)
    left_out = LeftOut() if left_out is None else left_out
    if FlatListing.fits(members) and has_images_alone(members):
        _count_unlisted(members, left_out)
        return FlatListing(members, first)
    return images_of(index, (place, *directories_within(index, place, left_out)), left_out)


def directories_within(index: Index, place: Place, left_out: LeftOut) -> list[Place]:
    """The directories in an archive of loose files, which its own table does not list. Droppings
    are counted, and not looked into.
    """
    archive, inner = place
    container = index.container(*place)
    if inner != OUTER or container.extent.kind is not Kind.DIRECTORY:
        return []
    members, found = container.members, []
    for number, row in enumerate(index.nested(archive).tolist()):
        if not stat.S_ISDIR(members.mode(row)) or row in members.links:
            continue
        if is_dropping(members.name(row)):
            left_out.add(Reason.DROPPING, members.name(row))
            continue
        found.append((archive, number))
    return found


def images_of(
    index: Index,
    places: Sequence[Place],
    left_out: LeftOut,
    *,
    overlaid: frozenset[int] = frozenset(),
    below: bytes = b"",
) -> RowsListing:
    """The images of all containers together. ``overlaid``: archives whose images take the place of
    those of one name in the others, as they are meant to (test's patch): not counted. ``below``:
    the directory of each in which they stand.
    """
    collector = _Collector(index, left_out, overlaid, frozenset(places))
    for place in places:
        collector.take(place, below)
        count_unlisted(index, place, left_out, below)
    return collector.listing()


def directory_listing(
    index: Index, place: Place, directory: bytes, left_out: LeftOut
) -> RowsListing:
    """The images of one directory of a container, and of all below it.

    What the container's own table has not (:func:`count_unlisted`) is counted by the caller, once.
    """
    collector = _Collector(index, left_out, frozenset())
    collector.take(place, directory)
    return collector.listing()


def count_unlisted(index: Index, place: Place, left_out: LeftOut, below: bytes = b"") -> None:
    """Count what of a container, or of a directory of it, its table does not have."""
    _count_unlisted(index.container(*place).members, left_out, below)


def verdict_of(index: Index, container: Container, row: int, name: bytes) -> Verdict:
    """What a file is: by its name, and where that does not tell, by its first bytes.

    Raises SourceReadError, SourceUnreadableError.
    """
    verdict = judge(name)
    if verdict is not Verdict.UNTOLD:
        return verdict
    is_image = begins_as_image(first_bytes(index.source, container, row, FIRST_BYTES))
    return Verdict.IMAGE if is_image else Verdict.OTHER


class _Collector:
    """Images by base name: (whether it is laid over, level, table, row)."""

    def __init__(
        self,
        index: Index,
        left_out: LeftOut,
        overlaid: frozenset[int],
        places: frozenset[Place] = frozenset(),
    ) -> None:
        self._index = index
        self._left_out = left_out
        self._overlaid = overlaid
        self._places = places
        self._tables: list[tuple[Table, int]] = []
        self._found: dict[bytes, tuple[bool, int, int, int]] = {}

    def take(self, place: Place, directory: bytes = b"") -> None:
        """Take in the images of one more container, or of a directory in it."""
        container = self._index.container(*place)
        members, which = container.members, len(self._tables)
        self._tables.append(numbered_table(self._index, place))
        over = place[0] in self._overlaid
        rows = rows_below(members, directory)
        start, stop = rows.start, rows.stop
        # A directory within an archive of loose files is a container of its own, one level down.
        level = 0 if place[1] == OUTER else 1
        regular = members.regular()
        first, last = np.searchsorted(regular, (start, stop))
        for row in regular[first:last].tolist():
            name = members.name(row)
            if self._is_image(place, row, name[len(directory) :].lstrip(b"/")):
                self._keep(name, (over, level + name.count(b"/"), which, row))
        for row in members.links:
            # A link that is followed has the mode of what it leads to.
            mode = members.mode(row)
            if start <= row < stop and (stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
                name = members.name(row)
                if judge(name) in (Verdict.IMAGE, Verdict.UNTOLD):
                    self._left_out.add(Reason.LINK, name)

    def _is_image(self, place: Place, row: int, name: bytes) -> bool:
        verdict = judge(name)
        if verdict is Verdict.UNTOLD:
            try:
                verdict = verdict_of(self._index, self._index.container(*place), row, name)
            except (SourceReadError, SourceUnreadableError):
                self._left_out.add(Reason.UNREADABLE, name)
                return False
        if verdict is Verdict.IMAGE:
            return True
        reason = Reason.DROPPING if verdict is Verdict.DROPPING else Reason.NOT_IMAGE
        if reason is Reason.NOT_IMAGE and is_archive_name(name):
            if self._is_taken(place, row):
                return False  # what it holds is counted
            reason = Reason.PACKED
        if reason is Reason.NOT_IMAGE and is_packed_image(name):
            reason = Reason.PACKED
        self._left_out.add(reason, name)
        return False

    def _is_taken(self, place: Place, row: int) -> bool:
        """Whether an archive in a container is one of those that are taken in."""
        inner = self._index.inner_of_row(place[0], row) if place[1] == OUTER else OUTER
        if inner != OUTER and (place[0], inner) in self._places:
            return True
        own = self._index.promoted(place[0], row, place[1])
        return own is not None and (own, OUTER) in self._places

    def _keep(self, path: bytes, image: tuple[bool, int, int, int]) -> None:
        name = path.rpartition(b"/")[2]
        other = self._found.get(name)
        if other is None:
            self._found[name] = image
            return
        if image[0] != other[0]:
            self._found[name] = image if image[0] else other
            return
        higher = image if image[1] <= other[1] else other
        lower = other if higher is image else image
        reason = Reason.BELOW if lower[1] > higher[1] else Reason.SAME_NAME
        self._left_out.add(reason, self._tables[lower[2]][0].name(lower[3]))
        self._found[name] = higher

    def listing(self) -> RowsListing:
        chosen = np.array(
            [self._found[name][2:] for name in sorted(self._found)], dtype=np.int64
        ).reshape(-1, 2)
        return RowsListing(self._tables, chosen[:, 0].astype(np.uint32), chosen[:, 1])


def rows_below(members: Table, directory: bytes) -> range:
    """The rows of a directory's contents; all rows for no directory."""
    if not directory:
        return range(len(members))
    row = members.find(directory)
    return members.within(row) if row >= 0 else range(0)


def _count_unlisted(members: Table, left_out: LeftOut, below: bytes = b"") -> None:
    """What the table itself has not: members whose name a later one has too, and images that no
    table can show."""
    if not isinstance(members, MemberTable):
        return
    replaced = members.replaced(below)
    if replaced:
        left_out.add(Reason.SAME_NAME, replaced[0], len(replaced))
    unshown = [n for n in members.unshown(below) if judge(n) in (Verdict.IMAGE, Verdict.UNTOLD)]
    for name in unshown:
        left_out.add(Reason.REFUSED, name)
