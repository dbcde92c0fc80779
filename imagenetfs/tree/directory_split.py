"""Splits whose classes are directories within larger containers: class directories in a tar, or a
level deeper than directories are containers of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.index import Index
from imagenetfs.tree.class_listing import (
    Place,
    container_listing,
    count_unlisted,
    directory_listing,
)
from imagenetfs.tree.class_places import ClassPlace
from imagenetfs.tree.left_out import LeftOut
from imagenetfs.tree.listing import Listing
from imagenetfs.tree.split_backend import (
    class_by_name,
    doubts,
    log_warning,
    refuse_empty,
    troubles,
)


class DirectorySplit:
    """One directory of a container a class, as a
    :class:`imagenetfs.tree.split_backend.SplitBackend`.

    Its images are those of :mod:`imagenetfs.tree.class_listing`. ``tell`` hears what of its
    containers is broken or not shown.
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
        self._left_out = LeftOut()
        self._counted: set[int] = set()

    def listing(self, number: int) -> Listing:
        archive, inner, below = self._places[number]
        place, left_out = (archive, inner), LeftOut()
        for sentence in (*troubles(self._index, place), *doubts(self._index, (place,))):
            self._tell(sentence)
        if below:
            listing: Listing = directory_listing(self._index, place, below, left_out)
            if number not in self._counted:
                count_unlisted(self._index, place, left_out, below)
        else:
            listing = container_listing(self._index, place, left_out)
        if number not in self._counted:
            self._counted.add(number)
            self._left_out.add_all(left_out)
        refuse_empty(self._index, self.classes[number], listing, (place,))
        return listing

    def places(self, number: int) -> Sequence[Place]:
        archive, inner, _ = self._places[number]
        return ((archive, inner),)

    def class_places(self) -> Sequence[ClassPlace]:
        """Where the classes stand."""
        return self._places

    def directories(self, archive: int) -> Sequence[bytes]:
        return [place.below for place in self._places if place.archive == archive]

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
        return class_by_name(self, name)

    def mtime_ns(self, number: int) -> int | None:
        archive, inner, below = self._places[number]
        members = self._index.container(archive, inner).members
        row = members.find(below) if below else -1
        return members.mtime_ns(row) if row >= 0 else None

    def left_out(self) -> LeftOut:
        return self._left_out

    def problems(self) -> Sequence[str]:
        found: list[str] = []
        for archive, inner in dict.fromkeys(place[:2] for place in self._places):
            try:
                found += troubles(self._index, (archive, inner))
            except ImagenetfsError as error:
                found.append(str(error))
        return found

    def doubts(self) -> Sequence[str]:
        return doubts(self._index, (place[:2] for place in self._places))
