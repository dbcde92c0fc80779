"""Whether a file of the source still is what the tables of this mount were made from.

The table of an archive has its size and a checksum over headers sampled across it (see index.identity). And the
header that stands before a member's data says whether it is that member's: looked at with its first bytes.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from imagenetfs.errors import SourceChangedError
from imagenetfs.formats.tar_header import BLOCK, is_sound, name_of, number
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.identity import sample, tail
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


def check_header(block: bytes, container: Container, row: int) -> None:
    """See that ``block``, the 512 bytes before a member's data, is the header that its row was made from.

    For members whose data follow their header (all but sparse ones). Name, size and time may each be
    overridden by extended headers, so two of the three must hold. Raises SourceChangedError.
    """
    members = container.members
    row = members.owner(row)  # a hard link's data stand behind the header of what it is linked to
    if len(block) == BLOCK and is_sound(block):
        holds = (
            _last_part(name_of(block)) == _last_part(members.name(row)),
            _number(block[124:136]) == members.size(row),
            _number(block[136:148]) == members.mtime_ns(row) // _NANOSECONDS,
        )
        if sum(holds) >= 2:
            return
    raise SourceChangedError(
        f"{os.fsdecode(container.extent.path)} has something else where "
        f"{os.fsdecode(members.name(row))} was when it was indexed; unmount and mount again."
    )


def _last_part(name: bytes) -> bytes:
    """The name without its directories, which are cleaned when a table is made."""
    return name.rstrip(b"/").rpartition(b"/")[2]


def _number(field: bytes) -> int:
    try:
        return number(field)
    except ValueError:
        return -1
