"""The member table of one container (a tar, a tar within a tar, a directory), mapped, not parsed.

Rows stand sorted by name, with ``/`` before every other byte, so that the entries below a directory
are contiguous. ImageNet's names cost 5 bytes a member, because a prefix and a suffix that all rows share
are kept once; offsets stand in units of 512 bytes; a column whose values are all alike is left out.
In all about 20 bytes a member (see docs/benchmarks.md).

Columns (all little-endian, see :mod:`imagenetfs.index.columns`):

==========  ===========================================================================
names       the middle parts of the names, one after the other (u1)
ends        where each of them ends in ``names``
offsets     data offset in the file; in 512-byte units where meta["unit"] is 512
sizes       bytes of content
mtimes      modification time less meta["mtime"], in meta["tick"] nanoseconds
modes       st_mode, unless all are meta["mode"]
headers     offset of the first header block, unless each is its data offset - 512
linked      rows with a link, ``link_kinds`` (1 symbolic, 2 hard), ``link_ends``, ``link_names``
sparse      rows with holes, ``sparse_ends`` and pairs in ``sparse_starts``, ``sparse_lengths``
below       for directories: the row behind the last one below (only where there are any)
nested      rows that are containers themselves (only where there are any)
==========  ===========================================================================
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import Array, pack, smallest, unpack

DIRECTORY_MODE = stat.S_IFDIR | 0o555
FILE_MODE = stat.S_IFREG | 0o644


@dataclass(slots=True)
class Rows:
    """What a builder hands to :func:`encode`: parallel lists, in archive order.

    Later rows of the same name replace earlier ones, as extraction would.
    """

    names: list[bytes] = field(default_factory=list)
    headers: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    mtimes: list[int] = field(default_factory=list)
    modes: list[int] = field(default_factory=list)
    links: dict[int, bytes] = field(default_factory=dict)
    hardlinks: dict[int, bytes] = field(default_factory=dict)
    sparse: dict[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def harmless(name: bytes) -> bytes:
    """A member's name as a relative path that cannot leave its archive; b"" where nothing is left.

    As GNU tar extracts: what stands before and with the last ``..`` is dropped, as are leading
    slashes and parts that are empty or ``.``.
    """
    if b"/" not in name and name not in (b".", b".."):
        return name
    parts = name.split(b"/")
    if b".." in parts:
        parts = parts[len(parts) - parts[::-1].index(b"..") :]
    return b"/".join(part for part in parts if part not in (b"", b"."))


def encode(
    rows: Rows,
    meta: dict[str, Any] | None = None,
    nested: Callable[[bytes, int], bool] | None = None,
) -> bytes:
    """The block of a container's member table, sorted, without duplicates, parents added.

    ``nested(name, mode)`` tells which rows are containers themselves.
    """
    order, names = _sorted_order(rows)
    pick = np.asarray(order, dtype=np.int64)
    described: dict[str, Any] = {"rows": len(order), **(meta or {})}
    columns: dict[str, Array] = {}
    _encode_names(names, columns, described)
    _encode_places(rows, pick, columns, described)
    _encode_times_and_modes(rows, pick, columns, described)
    _encode_links(rows, order, columns)
    _encode_sparse(rows, order, columns)
    if any(b"/" in name for name in names) or _any_directory(columns, described):
        columns["below"] = _below(names)
    if nested is not None:
        found = [row for row, p in enumerate(order) if nested(names[row], rows.modes[p])]
        if found:
            columns["nested"] = smallest(np.array(found, dtype=np.int64))
    return pack(columns, described)


def _sorted_order(rows: Rows) -> tuple[list[int], list[bytes]]:
    """Positions in the order of the table, and the names in that order."""
    names = rows.names
    if any(b"/" in name or name in (b".", b"..") for name in names):
        last = _with_parents(rows)
        keys = sorted(last, key=lambda name: name.replace(b"/", b"\0"))
        return [last[name] for name in keys], keys
    last = dict(zip(names, range(len(names)), strict=True))
    if len(last) == len(names):
        order = sorted(range(len(names)), key=names.__getitem__)
        return order, [names[i] for i in order]
    keys = sorted(last)
    return [last[name] for name in keys], keys


def _with_parents(rows: Rows) -> dict[bytes, int]:
    """Name -> position of its last entry; directories that have no entry of their own are added."""
    last: dict[bytes, int] = {}
    for position in range(len(rows.names)):
        name = harmless(rows.names[position])
        if name:
            last.pop(name, None)
            last[name] = position
    _drop_shadowed(rows, last)
    for name in list(last):
        parent = name.rpartition(b"/")[0]
        while parent and parent not in last:
            last[parent] = _add_directory(rows, parent, rows.mtimes[last[name]])
            parent = parent.rpartition(b"/")[0]
    return last


def _drop_shadowed(rows: Rows, last: dict[bytes, int]) -> None:
    """A file that a later entry uses as a directory gives way, and the other way about."""
    for name, position in list(last.items()):
        parent = name.rpartition(b"/")[0]
        while parent:
            other = last.get(parent)
            if other is not None and not stat.S_ISDIR(rows.modes[other]):
                last.pop(parent if other < position else name, None)
                if other > position:
                    break
            parent = parent.rpartition(b"/")[0]


def _add_directory(rows: Rows, name: bytes, mtime: int) -> int:
    rows.names.append(name)
    rows.headers.append(0)
    rows.offsets.append(512)
    rows.sizes.append(0)
    rows.mtimes.append(mtime)
    rows.modes.append(DIRECTORY_MODE)
    return len(rows.names) - 1


def _encode_names(names: list[bytes], columns: dict[str, Array], meta: dict[str, Any]) -> None:
    prefix, suffix = _affixes(names)
    first, last = len(prefix), -len(suffix) or None
    middles = [name[first:last] for name in names]
    ends = np.cumsum(np.fromiter(map(len, middles), dtype=np.int64, count=len(middles)))
    columns["names"] = np.frombuffer(b"".join(middles), dtype=np.uint8)
    columns["ends"] = smallest(ends)
    meta["prefix"], meta["suffix"] = prefix.hex(), suffix.hex()


def _common_prefix(first: bytes, last: bytes) -> bytes:
    length = 0
    while length < min(len(first), len(last)) and first[length] == last[length]:
        length += 1
    return first[:length]


def _affixes(names: list[bytes]) -> tuple[bytes, bytes]:
    """The longest prefix and suffix that all names share, not overlapping in the shortest."""
    if not names:
        return b"", b""
    prefix = _common_prefix(min(names), max(names))
    shortest = min(map(len, names))
    suffix = names[0][max(len(prefix), len(names[0]) - shortest + len(prefix)) :]
    for name in names:
        while suffix and not name.endswith(suffix):
            suffix = suffix[1:]
        if not suffix:
            break
    return prefix, suffix


def _encode_places(
    rows: Rows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    offsets = np.array(rows.offsets, dtype=np.int64)[pick]
    headers = np.array(rows.headers, dtype=np.int64)[pick]
    meta["unit"] = 512 if not (offsets % 512).any() else 1
    columns["offsets"] = smallest(offsets // meta["unit"])
    columns["sizes"] = smallest(np.array(rows.sizes, dtype=np.int64)[pick])
    if (headers != offsets - 512).any():
        columns["headers"] = smallest(headers)


def _encode_times_and_modes(
    rows: Rows, pick: Array, columns: dict[str, Array], meta: dict[str, Any]
) -> None:
    mtimes = np.array(rows.mtimes, dtype=np.int64)[pick]
    base = int(mtimes.min()) if len(mtimes) else 0
    tick = 1 if (mtimes % 1_000_000_000).any() else 1_000_000_000
    meta["mtime"], meta["tick"] = base, tick
    if len(mtimes) and (mtimes != base).any():
        columns["mtimes"] = smallest((mtimes - base) // tick)
    modes = np.array(rows.modes, dtype=np.int64)[pick]
    meta["mode"] = int(modes[0]) if len(modes) else FILE_MODE
    if len(modes) and (modes != modes[0]).any():
        columns["modes"] = smallest(modes)


def _encode_links(rows: Rows, order: list[int], columns: dict[str, Array]) -> None:
    if not rows.links and not rows.hardlinks:
        return
    found = [
        (row, 1, rows.links[position])
        if position in rows.links
        else (row, 2, harmless(rows.hardlinks[position]))
        for row, position in enumerate(order)
        if position in rows.links or position in rows.hardlinks
    ]
    columns["linked"] = smallest(np.array([row for row, _, _ in found], dtype=np.int64))
    columns["link_kinds"] = np.array([kind for _, kind, _ in found], dtype=np.uint8)
    columns["link_ends"] = smallest(np.cumsum([len(target) for _, _, target in found]))
    targets = b"".join(target for _, _, target in found)
    columns["link_names"] = np.frombuffer(targets, dtype=np.uint8)


def _encode_sparse(rows: Rows, order: list[int], columns: dict[str, Array]) -> None:
    if not rows.sparse:
        return
    found = [(row, rows.sparse[p]) for row, p in enumerate(order) if p in rows.sparse]
    runs = [run for _, runs_of_row in found for run in runs_of_row]
    columns["sparse"] = smallest(np.array([row for row, _ in found], dtype=np.int64))
    columns["sparse_ends"] = smallest(np.cumsum([len(runs_of_row) for _, runs_of_row in found]))
    columns["sparse_starts"] = smallest(np.array([start for start, _ in runs], dtype=np.int64))
    columns["sparse_lengths"] = smallest(np.array([length for _, length in runs], dtype=np.int64))


def _any_directory(columns: dict[str, Array], meta: dict[str, Any]) -> bool:
    if "modes" in columns:
        return bool((columns["modes"] & 0o170000 == stat.S_IFDIR).any())
    return stat.S_ISDIR(meta["mode"]) and meta["rows"] > 0


def _below(names: list[bytes]) -> Array:
    """For each row the first row behind it that does not lie below it."""
    below = np.arange(1, len(names) + 1, dtype=np.int64)
    open_rows: list[int] = []
    for row, name in enumerate(names):
        while open_rows and not name.startswith(names[open_rows[-1]] + b"/"):
            below[open_rows.pop()] = row
        open_rows.append(row)
    for row in open_rows:
        below[row] = len(names)
    return smallest(below)


class Members:
    """A member table as it lies in memory. All rows are found by number or by full name."""

    __slots__ = (
        "_below",
        "_ends",
        "_headers",
        "_mode",
        "_modes",
        "_mtime",
        "_mtimes",
        "_names",
        "_offsets",
        "_prefix",
        "_sizes",
        "_suffix",
        "_tick",
        "_unit",
        "columns",
        "links",
        "meta",
        "rows",
        "sparse",
    )

    def __init__(self, block: memoryview) -> None:
        columns, meta = unpack(block)
        self.columns = columns
        self.meta = meta
        self.rows: int = meta["rows"]
        self._prefix = bytes.fromhex(meta["prefix"])
        self._suffix = bytes.fromhex(meta["suffix"])
        self._unit: int = meta["unit"]
        self._mtime: int = meta["mtime"]
        self._tick: int = meta["tick"]
        self._mode: int = meta["mode"]
        self._check()
        # Scalars are read through memoryviews: half the cost of a numpy scalar.
        self._names = columns["names"].data
        self._ends = columns["ends"].data
        self._offsets = columns["offsets"].data
        self._sizes = columns["sizes"].data
        self._mtimes = _optional(columns, "mtimes")
        self._modes = _optional(columns, "modes")
        self._headers = _optional(columns, "headers")
        self._below = _optional(columns, "below")
        self.links = _links(columns)
        self.sparse = _sparse(columns)

    def _check(self) -> None:
        per_row = ("ends", "offsets", "sizes", "mtimes", "modes", "headers", "below")
        if any(len(self.columns[c]) != self.rows for c in per_row if c in self.columns):
            raise ArchiveError("a block of the index is damaged (columns of unequal length)")

    def __len__(self) -> int:
        return self.rows

    @property
    def flat(self) -> bool:
        """Whether there is no directory and no path in it: the shape of ImageNet's tars."""
        return self._below is None

    @property
    def problem(self) -> str | None:
        """What was wrong with the archive behind the last sound member; None for a sound one."""
        return self.meta.get("problem")

    def name(self, row: int) -> bytes:
        """The full name, relative, parts separated by ``/``."""
        start = self._ends[row - 1] if row else 0
        return self._prefix + self._names[start : self._ends[row]].tobytes() + self._suffix

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

    def header(self, row: int) -> int:
        """Where the member's first header block begins in the file, in bytes."""
        value: int = self._headers[row] if self._headers is not None else self.offset(row) - 512
        return value

    def below(self, row: int) -> int:
        """The row behind the last one that lies below ``row``."""
        value: int = self._below[row] if self._below is not None else row + 1
        return value

    def find(self, name: bytes) -> int:
        """The row of a full name, or -1."""
        key = name.replace(b"/", b"\0")
        low, high = 0, self.rows
        while low < high:
            middle = (low + high) // 2
            if self.name(middle).replace(b"/", b"\0") < key:
                low = middle + 1
            else:
                high = middle
        return low if low < self.rows and self.name(low) == name else -1

    def names(self) -> Iterator[bytes]:
        """All names in order; cheaper than :meth:`name` row by row."""
        blob, prefix, suffix, start = self._names.tobytes(), self._prefix, self._suffix, 0
        for end in self._ends.tolist():
            yield prefix + blob[start:end] + suffix
            start = end

    def window(self, start: int, stop: int) -> Iterator[tuple[bytes, int, int]]:
        """(name, size in bytes, mtime in ns) of rows [start, stop); what a listing needs, quickly."""
        ends = self.columns["ends"][start:stop].tolist()
        sizes = self.columns["sizes"][start:stop].tolist()
        prefix, suffix, tick, mtime = self._prefix, self._suffix, self._tick, self._mtime
        if self._mtimes is None:
            mtimes = [mtime] * len(ends)
        else:
            times = self.columns["mtimes"][start:stop].tolist()
            mtimes = [mtime + value * tick for value in times]
        first = self._ends[start - 1] if start else 0
        blob = self._names[first : ends[-1] if ends else first].tobytes()
        at = first
        for end, size, mtime_ns in zip(ends, sizes, mtimes, strict=True):
            yield prefix + blob[at - first : end - first] + suffix, size, mtime_ns
            at = end

    def children(self, row: int = -1) -> Iterator[int]:
        """The rows directly within the directory at ``row`` (-1: the container itself)."""
        at, end = (0, self.rows) if row < 0 else (row + 1, self.below(row))
        while at < end:
            yield at
            at = self.below(at)

    def regular(self) -> Array:
        """The rows that are regular files (hard links included), as an array."""
        if "modes" not in self.columns:
            every = self.rows if stat.S_ISREG(self._mode) else 0
            return np.arange(every, dtype=np.int64)
        return np.flatnonzero(self.columns["modes"] & 0o170000 == stat.S_IFREG)


def _optional(columns: dict[str, Array], name: str) -> memoryview | None:
    return columns[name].data if name in columns else None


def _links(columns: dict[str, Array]) -> dict[int, tuple[int, bytes]]:
    """Row -> (1 symbolic or 2 hard, target)."""
    if "linked" not in columns:
        return {}
    blob, start, found = columns["link_names"].tobytes(), 0, {}
    every: Sequence[tuple[int, int, int]] = list(
        zip(
            columns["linked"].tolist(),
            columns["link_kinds"].tolist(),
            columns["link_ends"].tolist(),
            strict=True,
        )
    )
    for row, kind, end in every:
        found[row] = (kind, blob[start:end])
        start = end
    return found


def _sparse(columns: dict[str, Array]) -> dict[int, tuple[tuple[int, int], ...]]:
    """Row -> its data runs, (logical offset, length) in bytes."""
    if "sparse" not in columns:
        return {}
    starts = columns["sparse_starts"].tolist()
    lengths = columns["sparse_lengths"].tolist()
    found, start = {}, 0
    for row, end in zip(columns["sparse"].tolist(), columns["sparse_ends"].tolist(), strict=True):
        found[row] = tuple(zip(starts[start:end], lengths[start:end], strict=True))
        start = end
    return found
