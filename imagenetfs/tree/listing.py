"""What a directory shows: sorted entries, found by position or by name.

An entry is ``(name, inode, attributes)``; attributes are ``(st_mode, size in bytes,
mtime in ns, st_nlink)``.
"""

from __future__ import annotations

import stat
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple, Protocol, TypeGuard

import numpy as np

from imagenetfs.index.columns import Array
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table import Table
from imagenetfs.tree.images import has_images_alone, is_image_name


class Attributes(NamedTuple):
    """The part of stat that the tree knows."""

    mode: int
    size: int
    mtime_ns: int
    nlink: int


Entry = tuple[bytes, int, Attributes]


class Columns(NamedTuple):
    """Some entries of a directory, column by column.

    Entry i's name is ``prefix`` + the bytes of ``middles`` (u1) up to ``ends[i]`` + ``suffix``.
    ``inodes`` u8, ``sizes`` in bytes, ``mtimes_ns``: one value an entry; ``modes``, ``nlinks`` and
    ``keep`` (whether what is said of an entry may be kept): that, or one for all.
    """

    prefix: bytes
    middles: Array
    ends: Array
    suffix: bytes
    inodes: Array
    sizes: Array
    mtimes_ns: Array
    modes: Array | int
    nlinks: Array | int
    keep: Array | bool = True


def columns_of(entries: Iterable[Entry]) -> Columns:
    """The same entries, column by column."""
    some = list(entries)
    names = [name for name, _, _ in some]
    attributes = np.array([what for _, _, what in some], dtype=np.int64).reshape(-1, 4)
    return Columns(
        b"",
        np.frombuffer(b"".join(names), dtype=np.uint8),
        np.cumsum([len(name) for name in names], dtype=np.int64),
        b"",
        np.array([number for _, number, _ in some], dtype=np.uint64),
        attributes[:, 1],
        attributes[:, 2],
        attributes[:, 0],
        attributes[:, 3],
    )


DIRECTORY_MODE = stat.S_IFDIR | 0o755
"""The owner may write, as the mode says, so that copies can be filled and deleted: cp, rsync and
shutil give a copied directory the mode of its original. Nothing can be written here (EROFS)."""

FILE_MODE = stat.S_IFREG | 0o444

_WINDOW = 1024

UNCOUNTED = 1
"""st_nlink of a directory whose subdirectories are not counted; find(1) and others know it."""


class Listing(Protocol):
    """The entries of one directory, in the order of their names."""

    def __len__(self) -> int: ...

    def entries(self, start: int) -> Iterator[Entry]:
        """The entries from position ``start`` on."""
        ...

    def columns(self, start: int, stop: int) -> Columns:
        """The entries of positions [start, stop), as far as there are any."""
        ...

    def sizes(self) -> Array:
        """Bytes of each entry: less work than all columns."""
        ...

    def find(self, name: bytes) -> int | None:
        """The inode of a name, or None."""
        ...


class RowwiseListing:
    """The columns of a listing that knows its entries one by one."""

    __slots__ = ()

    def entries(self, start: int) -> Iterator[Entry]:
        """The entries from position ``start`` on."""
        raise NotImplementedError

    def columns(self, start: int, stop: int) -> Columns:
        """The entries of positions [start, stop), as far as there are any."""
        return columns_of(islice(self.entries(start), stop - start))

    def sizes(self) -> Array:
        """Bytes of each entry."""
        return np.array([what.size for _, _, what in self.entries(0)], dtype=np.int64)


def member_attributes(members: Table, row: int) -> Attributes:
    """Attributes of a member: the archive's own, but never writable and always readable."""
    mode = members.mode(row)
    execute = mode & 0o111
    # An image is no program, whatever mode its archive was packed with.
    if execute and stat.S_ISREG(mode) and is_image_name(members.name(row)):
        execute = 0
    shown = mode & ~0o7777 | execute | 0o444
    size = _member_size(members, row)
    return Attributes(shown, size, members.mtime_ns(row), members.links_to(row))


def _member_size(members: Table, row: int) -> int:
    return len(members.links[row]) if stat.S_ISLNK(members.mode(row)) else members.size(row)


def name_bytes(listing: Listing) -> int:
    """Bytes of all names of a listing together."""
    some = listing.columns(0, len(listing))
    return len(some.middles) + len(listing) * (len(some.prefix) + len(some.suffix))


