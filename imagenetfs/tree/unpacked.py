"""The source's names with its zips as if they had been unpacked where they stand, and with the tars
that hold a version's directory.

So that one set of rules knows a layout, whether it is there as a tree or zipped. A zip that holds
one directory, or one that is called as a version or the level above one, has these directories
beside it (``tiny-imagenet-200.zip``: ``tiny-imagenet-200/``), as ``unzip`` leaves them. The content
of any other is below a directory of its name (``imagenette.zip`` with ``train/`` and ``val/``).
Where a name is there already, as a directory or from another zip, that one counts.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from imagenetfs.errors import NoEntryError
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.contents import whole_content
from imagenetfs.index.index import Index
from imagenetfs.index.table import Table
from imagenetfs.index.table_builder import join_path

_ENDING = re.compile(rb"\.(zip|tar)([._?-].*| ?\(\d+\))?\Z", re.IGNORECASE | re.DOTALL)
"""What says that a file is a zip or a tar, and what download programs put behind it."""

_MOST_BYTES = 1 << 28
"""Of a list of labels or words."""


class DirectoryPlace(NamedTuple):
    """Where a directory stands: in this container, ``below`` it (b"": all of it)."""

    archive: int
    inner: int = OUTER
    below: bytes = b""


@dataclass(frozen=True, slots=True)
class UnpackedZip:
    """A zip whose names are those ``below`` a directory: all of them where ``tops`` is None, else
    what begins with one of these.
    """

    number: int
    below: bytes
    tops: frozenset[bytes] | None = None

    def within(self, path: bytes) -> bytes | None:
        """The path in the zip of a path in the source; None where that is not in it."""
        if self.tops is None and path == self.below:
            return b""
        if self.below and not path.startswith(self.below + b"/"):
            return None
        rest = path[len(self.below) + bool(self.below) :]
        return rest if self.tops is None or rest.partition(b"/")[0] in self.tops else None


class UnpackedSource:
    """What the layouts ask of a source, by path."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._source = index.source
        self.zips: list[UnpackedZip] = []

    @property
    def path(self) -> Path:
        """Where the source stands."""
        return self._source.path

    def _find(self, path: bytes) -> tuple[int, Table, int] | None:
        """(number of the zip, its table, row) of a path in a zip; row -1 is the zip's root."""
        for one in self.zips:
            below = one.within(path)
            if below is not None:
                members = self._index.container(one.number).members
                row = members.find(below) if below else -1
                if row >= 0 or not below:
                    return one.number, members, row
        return None

    def names(self, path: bytes) -> list[tuple[bytes, bool]]:
        """The names in a directory, and whether they are directories. Raises what a source does."""
        found = self._find(path)
        if found is None:
            return self._source.names(path)
        _, members, row = found
        return sorted(_entries(members, row))

    def has_entries(self, path: bytes) -> bool:
        """Whether there is anything in a directory."""
        found = self._find(path)
        if found is None:
            return self._source.has_entries(path)
        return any(True for _ in found[1].children(found[2]))

    def read_whole(self, path: bytes) -> bytes:
        """A small file's content. Raises ArchiveError and the source's errors."""
        found = self._find(path)
        if found is None:
            return self._source.read_whole(path)
        number, members, row = found
        if row < 0 or not stat.S_ISREG(members.mode(row)):
            raise NoEntryError(f"{os.fsdecode(path)} is no file.")
        container = self._index.container(number)
        with self._source.opened(container.extent.path) as file:
            return whole_content(file, container, row, _MOST_BYTES)

    def directory(self, path: bytes) -> DirectoryPlace | None:
        """Where a directory in a zip stands; None for one that is in no zip."""
        found = self._find(path)
        if found is None:
            return None
        number, members, row = found
        if row >= 0 and not stat.S_ISDIR(members.mode(row)):
            return None
        return DirectoryPlace(number, OUTER, members.name(row) if row >= 0 else b"")

    def container(self, path: bytes) -> DirectoryPlace | None:
        """Where a tar or zip in a zip stands that is a container itself; None for other paths."""
        found = self._find(path)
        if found is None or found[2] < 0:
            return None
        inner = self._index.inner_of_row(found[0], found[2])
        return DirectoryPlace(found[0], inner) if inner != OUTER else None

    def has(self, number: int) -> bool:
        """Whether an archive is shown so."""
        return any(one.number == number for one in self.zips)

    def path_of(self, place: DirectoryPlace) -> bytes:
        """The path of a place, as :meth:`names` takes it."""
        for one in self.zips:
            if one.number == place.archive:
                return join_path(one.below, place.below)
        return self._index.extent(place.archive, place.inner).path

    def file_of(self, path: bytes) -> bytes:
        """The path of the file that a path is read from: the zip's, or its own."""
        found = self._find(path)
        return path if found is None else self._index.archives[found[0]].path

    def title(self, place: DirectoryPlace) -> str:
        """How people know a place."""
        title = self._index.title(place.archive, place.inner)
        if self._index.archives[place.archive].kind is not Kind.DIRECTORY and place.below:
            title = f"{title}: {os.fsdecode(place.below)}"
        return title or str(self.path)


def _entries(members: Table, row: int) -> Iterator[tuple[bytes, bool]]:
    for child in members.children(row):
        yield members.base_name(child), stat.S_ISDIR(members.mode(child))


def stem_of(path: bytes) -> bytes:
    """The directory that a zip's content is below, where it has none of its own."""
    directory, _, name = path.rpartition(b"/")
    return join_path(directory, _ENDING.sub(b"", name) or name)
