"""Where the images of a split stand: by class tar, by class directory, or flat with labels.

A shelf answers with a :class:`~imagenetfs.tree.listing.Listing` a class, from member tables that the index
makes when they are first asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.build import Index
from imagenetfs.index.members import Members
from imagenetfs.tree.inode import InodeKind, base
from imagenetfs.tree.listing import FlatListing, Listing, RowsListing

UNLABELED = b"unlabeled"

WNID = re.compile(rb"n\d{8}")
_NUMBER = re.compile(rb"_(\d{8})\.[A-Za-z]+$")


class Shelf(Protocol):
    """The images of one split."""

    @property
    def classes(self) -> Sequence[bytes]:
        """Class names, sorted: wnids, or ``unlabeled``."""
        ...

    @property
    def archives(self) -> Sequence[int]:
        """The archives of the catalogue that it reads."""
        ...

    def listing(self, number: int) -> Listing:
        """The images of class ``number``."""
        ...

    def find_anywhere(self, name: bytes) -> int | None:
        """The inode of an image by name alone, where names are unique; else None."""
        ...

    def mtime_ns(self, number: int) -> int | None:
        """When the class's archive was made, where its archive tells."""
        ...


def container_listing(index: Index, archive: int, inner: int) -> Listing:
    """All regular files of a container by their base names; the last of a name counts."""
    container = index.container(archive, inner)
    first = base(InodeKind.FILE, archive, inner)
    if FlatListing.fits(container.members):
        return FlatListing(container, first)
    return _by_base_name([(container.members, first)])


def _by_base_name(tables: Sequence[tuple[Members, int]]) -> RowsListing:
    """The regular files of all tables; a later table's file replaces an earlier one's of that name."""
    last: dict[bytes, tuple[int, int]] = {}
    for which, (members, _) in enumerate(tables):
        for row in members.regular().tolist():
            last[members.name(row).rpartition(b"/")[2]] = (which, row)
    chosen = np.array([last[name] for name in sorted(last)], dtype=np.int64).reshape(-1, 2)
    return RowsListing(tables, chosen[:, 0].astype(np.uint8), chosen[:, 1])


class ClassContainers:
    """One container a class: a tar of class tars, or a directory of class directories.

    ``fallback`` is an archive of the same shape whose containers take the place of broken ones.
    """

    def __init__(self, index: Index, archive: int, fallback: int | None = None) -> None:
        self._index = index
        self._archive = archive
        self.archives = (archive,)
        self._fallback = fallback
        found = dict(_class_containers(index, archive))
        self.classes: Sequence[bytes] = sorted(found)
        self._inner = [found[name] for name in self.classes]

    def listing(self, number: int) -> Listing:
        archive, inner = self._archive, self._inner[number]
        if self._fallback is not None:
            try:
                broken = self._index.container(archive, inner).members.problem is not None
            except ArchiveError:
                broken = True
            instead = dict(_class_containers(self._index, self._fallback)) if broken else {}
            if self.classes[number] in instead:
                archive, inner = self._fallback, instead[self.classes[number]]
        return container_listing(self._index, archive, inner)

    def find_anywhere(self, name: bytes) -> int | None:
        return None

    def mtime_ns(self, number: int) -> int | None:
        row = int(self._index.nested(self._archive)[self._inner[number]])
        return self._index.container(self._archive).members.mtime_ns(row)


def _class_containers(index: Index, archive: int) -> Iterator[tuple[bytes, int]]:
    """(wnid, inner number) of all class containers in an archive."""
    members = index.container(archive).members
    for inner, row in enumerate(index.nested(archive).tolist()):
        name = members.name(row).rpartition(b"/")[2].removesuffix(b".tar")
        if WNID.fullmatch(name):
            yield name, inner


class FlatImages:
    """All images in one container, or in several laid over one another, told apart by a label.

    ``label(name)`` gives the class of a base name, or None.
    """

    def __init__(
        self,
        index: Index,
        containers: Sequence[tuple[int, int]],
        classes: Sequence[bytes] = (UNLABELED,),
        label: Callable[[bytes], bytes | None] | None = None,
    ) -> None:
        self._index = index
        self._containers = containers
        self.archives = tuple(dict.fromkeys(archive for archive, _ in containers))
        self.classes = sorted(classes)
        self._label = label
        self._every: RowsListing | None = None
        self._by_class: list[Listing] | None = None

    def _all(self) -> RowsListing:
        if self._every is None:
            tables = [
                (
                    self._index.container(archive, inner).members,
                    base(InodeKind.FILE, archive, inner),
                )
                for archive, inner in self._containers
            ]
            self._every = _by_base_name(tables)
        return self._every

    def listing(self, number: int) -> Listing:
        if self._label is None:
            return self._all()
        if self._by_class is None:
            self._by_class = self._divide(self._label)
        return self._by_class[number]

    def _divide(self, label: Callable[[bytes], bytes | None]) -> list[Listing]:
        every = self._all()
        numbers = {name: number for number, name in enumerate(self.classes)}
        other = numbers.get(UNLABELED, -1)
        of_class = np.array(
            [numbers.get(label(every.name(at)) or UNLABELED, other) for at in range(len(every))],
            dtype=np.int64,
        )
        order = np.argsort(of_class, kind="stable")
        ends = np.searchsorted(of_class[order], np.arange(len(self.classes) + 1))
        return [every.part(np.sort(order[ends[k] : ends[k + 1]])) for k in range(len(self.classes))]

    def find_anywhere(self, name: bytes) -> int | None:
        return self._all().find(name)

    def mtime_ns(self, number: int) -> int | None:
        return None


def flat_containers(index: Index, archive: int) -> list[tuple[int, int]]:
    """The container(s) of a flat archive: a tar itself, unread; a directory and those within it."""
    found = [(archive, OUTER)]
    if index.archives[archive].kind is Kind.DIRECTORY:
        found += [(archive, inner) for inner in range(len(index.nested(archive)))]
    return found


def image_number(name: bytes) -> int:
    """The eight-digit number at the end of ILSVRC2012_val_00000001.JPEG; 0 where there is none."""
    found = _NUMBER.search(name)
    return int(found[1]) if found else 0