class FlatListing:
    """All rows of a table without directories and with nothing but regular files."""

    __slots__ = ("_base", "_members")

    def __init__(self, members: MemberTable, base: int) -> None:
        self._members = members
        self._base = base

    @staticmethod
    def fits(members: Table) -> TypeGuard[MemberTable]:
        """Whether the table has that shape: plain names, all of them files, each its own, and
        shown with one mode: images are, whatever modes the archive gives them.
        """
        if not isinstance(members, MemberTable) or members.hard or not members.flat:
            return False
        if not len(members):
            return members.one_mode
        if len(members.regular()) < len(members):
            return False
        is_shown_alike = members.one_mode and not members.mode(0) & 0o111
        return is_shown_alike or has_images_alone(members)

    def __len__(self) -> int:
        return len(self._members)

    def entries(self, start: int) -> Iterator[Entry]:
        for low in range(start, len(self), _WINDOW):
            some = self.columns(low, low + _WINDOW)
            blob, at = some.middles.tobytes(), 0
            columns = (some.ends, some.inodes, some.sizes, some.mtimes_ns)
            for end, number, size, mtime_ns in zip(*(c.tolist() for c in columns), strict=True):
                name = some.prefix + blob[at:end] + some.suffix
                yield name, number, Attributes(FILE_MODE, size, mtime_ns, 1)
                at = end

    def columns(self, start: int, stop: int) -> Columns:
        members = self._members
        stop = min(stop, len(members))
        start = min(start, stop)
        return Columns(
            *members.name_parts(start, stop),
            inodes=np.arange(self._base + start, self._base + stop, dtype=np.uint64),
            sizes=members.sizes(start, stop),
            mtimes_ns=members.mtimes_ns(start, stop),
            modes=FILE_MODE,
            nlinks=1,
        )

    def sizes(self) -> Array:
        return self._members.sizes(0, len(self))

    def find(self, name: bytes) -> int | None:
        row = self._members.find(name)
        return None if row < 0 else self._base + row


class RowsListing(RowwiseListing):
    """Chosen rows of one or more tables, shown by their base names; ``which`` names the table."""

    __slots__ = ("_bases", "_members", "_rows", "_which")

    def __init__(
        self, tables: Sequence[tuple[Table, int]], which: Array | None, rows: Array
    ) -> None:
        """``tables``: (member table, inode of its row 0); ``rows`` are sorted by base name."""
        self._members = [members for members, _ in tables]
        self._bases = [base for _, base in tables]
        self._which = which
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def _at(self, position: int) -> tuple[Table, int, int]:
        table = int(self._which[position]) if self._which is not None else 0
        row = int(self._rows[position])
        members = self._members[table]
        return members, row, self._bases[table] + members.owner(row)

    def part(self, positions: Array) -> RowsListing:
        """Only the entries at ``positions``, which must ascend."""
        which = self._which[positions] if self._which is not None else None
        tables = list(zip(self._members, self._bases, strict=True))
        return RowsListing(tables, which, self._rows[positions])

    def name(self, position: int) -> bytes:
        """The base name at a position."""
        members, row, _ = self._at(position)
        return members.base_name(row)

    def entries(self, start: int) -> Iterator[Entry]:
        for position in range(start, len(self._rows)):
            members, row, number = self._at(position)
            name = members.base_name(row)
            yield name, number, member_attributes(members, row)

    def sizes(self) -> Array:
        members = (self._at(position)[:2] for position in range(len(self)))
        return np.array([_member_size(*member) for member in members], dtype=np.int64)

    def find(self, name: bytes) -> int | None:
        at = bisect_left(range(len(self)), name, key=self.name)
        return self._at(at)[2] if at < len(self) and self.name(at) == name else None


class FixedListing(RowwiseListing):
    """A few entries that are known beforehand."""

    __slots__ = ("_attributes", "_changes", "_names", "_numbers")

    def __init__(
        self,
        children: Sequence[tuple[bytes, int]],
        attributes: Callable[[int], Attributes],
        changes: Callable[[int], bool] = lambda number: False,
    ) -> None:
        """``changes(inode)``: whether what the listing says of an entry must not be kept."""
        ordered = sorted(children)
        self._names = [name for name, _ in ordered]
        self._numbers = [number for _, number in ordered]
        self._attributes = attributes
        self._changes = changes

    def __len__(self) -> int:
        return len(self._names)

    def columns(self, start: int, stop: int) -> Columns:
        keep = np.array(
            [not self._changes(number) for number in self._numbers[start:stop]], dtype=bool
        )
        return RowwiseListing.columns(self, start, stop)._replace(keep=keep)

    def entries(self, start: int) -> Iterator[Entry]:
        for name, number in zip(self._names[start:], self._numbers[start:], strict=True):
            yield name, number, self._attributes(number)

    def find(self, name: bytes) -> int | None:
        at = bisect_left(self._names, name)
        found = at < len(self._names) and self._names[at] == name
        return self._numbers[at] if found else None
