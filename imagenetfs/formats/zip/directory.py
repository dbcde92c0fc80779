"""A zip's central directory as columns: what each member is called, how it is packed, and where its
local header stands.

It may have 1.4 million entries: they are found and taken apart by numpy, all at once. An entry is
believed where the one before it ends; where the chain is broken, it goes on at the next signature,
and what is passed over is a problem that is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from imagenetfs.formats.zip.end import CentralDirectory, ReadAt, find_central_directory

Array = npt.NDArray[Any]

STORED, DEFLATED = 0, 8

ENCRYPTED = 0x1 | 0x40 | 0x2000
"""Flags: encrypted, strongly encrypted, the local header's values masked."""

DESCRIPTOR = 0x8
"""Flag: sizes and sum stand behind the data, and not in the local header."""

PATCH = 0x20

_ENTRY = np.dtype(
    [
        ("signature", "<u4"),
        ("made", "<u2"),
        ("needed", "<u2"),
        ("flags", "<u2"),
        ("method", "<u2"),
        ("time", "<u2"),
        ("date", "<u2"),
        ("crc", "<u4"),
        ("packed", "<u4"),
        ("size", "<u4"),
        ("name", "<u2"),
        ("extra", "<u2"),
        ("comment", "<u2"),
        ("disk", "<u2"),
        ("internal", "<u2"),
        ("external", "<u4"),
        ("offset", "<u4"),
    ]
)
_SIGNATURE = 0x02014B50
_FULL = 0xFFFFFFFF
_ZIP64, _TIMES = 0x0001, 0x5455
_NANOSECONDS = 1_000_000_000
_PIECE = 1 << 24
"""Bytes of the directory that are read at a time."""


@dataclass(frozen=True, slots=True)
class ZipMembers:
    """A value a member in each column, in the order of the directory. ``headers``: where their
    local headers begin in the file; ``lengths`` are those of the names in bytes, ``extras`` those
    of the directory's extra fields;
    ``made``: by which system (the high byte). Data end before ``end``. ``problems`` are sentences.
    """

    names: list[bytes]
    lengths: Array
    flags: Array
    methods: Array
    crcs: Array
    packed: Array
    sizes: Array
    headers: Array
    disks: Array
    extras: Array
    made: Array
    attributes: Array
    mtimes_ns: Array
    start: int
    end: int
    problems: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.names)

    def with_byte(self, byte: bytes) -> list[int]:
        """The members that have a byte in their names."""
        if byte not in b"".join(self.names):
            return []
        return [row for row, name in enumerate(self.names) if byte in name]

    def directories(self) -> Array:
        """Which names end in a slash."""
        ends = np.cumsum(self.lengths) - 1
        joined = np.frombuffer(b"".join(self.names) or b"\0", dtype=np.uint8)
        slash: Array = (joined[np.maximum(ends, 0)] == ord("/")) & (self.lengths > 0)
        return slash


def read_directory(read_at: ReadAt, start: int, stop: int) -> ZipMembers:
    """The members of the zip in bytes [start, stop) of a file. Raises ArchiveError."""
    where = find_central_directory(read_at, start, stop)
    pieces, at = [], where.start
    while at < where.end:
        piece = read_at(at, min(_PIECE, where.end - at))
        if not piece:
            break
        pieces.append(piece)
        at += len(piece)
    return parse_directory(b"".join(pieces), where, start)


def parse_directory(data: bytes, where: CentralDirectory, start: int) -> ZipMembers:
    """The same, of the directory's own bytes."""
    raw = np.frombuffer(data, dtype=np.uint8)
    problems = [where.problem] if where.problem else []
    at, entries = _entries(raw, problems)
    if len(at) % where.modulo != where.entries % where.modulo:
        problems.append(f"its directory has {len(at):,} entries, and says {where.entries:,}")
    lengths = entries["name"].astype(np.int64)
    names_at = at + _ENTRY.itemsize
    bounds = zip(names_at.tolist(), (names_at + lengths).tolist(), strict=True)
    extras_at = names_at + lengths
    extras = entries["extra"].astype(np.int64)
    found = _extra_fields(raw, extras_at, extras_at + extras, (_ZIP64, _TIMES))
    sizes, packed, offsets = _wide(raw, entries, *found[_ZIP64])
    return ZipMembers(
        [data[first:last] for first, last in bounds],
        lengths,
        entries["flags"].astype(np.int64),
        entries["method"].astype(np.int64),
        entries["crc"].astype(np.int64),
        packed,
        sizes,
        offsets + where.shift,
        entries["disk"].astype(np.int64),
        extras,
        entries["made"].astype(np.int64),
        entries["external"].astype(np.int64),
        _mtimes_ns(raw, entries, *found[_TIMES]),
        start,
        where.start,
        problems,
    )


