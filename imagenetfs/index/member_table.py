"""The member table of one container (a tar, a tar within a tar, a directory), mapped, not parsed.

Rows stand sorted by name, with ``/`` before every other byte, so that the entries below a directory
are contiguous. ImageNet's names cost 5 bytes a member, because a prefix and a suffix that all rows
share are kept once; offsets stand in units of 512 bytes; a column whose values are all alike is
left out. In all about 20 bytes a member (see docs/benchmarks.md).

Columns (all little-endian, see :mod:`imagenetfs.index.columns`):

==========  ===========================================================================
names       the middle parts of the names, one after the other (u1); where there are directories, of
            the last parts of the names alone
ends        where each of them ends in ``names``
offsets     data offset in the file; in 512-byte units where meta["unit"] is 512
sizes       bytes of content
mtimes      modification time less meta["mtime"], in meta["tick"] nanoseconds
modes       st_mode, unless all are meta["mode"]
headers     offset of the first header block, unless each is its data offset - 512
leads       of zips instead: how far before the data the header begins
sums        of zips: the content's CRC-32
packed      of zips: bytes that a deflated member takes, 0 for a stored one (where any is deflated)
unshown     names of members that are not shown, ``unshown_ends``: where each of them ends
replaced    names of files that a later one of the same name replaces, with ``replaced_ends``
linked      rows that are symbolic links, with their targets in ``link_ends``, ``link_names``; a
            row with the mode of a file or a directory is a link that is followed
hard        rows that are one file with others, ``hard_owners``: the row that stands for all
sparse      rows with holes, ``sparse_ends`` and pairs in ``sparse_starts``, ``sparse_lengths``
below       for directories: the row behind the last one below (only where there are any)
parents     the row of the directory around, + 1; 0 at the top (only where there are any
directories) nested      rows that are containers themselves (only where there are any)
==========  ===========================================================================
"""

from __future__ import annotations

import stat
from collections import Counter
from typing import Any

import numpy as np

from imagenetfs.byte_range import ByteRange
from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import Array, meta_of, unpack, views
from imagenetfs.index.member_names import MemberNames

_NONE: Array = np.zeros(0, dtype=np.int64)
_EMPTY: dict[int, Any] = {}
"""One for all tables; never written to."""


_PER_ROW = (
    *("ends", "offsets", "sizes", "mtimes", "modes", "headers", "below", "parents"),
    *("leads", "sums", "packed"),
)


