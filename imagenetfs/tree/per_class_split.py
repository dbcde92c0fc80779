"""Splits of one container a class, tars or directories, and what takes the place of broken ones."""

from __future__ import annotations

import mmap
import os
from collections.abc import Callable, Mapping, Sequence

from imagenetfs.errors import ArchiveError, ImagenetfsError, SourceUnreadableError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.index import Index
from imagenetfs.tree.class_listing import Place, container_listing
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


class PerClassSplit:
    """One container a class: the tars of a tar of tars, tars or directories side by side.

    Those of ``instead`` take the place of broken ones, and of tars of their own that
    may not be read. ``tell`` hears of it when such a class is first listed.
    """

    def __init__(
        self,
        index: Index,
        places: Mapping[bytes, Place],
        instead: Callable[[], Mapping[bytes, Place]] = dict,
        *,
        tell: Callable[[str], None] = log_warning,
    ) -> None:
        self._index = index
        self.classes: Sequence[bytes] = sorted(places)
        self._places = [places[name] for name in self.classes]
        self.archives = tuple(dict.fromkeys(archive for archive, _ in self._places))
        self._make_instead = instead
        self._instead: Mapping[bytes, Place] | None = None
        # A byte a class, in memory that forked processes share: they all show the same container.
        self._replaced = mmap.mmap(-1, max(1, len(places)))
        self._tell = tell
        self._left_out = LeftOut()
        self._counted: set[int] = set()
        self._numbers: dict[Place, int] | None = None

    def _replacements(self) -> Mapping[bytes, Place]:
        if self._instead is None:
            self._instead = self._make_instead()
        return self._instead

    def listing(self, number: int) -> Listing:
        place, problem = self._shown(number), None
        if not self._replaced[number]:
            place, problem = self._judge(number)
        left_out = LeftOut()
        listing = container_listing(self._index, place, left_out)
        if left_out and number not in self._counted:
            self._counted.add(number)
            self._left_out.add_all(left_out)
        if problem is not None:
            self._replaced[number] = place != self._places[number]
            self._tell(problem)
        for sentence in (*self._not_shown(place), *doubts(self._index, (place,))):
            self._tell(sentence)
        refuse_empty(self._index, self.classes[number], listing, (place,))
        return listing

    def _not_shown(self, place: Place) -> list[str]:
        """Which sound members of a container are not shown, in a sentence."""
        members = self._index.container(*place).members
        return troubles(self._index, place) if members.problem is None else []

    def _shown(self, number: int) -> Place:
        """The container that a class is shown from, as far as it has been shown."""
        if self._replaced[number]:
            return self._replacements()[self.classes[number]]
        return self._places[number]

    def places(self, number: int) -> Sequence[Place]:
        return (self._shown(number),)

    def class_places(self) -> Sequence[ClassPlace]:
        """Where the classes stand, each a container."""
        return [ClassPlace(archive, inner) for archive, inner in self._places]

    def directories(self, archive: int) -> Sequence[bytes]:
        return (b"",)

    def find_anywhere(self, name: bytes) -> int | None:
        return None

    def class_of(self, archive: int, inner: int, row: int) -> int | None:
        if self._numbers is None:
            known = {name: number for number, name in enumerate(self.classes)}
            pairs = self._replacements().items()
            self._numbers = {place: known[name] for name, place in pairs if name in known}
            self._numbers.update({place: number for number, place in enumerate(self._places)})
        number = self._numbers.get((archive, inner))
        # A directory within a class directory that is an archive of its own belongs to the class.
        return self._numbers.get((archive, OUTER)) if number is None else number

    def class_of_name(self, name: bytes) -> int | None:
        return class_by_name(self, name)

    def mtime_ns(self, number: int) -> int | None:
        archive, inner = self._places[number]
        if inner == OUTER:
            return None
        row = int(self._index.nested(archive)[inner])
        return self._index.container(archive).members.mtime_ns(row)

    def left_out(self) -> LeftOut:
        return self._left_out

    def problems(self) -> Sequence[str]:
        found: list[str] = []
        for archive in dict.fromkeys(archive for archive, inner in self._places if inner != OUTER):
            found += troubles(self._index, (archive, OUTER))
        for number in range(len(self.classes)):
            try:
                place, problem = self._judge(number)
                found += self._not_shown(place)
            except ImagenetfsError as error:
                problem = str(error)
            if problem is not None:
                found.append(problem)
        return found

    def doubts(self) -> Sequence[str]:
        return doubts(self._index, map(self._shown, range(len(self.classes))))

    def _judge(self, number: int) -> tuple[Place, str | None]:
        """The container to show a class from, and what is wrong with its own, in a sentence."""
        place = self._places[number]
        try:
            problem = self._index.container(*place).members.problem
        except ArchiveError as error:
            problem = str(error)
        except SourceUnreadableError as error:
            instead = self._replacement(number) if place[1] == OUTER else None
            if instead is None:
                raise
            name = self._index.title(*place)
            return instead, f"{name}: {error} So {self._name(instead)} takes its place."
        if problem is None:
            return place, None
        broken = f"{self._index.title(*place)} is broken: {problem}"
        instead = self._replacement(number)
        if instead is None:
            return place, f"{broken}; have it replaced."
        return instead, f"{broken}. So {self._name(instead)} takes its place; have it replaced."

    def _replacement(self, number: int) -> Place | None:
        """What takes the place of a class's own container: if it is sound, and not empty."""
        place = self._replacements().get(self.classes[number])
        if place is None or place == self._places[number]:
            return None
        try:
            members = self._index.container(*place).members
        except (ArchiveError, SourceUnreadableError):
            return None
        return place if len(members) and members.problem is None else None

    def _name(self, place: Place) -> str:
        extent = self._index.extent(*place)
        if extent.kind is Kind.DIRECTORY:
            return f"the directory {os.fsdecode(extent.path)}"
        return self._index.title(*place)
