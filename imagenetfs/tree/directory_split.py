"""Splits whose classes are directories within larger containers: class directories in a tar, or a
level deeper than directories are containers of their own.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.index import Index
from imagenetfs.index.table import Table
from imagenetfs.tree.class_places import ClassPlace
from imagenetfs.tree.listing import Listing, RowsListing
from imagenetfs.tree.split_backend import (
    WNID,
    Place,
    by_base_name,
    is_image,
    log_warning,
    numbered_table,
    troubles,
)


class DirectorySplit:
    """One directory of a container a class, as a
    :class:`imagenetfs.tree.split_backend.SplitBackend`.

    An image is one that stands at the class's own level; where there is none, one below it
    (tiny-imagenet's ``images/``). ``tell`` hears of images below that are not shown.
    """

    def __init__(
        self,
        index: Index,
        places: Mapping[bytes, ClassPlace],
        *,
        tell: Callable[[str], None] = log_warning,
    ) -> None:
        self._index = index
        self.classes: Sequence[bytes] = sorted(places)
        self._places = [places[name] for name in self.classes]
        self.archives = tuple(dict.fromkeys(place.archive for place in self._places))
        self._tell = tell

    def listing(self, number: int) -> Listing:
        archive, inner, below = self._places[number]
        members, first = numbered_table(self._index, (archive, inner))
        for sentence in troubles(self._index, (archive, inner)):
            self._tell(sentence)
        if not below:
            return by_base_name([(members, first)], images_only=True)
        own, deeper = _images(members, below)
        if own and deeper:
            self._tell(
                f"{len(deeper):,} images below {self._index.title(archive, inner)}/"
                f"{below.decode('utf-8', 'backslashreplace')} stand in directories of their own: "
                "they are not shown in the class."
            )
        rows = np.array(own or _by_base_name(members, deeper), dtype=np.int64)
        return RowsListing([(members, first)], None, rows)

    def places(self, number: int) -> Sequence[Place]:
        archive, inner, _ = self._places[number]
        return ((archive, inner),)

    def find_anywhere(self, name: bytes) -> int | None:
        return None

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        if (archive, inner) not in {place[:2] for place in self._places}:
            return None
        name = self._index.container(archive, inner).members.name(row)
        for number, place in enumerate(self._places):
            is_there = place[:2] == (archive, inner)
            if is_there and (not place.below or name.startswith(place.below + b"/")):
                return number
        return None

    def class_of_name(self, name: bytes) -> int | None:
        wnid = name.partition(b"_")[0]
        if WNID.fullmatch(wnid):
            return next((k for k, known in enumerate(self.classes) if known == wnid), None)
        every = range(len(self.classes))
        return next((k for k in every if self.listing(k).find(name) is not None), None)

    def mtime_ns(self, number: int) -> int | None:
        archive, inner, below = self._places[number]
        members = self._index.container(archive, inner).members
        row = members.find(below) if below else -1
        return members.mtime_ns(row) if row >= 0 else None

    def problems(self) -> Sequence[str]:
        found: list[str] = []
        for archive, inner in dict.fromkeys(place[:2] for place in self._places):
            try:
                found += troubles(self._index, (archive, inner))
            except ImagenetfsError as error:
                found.append(str(error))
        return found


def _images(members: Table, below: bytes) -> tuple[list[int], list[int]]:
    """The rows of the images in a directory, and of those in directories below it."""
    own, deeper = list[int](), list[int]()
    directory = members.find(below)
    level = below.count(b"/") + 1
    for row in members.within(directory):
        name = members.name(row)
        if stat.S_ISREG(members.mode(row)) and is_image(name.rpartition(b"/")[2]):
            (own if name.count(b"/") == level else deeper).append(row)
    return own, deeper


def _by_base_name(members: Table, rows: Sequence[int]) -> list[int]:
    """Rows in the order of their base names, each name once: the last."""
    last = {members.name(row).rpartition(b"/")[2]: row for row in rows}
    return [last[name] for name in sorted(last)]