def _entries(raw: Array, problems: list[str]) -> tuple[Array, Array]:
    """Where the entries begin, and their fields."""
    at = _signatures(raw)
    if not len(at):
        if len(raw):
            problems.append(f"its directory is damaged: {len(raw):,} bytes of it are no entries")
        return at, np.zeros(0, dtype=_ENTRY)
    windows = np.lib.stride_tricks.sliding_window_view(raw, _ENTRY.itemsize)
    entries = windows[at].reshape(-1).view(_ENTRY)
    ends = at + _ENTRY.itemsize
    for field_of_length in ("name", "extra", "comment"):
        ends += entries[field_of_length]
    if at[0] == 0 and ends[-1] == len(raw) and (ends[:-1] == at[1:]).all():
        return at, entries
    chosen = np.flatnonzero(np.isin(at, _chained(at, ends, len(raw), problems)))
    return at[chosen], entries[chosen]


def _signatures(raw: Array) -> Array:
    at = np.flatnonzero(raw[: max(0, len(raw) - _ENTRY.itemsize + 1)] == _SIGNATURE & 0xFF)
    for byte in (1, 2, 3):
        at = at[raw[at + byte] == _SIGNATURE >> 8 * byte & 0xFF]
    return at


def _chained(at: Array, ends: Array, length: int, problems: list[str]) -> Array:
    """Of what looks like entries (a comment may do so too), those that follow one another."""
    following = np.searchsorted(at, ends)
    follows = (np.append(at, length)[following] == ends).tolist()
    starts, stops, nexts = [*at.tolist(), length], ends.tolist(), following.tolist()
    chosen, position, lost, first, number = [], 0, 0, -1, 0
    while number < len(stops):
        begin, stop = starts[number], stops[number]
        if begin > position:
            lost += begin - position
            first = position if first < 0 else first
        position = begin
        if follows[number] or stop <= starts[number + 1]:
            chosen.append(begin)
            position = stop
        number = nexts[number] if follows[number] else number + 1
    if position < length:
        lost += length - position
        first = position if first < 0 else first
    if lost:
        problems.append(
            f"its directory is damaged at its byte {first:,}: {lost:,} bytes of it are left out"
        )
    return np.array(chosen, dtype=np.int64)


def _numbers(raw: Array, at: Array, length: int) -> Array:
    """Little-endian numbers of so many bytes at these places."""
    if not len(at):
        return np.zeros(0, dtype=np.int64)
    windows = np.lib.stride_tricks.sliding_window_view(raw, length)
    return windows[at].reshape(-1).view(f"<u{length}").astype(np.int64)


def _extra_fields(
    raw: Array, start: Array, stop: Array, wanted: tuple[int, ...]
) -> Mapping[int, tuple[Array, Array]]:
    """For each wanted kind of extra field: where its data begin and end in each entry (0, 0: it has
    none)."""
    found = {
        kind: (np.zeros(len(start), dtype=np.int64), np.zeros(len(start), dtype=np.int64))
        for kind in wanted
    }
    rows = np.flatnonzero(start + 4 <= stop)
    at = start[rows]
    while len(rows):
        kinds, behind = _numbers(raw, at, 2), at + 4 + _numbers(raw, at + 2, 2)
        fits = behind <= stop[rows]
        for kind, (begins, ends) in found.items():
            here = fits & (kinds == kind) & (ends[rows] == 0)
            begins[rows[here]], ends[rows[here]] = at[here] + 4, behind[here]
        goes_on = fits & (behind + 4 <= stop[rows])
        rows, at = rows[goes_on], behind[goes_on]
    return found


def _wide(raw: Array, entries: Array, at: Array, end: Array) -> tuple[Array, Array, Array]:
    """Sizes, packed sizes and offsets, from the zip64 field where they have no room (4.5.3)."""
    wide = []
    for name in ("size", "packed", "offset"):
        values = entries[name].astype(np.int64)
        rows = np.flatnonzero((values == _FULL) & (at + 8 <= end) & (end > 0))
        values[rows] = _numbers(raw, at[rows], 8)
        at = at.copy()
        at[rows] += 8
        wide.append(values)
    return wide[0], wide[1], wide[2]


def _mtimes_ns(raw: Array, entries: Array, at: Array, end: Array) -> Array:
    """By the extra field of times where there is one; else what the clock showed, taken for UTC."""
    date, time = entries["date"].astype(np.int64), entries["time"].astype(np.int64)
    months = (date >> 9) * 12 + 120 + np.clip(date >> 5 & 15, 1, 12) - 1
    days = months.astype("datetime64[M]").astype("datetime64[D]").astype(np.int64)
    days += np.maximum(date & 31, 1) - 1
    seconds = days * 86400 + (time >> 11) * 3600 + (time >> 5 & 63) * 60 + (time & 31) * 2
    rows = np.flatnonzero(end - at >= 5)
    rows = rows[raw[at[rows]] & 1 == 1]
    told = _numbers(raw, at[rows] + 1, 4)
    seconds[rows] = np.where(told >= 1 << 31, told - (1 << 32), told)
    mtimes: Array = seconds * _NANOSECONDS
    return mtimes
