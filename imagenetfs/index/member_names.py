"""The names of a member table: their columns, and the tree of directories that they form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import Array


class MemberNames:
    """The part of :class:`imagenetfs.index.member_table.MemberTable` that finds rows by name.

    A base class, not an attribute: a process may hold tens of thousands, and a listing asks each
    for all of its names.
    """

    __slots__ = ("_below", "_ends", "_names", "_parents", "_prefix", "_suffix", "rows")

    def _take_names(self, columns: dict[str, memoryview], meta: dict[str, Any]) -> None:
        self.rows: int = meta["rows"]
        self._prefix = bytes.fromhex(meta["prefix"])
        self._suffix = bytes.fromhex(meta["suffix"])
        self._names = columns["names"]
        self._ends = columns["ends"]
        self._below = columns.get("below")
        self._parents = columns.get("parents")
        if self._below is not None and self._parents is not None:
            self._check_tree(np.asarray(self._below), np.asarray(self._parents))
        elif self._below is not self._parents:
            raise ArchiveError("a block of the index is damaged (half a tree)")

    def _check_tree(self, below: Array, parents: Array) -> None:
        """A walk up or down the directories must arrive."""
        rows = np.arange(self.rows)
        if (below <= rows).any() or (below > self.rows).any() or (parents > rows).any():
            raise ArchiveError("a block of the index is damaged (rows out of order)")

    def __len__(self) -> int:
        return self.rows

    @property
    def flat(self) -> bool:
        """Whether there is no directory and no path in it: the shape of ImageNet's tars."""
        return self._below is None

    def base_name(self, row: int) -> bytes:
        """The last part of the name."""
        start = self._ends[row - 1] if row else 0
        return self._prefix + self._names[start : self._ends[row]].tobytes() + self._suffix

    def name(self, row: int) -> bytes:
        """The full name, relative, parts separated by ``/``."""
        parents = self._parents
        if parents is None or not parents[row]:
            return self.base_name(row)
        parts = [self.base_name(row)]
        while row := parents[row]:
            row -= 1
            parts.append(self.base_name(row))
        return b"/".join(reversed(parts))

    def below(self, row: int) -> int:
        """The row behind the last one that lies below ``row``."""
        value: int = self._below[row] if self._below is not None else row + 1
        return value

    def find(self, name: bytes) -> int:
        """The row of a full name, or -1."""
        if self._parents is None:
            return self.child(-1, name)
        row = -1
        for part in name.split(b"/"):
            row = self.child(row, part)
            if row < 0:
                return -1
        return row

    def child(self, row: int, name: bytes) -> int:
        """The row of a name directly within the directory at ``row`` (-1: the container itself), or
        -1."""
        parents = self._parents
        low, high = row + 1, self.rows if row < 0 else self.below(row)
        while low < high:
            at = (low + high) // 2
            if parents is not None:
                while parents[at] - 1 > row:  # up to what lies directly in the directory
                    at = parents[at] - 1
                if at < low:  # the search would go in circles
                    raise ArchiveError("a block of the index is damaged (rows out of order)")
            found = self.base_name(at)
            if found == name:
                return at
            if found < name:
                low = self.below(at)
            else:
                high = at
        return -1

    def names(self) -> Iterator[bytes]:
        """All full names in order; cheaper than :meth:`name` row by row."""
        blob, prefix, suffix, start = self._names.tobytes(), self._prefix, self._suffix, 0
        around: list[bytes] = [b""]  # what stands before the names at each depth
        until = [self.rows]
        for row, end in enumerate(self._ends.tolist()):
            while row >= until[-1]:
                until.pop()
                around.pop()
            name = around[-1] + prefix + blob[start:end] + suffix
            yield name
            start = end
            if self._below is not None and self._below[row] > row + 1:
                until.append(self._below[row])
                around.append(name + b"/")

    def name_parts(self, start: int, stop: int) -> tuple[bytes, Array, Array, bytes]:
        """The last parts of the names of rows [start, stop): what all begin with, the middle parts
        back to back (u1), where each of these ends, what all end with."""
        first = self._ends[start - 1] if start else 0
        ends = np.asarray(self._ends[start:stop]).astype(np.int64) - first
        middles = np.asarray(self._names[first : first + (int(ends[-1]) if len(ends) else 0)])
        return self._prefix, middles, ends, self._suffix

    def children(self, row: int = -1) -> Iterator[int]:
        """The rows directly within the directory at ``row`` (-1: the container itself)."""
        at, end = (0, self.rows) if row < 0 else (row + 1, self.below(row))
        while at < end:
            yield at
            at = self.below(at)

    def within(self, row: int) -> range:
        """The rows below the directory at ``row``, at whatever depth."""
        return range(row + 1, self.below(row))