class MemberTable(MemberNames):
    """A member table as it lies in memory. All rows are found by number or by full name.

    A process may hold tens of thousands: nothing is kept that the block can tell again.
    """

    __slots__ = (
        "_block",
        "_headers",
        "_leads",
        "_mode",
        "_modes",
        "_mtime",
        "_mtimes",
        "_offsets",
        "_packed",
        "_sizes",
        "_sums",
        "_tick",
        "_unit",
        "doubt",
        "hard",
        "left_out",
        "links",
        "nested",
        "problem",
        "sparse",
    )

    def __init__(self, block: memoryview) -> None:
        """Raises ArchiveError where the block is no member table."""
        columns, meta = views(block)
        self._block = block
        try:
            self._take(columns, meta)
        except (ValueError, KeyError, TypeError, AttributeError, NotImplementedError) as error:
            raise ArchiveError(f"a block of the index is damaged ({error})") from None

    def _take(self, columns: dict[str, memoryview], meta: dict[str, Any]) -> None:
        _check_lengths(columns, meta["rows"])
        self._take_names(columns, meta)
        self._unit: int = meta["unit"]
        self._mtime: int = meta["mtime"]
        self._tick: int = meta["tick"]
        self._mode: int = meta["mode"]
        self.problem: str | None = meta.get("problem")
        """What was wrong with the archive; None for a sound one."""
        self.left_out: str | None = meta.get("left_out")
        """Which sound members are not shown, and why; None where all are."""
        self.doubt: str | None = meta.get("doubt")
        """With what the archive ends that may be no padding; None where that is beyond doubt."""
        self._offsets = columns["offsets"]
        self._sizes = columns["sizes"]
        self._mtimes = columns.get("mtimes")
        self._modes = columns.get("modes")
        self._headers = columns.get("headers")
        self.nested: Array = np.asarray(columns["nested"]) if "nested" in columns else _NONE
        self.links = _links(columns)
        self.hard = _hard(columns)
        self.sparse = _sparse(columns)

        self._leads = columns.get("leads")
        self._sums = columns.get("sums")
        self._packed = columns.get("packed")

    @property
    def columns(self) -> dict[str, Array]:
        """All columns, from the block; not for what is asked often."""
        return unpack(self._block)[0]

    @property
    def meta(self) -> dict[str, Any]:
        """What the block says of itself; not for what is asked often."""
        return meta_of(self._block)

    @property
    def one_mode(self) -> bool:
        """Whether all rows have the same mode."""
        return self._modes is None

    @property
    def plain(self) -> bool:
        """Whether all rows are regular files that stand in the archive as they are: neither holes
        nor compression.
        """
        whole = self._packed is None and not self.sparse
        return whole and len(self.regular()) == self.rows

    def byte_range(self, row: int) -> ByteRange:
        """Where the content stands in the file, in one call, for reads of a :attr:`plain` table."""
        start = self._offsets[row] * self._unit
        return ByteRange(start, start + self._sizes[row])

    @property
    def places(self) -> tuple[memoryview, int, memoryview]:
        """For each row where the content begins in the file, in units of so many bytes, and how
        many bytes it has.
        """
        return self._offsets, self._unit, self._sizes

    def offset(self, row: int) -> int:
        """Where the data begins in the file, in bytes."""
        value: int = self._offsets[row]
        return value * self._unit

    def size(self, row: int) -> int:
        """Bytes of content, holes included."""
        value: int = self._sizes[row]
        return value

    def mtime_ns(self, row: int) -> int:
        """Nanoseconds since the epoch."""
        return self._mtime + (self._mtimes[row] * self._tick if self._mtimes is not None else 0)

    def mode(self, row: int) -> int:
        """st_mode with the file type."""
        value: int = self._modes[row] if self._modes is not None else self._mode
        return value

    def owner(self, row: int) -> int:
        """The row that stands for the file: another one for some hard
        links, else ``row`` itself.
        """
        return self.hard[row][0] if self.hard and row in self.hard else row

    def links_to(self, row: int) -> int:
        """st_nlink: how many rows are this very file."""
        return self.hard[row][1] if self.hard and row in self.hard else 1

    def header(self, row: int) -> int:
        """Where the member's first header block begins in the file, in bytes."""
        if self._leads is not None:
            return self.offset(row) - self.lead(row)
        value: int = self._headers[row] if self._headers is not None else self.offset(row) - 512
        return max(value, 0)

    def lead(self, row: int) -> int:
        """How far before a member's data the header begins that is looked at with them."""
        value: int = self._leads[row] if self._leads is not None else 512
        return value

    def packed(self, row: int) -> int:
        """The bytes that a deflated member takes from its offset on; 0 for what is not deflated."""
        value: int = self._packed[row] if self._packed is not None else 0
        return value

    def crc(self, row: int) -> int | None:
        """The content's CRC-32, where the archive has it."""
        return self._sums[row] if self._sums is not None else None

    def span(self, rows: range) -> tuple[int, int]:
        """From the first header of these rows to the end of the data of the last, in bytes; (0, 0)
        where no archive has any of them.
        """
        columns, part = self.columns, slice(rows.start, rows.stop)
        offsets = columns["offsets"][part].astype(np.int64) * self._unit
        sizes = columns["sizes"][part].astype(np.int64)
        if self._packed is not None:
            packed = columns["packed"][part].astype(np.int64)
            sizes = np.where(packed > 0, packed, sizes)
        leads = columns["leads"][part].astype(np.int64) if self._leads is not None else 512
        real = offsets > 0  # a directory that no member is stands nowhere
        if not real.any():
            return 0, 0
        return max(0, int((offsets - leads)[real].min())), int((offsets + sizes)[real].max())

    def unshown(self, below: bytes = b"") -> list[bytes]:
        """The members that are not shown, of those below a directory."""
        return self._listed("unshown", below)

    def replaced(self, below: bytes = b"") -> list[bytes]:
        """The files that a later one of the same name replaces, of those below a directory."""
        return self._listed("replaced", below)

    def _listed(self, name: str, below: bytes) -> list[bytes]:
        columns, _ = views(self._block)
        if name not in columns:
            return []
        blob, start, found = columns[name].tobytes(), 0, []
        for end in columns[name + "_ends"].tolist():
            found.append(blob[start:end])
            start = end
        above = below + b"/" if below else b""
        return [one for one in found if one.startswith(above)]

    def is_implied(self, row: int) -> bool:
        """Whether it is a directory that no member is, but that others lie in."""
        return self._parents is not None and self.offset(row) == 0 and stat.S_ISDIR(self.mode(row))

    def sizes(self, start: int, stop: int) -> Array:
        """Bytes of content of rows [start, stop)."""
        return np.asarray(self._sizes[start:stop])

    def mtimes_ns(self, start: int, stop: int) -> Array:
        """Modification times of rows [start, stop), in nanoseconds since the epoch."""
        if self._mtimes is None:
            return np.full(stop - start, self._mtime, dtype=np.int64)
        ticks = np.asarray(self._mtimes[start:stop]).astype(np.int64)
        return ticks * self._tick + self._mtime

    def regular(self) -> Array:
        """The rows that are regular files (hard links included), as an array."""
        return self._of_type(stat.S_IFREG)

    def directories(self) -> Array:
        """The rows that are directories, as an array."""
        return self._of_type(stat.S_IFDIR)

    def _of_type(self, kind: int) -> Array:
        if self._modes is None:
            every = self.rows if stat.S_IFMT(self._mode) == kind else 0
            return np.arange(every, dtype=np.int64)
        return np.flatnonzero(np.asarray(self._modes) & 0o170000 == kind)


