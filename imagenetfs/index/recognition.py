"""Whether a file of the source still is what the tables of this mount were made from.

The table of an archive has its size and a checksum over headers sampled across it (see index.identity). And the
header that stands before a member's data says whether it is that member's: looked at with its first bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagenetfs.errors import ArchiveError, SourceChangedError
from imagenetfs.formats.tar import MemberColumns, Walk
from imagenetfs.formats.tar_header import BLOCK, is_sound, name_of, number
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.identity import ReadAt, sample, tail
from imagenetfs.index.members import Members
from imagenetfs.index.names import harmless
from imagenetfs.index.table import Table
from imagenetfs.source.file import SourceFile

if TYPE_CHECKING:
    from imagenetfs.index.build import Container, Index

_NANOSECONDS = 1_000_000_000


class Recognition:
    """What a :class:`imagenetfs.source.directory.Source` asks when a file has been opened anew."""

    def __init__(self, index: Index) -> None:
        self._index = index

    def __call__(self, file: SourceFile) -> bool | None:
        """Whether the open file has what its table was made from; None while it has no table.

        Reads sixteen headers at most. Raises SourceReadError.
        """
        found = self._container(file.path)
        meta = self._index.meta(*found) if found is not None else None
        if meta is None or "sample" not in meta:
            return None
        if file.size != meta["file"]:
            return False
        if "at" in meta:
            return bool(sample(file.read, meta["at"]) == meta["sample"])
        return bool(tail(file.read, file.size) == meta["sample"])

    def _container(self, path: bytes) -> tuple[int, int] | None:
        """(archive, inner) of the tar or npz at a path, as far as tables tell that are there already."""
        archives = self._index.archives
        number = archives.number(path)
        if number is not None and archives[number].kind is not Kind.DIRECTORY:
            return number, OUTER
        directory, _, name = path.rpartition(b"/")
        number = archives.number(directory)
        if number is None or archives[number].kind is not Kind.DIRECTORY:
            return None
        if not self._index.known(number):
            return None
        row = self._index.container(number).members.find(name)
        inner = self._index.inner_of_row(number, row) if row >= 0 else OUTER
        return None if inner == OUTER else (number, inner)


def is_header_of(block: bytes, members: Members, row: int) -> bool:
    """Whether ``block``, the 512 bytes before a member's data, is a sound header with the very name and size of
    its row. Not so where the name was too long for it, or was cleaned: see :func:`stands_there`."""
    name = members.name(row)
    if not block.startswith(name) or block[len(name) : len(name) + 1] != b"\0":
        return False
    try:
        return int(block[124:135], 8) == members.size(row) and is_sound(block)
    except ValueError:
        return False


def stands_there(read_at: ReadAt, end: int, members: Members, row: int) -> bool:
    """Whether the parser finds a member where its row says: by all of its headers, read now.

    ``end``: where its container ends in the file, in bytes."""
    found = MemberColumns()
    header = members.header(row)
    try:
        Walk(read_at, end, found).until(header, header + 1)
        name = harmless(found.names[0])
    except (ArchiveError, IndexError):
        return False
    as_said = (found.offsets[0], found.sizes[0]) == (members.offset(row), members.size(row))
    return as_said and (name == members.name(row) or row in members.hard)


def check_header(block: bytes, container: Container, row: int) -> None:
    """See that ``block``, the 512 bytes before a member's data, is the header that its row was made from.

    For members whose data follow their header (all but sparse ones). Raises SourceChangedError.
    """
    members = container.members
    if resembles(block, members, row):
        return
    raise SourceChangedError(
        f"{os.fsdecode(container.extent.path)} has something else where "
        f"{os.fsdecode(members.name(row))} was when it was indexed; unmount and mount again."
    )


def resembles(block: bytes, members: Table, row: int) -> bool:
    """Whether the block is a sound header with two of a member's name, size and time: each may be overridden by
    extended headers."""
    row = members.owner(row)  # a hard link's data stand behind the header of what it is linked to
    if len(block) != BLOCK or not is_sound(block):
        return False
    holds = (
        _last_part(name_of(block)) == _last_part(members.name(row)),
        _number(block[124:136]) == members.size(row),
        _number(block[136:148]) == members.mtime_ns(row) // _NANOSECONDS,
    )
    return sum(holds) >= 2


def _last_part(name: bytes) -> bytes:
    """The name without its directories, which are cleaned when a table is made."""
    return name.rstrip(b"/").rpartition(b"/")[2]


def _number(field: bytes) -> int:
    try:
        return number(field)
    except ValueError:
        return -1
