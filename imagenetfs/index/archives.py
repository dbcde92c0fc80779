"""What the index can index, and the numbers by which the layers above name it.

An *archive* is an entry of the catalogue: a tar, a zip, an npz, or a directory of loose files. It
is a container of members; a member of it that is a container again (a tar or zip within a tar, zip
or directory, a directory within a directory) is an *inner* container, numbered in the order of the
outer table's names. An inner container that holds containers of classes is made an archive of its
own (:meth:`imagenetfs.index.index.Index.promote`), and so they are its inner ones: an archive's
path is then that of the file and the names of the members that lead to it, joined by NULs.

The catalogue's archives are known before the mount serves. Later ones are tars and zips
that a reader has come upon since: they get the next numbers in the order in which they are met, the
same in all processes of the mount.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, overload

from imagenetfs.index.arena import Arena
from imagenetfs.limits import MAX_ARCHIVES

log = logging.getLogger(__name__)

OUTER = -1
"""The inner number that means the archive itself."""


_TAR, _ZIP = b".tar", b".zip"


def is_archive_name(path: bytes) -> bool:
    """Whether a file is taken for a tar or a zip; a hidden one (``._x.tar`` of a Mac) is a file."""
    return path[-4:].lower() in (_TAR, _ZIP) and not path.rpartition(b"/")[2].startswith(b".")


def archive_stem(name: bytes) -> bytes:
    """A name without what says that it is a tar or a zip."""
    return name[:-4] if name[-4:].lower() in (_TAR, _ZIP) else name


def is_tar_name(name: bytes) -> bool:
    """Whether a name ends as a tar's does."""
    return name[-4:].lower() == _TAR


def tar_stem(name: bytes) -> bytes:
    """A name without what says that it is a tar."""
    return name[:-4] if is_tar_name(name) else name


def kind_of_name(path: bytes) -> Kind:
    """What a tar or zip is that was come upon by its name."""
    return Kind.ZIP if path[-4:].lower() == _ZIP else Kind.TAR


class Kind(Enum):
    """How the bytes of an archive's members are reached."""

    TAR = "tar"
    ZIP = "zip"
    NPZ = "npz"
    DIRECTORY = "directory"


class Archive(NamedTuple):
    """One archive of the catalogue; ``number`` is its position there, ``path`` relative to the
    source, with the names of the members behind NULs where it lies within another one.

    A tuple, for winter21 has 19,167 of them, which are made at each mount.
    """

    number: int
    path: bytes
    kind: Kind

    @property
    def file(self) -> bytes:
        """The path of the file in the source that it is, or lies in."""
        return self.path.partition(b"\0")[0]

    @property
    def depth(self) -> int:
        """How many archives it lies in."""
        return self.path.count(b"\0")


@dataclass(frozen=True, slots=True)
class Extent:
    """Where a container's bytes lie: [start, end) of the file at ``path``;
    for a directory its path.

    ``is_part``: the file is another archive, of which this is the member ``name``. Where it has
    holes that the other archive does not store, ``runs`` are its (logical offset, length) of data,
    which stand back to back in [start, end), and ``size`` is its length with them.
    """

    path: bytes
    start: int
    end: int
    kind: Kind
    is_part: bool = False
    name: bytes = b""
    runs: tuple[tuple[int, int], ...] | None = None
    size: int = 0

    @property
    def title(self) -> str:
        """How people know it."""
        return os.fsdecode(self.path + b": " + self.name if self.name else self.path)


def within(path: bytes, name: bytes) -> bytes:
    """The path of an archive that is the member ``name`` of another one."""
    return path + b"\0" + name


def container_key(path: bytes, inner: bytes = b"") -> bytes:
    """The name of a container in an index file."""
    return path + b"\0" + inner


class Archives(Sequence[Archive]):
    """All archives by number: those of the catalogue, and those that were added since."""

    def __init__(self, known: Sequence[Archive], arena: Arena, most: int = MAX_ARCHIVES) -> None:
        """``arena``: made for so many as there are in ``known``; ``most``:
        there are no more numbers.
        """
        self._arena = arena
        self._most = most
        self._known = list(known)
        self._later: dict[int, Archive] = {}
        self._numbers = {archive.path: archive.number for archive in known}
        self._seen = 0

    def __len__(self) -> int:
        return len(self._known) + self._arena.later

    @overload
    def __getitem__(self, number: int) -> Archive: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Archive]: ...

    def __getitem__(self, number: int | slice) -> Archive | Sequence[Archive]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        if number < len(self._known):
            return self._known[number]
        if number not in self._later:
            self._catch_up()
        try:
            return self._later[number]
        except KeyError:
            raise IndexError(number) from None

    def _catch_up(self) -> None:
        """See what other processes have added. Threads may do so side by side."""
        there = self._arena.later
        for later in range(self._seen, there):
            number, path = len(self._known) + later, self._arena.later_name(later)
            self._later[number] = Archive(number, path, kind_of_name(path))
            self._numbers[path] = number
        self._seen = max(self._seen, there)

    def number(self, path: bytes) -> int | None:
        """The number of the archive at a path, if it has one."""
        found = self._numbers.get(path)
        if found is None:
            self._catch_up()
            found = self._numbers.get(path)
        return found

    def add(self, path: bytes) -> int | None:
        """The number of the tar or zip at a path, maybe a new one; None where all are used.

        Raises NoSpaceError.
        """
        found = self.number(path)
        if found is not None:
            return found
        with self._arena.adding() as add:
            found = self.number(path)
            if found is None and len(self) < self._most:
                add(path)
                found = self.number(path)
                if len(self) == self._most:
                    log.warning(
                        "%d archives are all that a mount has numbers for: more are shown "
                        "as files in archives/",
                        self._most,
                    )
        return found
