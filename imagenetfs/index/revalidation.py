"""Whether a file of the source still is what the tables of this mount were made from.

The table of an archive has its size and a checksum over headers sampled
across it (index.fingerprint).
"""

from __future__ import annotations

import stat
from typing import Any, Protocol

from imagenetfs.index.archives import OUTER, Archives, Kind
from imagenetfs.index.container import Container
from imagenetfs.index.fingerprint import sample_crc, tail_crc
from imagenetfs.source.file import SourceFile


class Tables(Protocol):
    """What is asked of the index: the tables that are there already."""

    archives: Archives

    def known(self, archive: int, inner: int = OUTER) -> bool:
        """Whether the container's table is there."""
        ...

    def container(self, archive: int, inner: int = OUTER) -> Container:
        """The container."""
        ...

    def meta(self, archive: int, inner: int = OUTER) -> dict[str, Any] | None:
        """What the container's block says of itself; None while there is none."""
        ...

    def inner_of_row(self, archive: int, row: int) -> int:
        """Which inner container a row of the archive's table is; OUTER if none."""
        ...


class Revalidator:
    """What a :class:`imagenetfs.source.source.Source` asks when a file has been opened anew."""

    def __init__(self, index: Tables) -> None:
        self._index = index

    def __call__(self, file: SourceFile) -> bool | None:
        """Whether the open file has what its table was made from; None while it has no table.

        Reads sixteen headers at most. Raises SourceReadError.
        """
        found = self._container(file.path)
        meta = self._index.meta(*found) if found is not None else None
        if meta is None or "sample" not in meta:
            return None
        if stat.S_ISDIR(file.mode) or file.size != meta["file"]:
            return False
        if "at" in meta:
            return bool(sample_crc(file.read, meta["at"]) == meta["sample"])
        return bool(tail_crc(file.read, file.size) == meta["sample"])

    def _container(self, path: bytes) -> tuple[int, int] | None:
        """(archive, inner) of the tar or npz at a path, as far as tables
        tell that are there already.
        """
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