def _check_lengths(columns: dict[str, memoryview], rows: int) -> None:
    if any(len(columns[c]) != rows for c in _PER_ROW if c in columns):
        raise ArchiveError("a block of the index is damaged (columns of unequal length)")
    if ("below" in columns) != ("parents" in columns):
        raise ArchiveError("a block of the index is damaged (a column is missing)")


def _links(columns: dict[str, memoryview]) -> dict[int, bytes]:
    """Row -> target of the symbolic link."""
    if "linked" not in columns:
        return _EMPTY
    blob, start, found = columns["link_names"].tobytes(), 0, {}
    for row, end in zip(columns["linked"].tolist(), columns["link_ends"].tolist(), strict=True):
        found[row] = blob[start:end]
        start = end
    return found


def _hard(columns: dict[str, memoryview]) -> dict[int, tuple[int, int]]:
    """Row -> (the row that stands for the file, how many rows it has)."""
    if "hard" not in columns:
        return _EMPTY
    rows, owners = columns["hard"].tolist(), columns["hard_owners"].tolist()
    counts = Counter(owners)
    return {row: (owner, counts[owner]) for row, owner in zip(rows, owners, strict=True)}


def _sparse(columns: dict[str, memoryview]) -> dict[int, tuple[tuple[int, int], ...]]:
    """Row -> its data runs, (logical offset, length) in bytes."""
    if "sparse" not in columns:
        return _EMPTY
    starts = columns["sparse_starts"].tolist()
    lengths = columns["sparse_lengths"].tolist()
    found, start = {}, 0
    for row, end in zip(columns["sparse"].tolist(), columns["sparse_ends"].tolist(), strict=True):
        found[row] = tuple(zip(starts[start:end], lengths[start:end], strict=True))
        start = end
    return found
