"""Tables that another site made: told anew before they are kept, each member's header looked
at when it is first read.

A table from outside is no more to be trusted than a tar from outside. So it is not kept as it came:
names, places, sizes, modes and links are taken out of it, checked against the archive's length, and
go through the same checks as what a scan finds
(:func:`imagenetfs.index.member_encoder.encode_member_table`). What lies between them in the archive
is looked at, so that no member is left out. The tables of npz files and zips are made
anew.
"""

from __future__ import annotations

import stat
import struct
from typing import Any

from imagenetfs.errors import ArchiveError, SourceChangedError
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.array_table import encode_array_table
from imagenetfs.index.columns import unpack
from imagenetfs.index.fingerprint import pick_samples, sample_crc, tail_crc
from imagenetfs.index.header_match import member_is_at
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.table_builder import INNER_SAMPLES, OUTER_SAMPLES, is_nested
from imagenetfs.index.untrusted import check_all_shown, check_columns, check_complete, readable
from imagenetfs.index.zip_rows import read_zip
from imagenetfs.source.source import Source, SourceFile

MARK = "imported"
"""In a block's meta data: the table came from another site."""

_MALFORMED = (ValueError, KeyError, TypeError, IndexError, OverflowError, struct.error)


def rebuild_untrusted(block: bytes, extent: Extent, file: SourceFile, *, outer: bool) -> bytes:
    """The block as it is kept here.

    Raises ArchiveError where it cannot describe ``extent`` of ``file``.
    """
    if extent.kind is Kind.NPZ:
        # To read the labels costs no more than to check that they are what the table says.
        seen = {"file": file.size, "sample": tail_crc(file.read, file.size)}
        return encode_array_table(file.read_up_to, file.size, extent.path, file.mtime_ns, seen)
    if extent.kind is Kind.ZIP:
        # So does its directory, which is read at one go.
        rows, known = read_zip(file, extent.start, extent.end, _samples(outer=outer))
        return encode_member_table(
            rows, known, is_nested(extent.kind) if outer else None, confine=True
        )
    try:
        columns, meta = unpack(memoryview(block))
        check_columns(columns, meta, extent)
        samples = _samples(outer=outer)
        table = MemberTable(memoryview(block))
        rows = _rows(table, extent)
        if "headers" in columns and len(columns["headers"]) != len(table):
            raise ArchiveError("columns of unequal length")
        check_complete(rows, extent, file.read_up_to)
        at = pick_samples(sorted(set(rows.headers)), samples)
        described: dict[str, Any] = {"file": file.size, "at": at, MARK: 1}
        described["sample"] = sample_crc(file.read, at)
        if meta.get("problem") is not None:
            described["problem"] = readable(str(meta["problem"]))
        if meta.get("left_out") is not None:
            described["left_out"] = readable(str(meta["left_out"]))
        nested = is_nested(extent.kind) if outer else None
        count = len(rows.names)
        told = encode_member_table(rows, described, nested, confine=True)
        check_all_shown(count, told)
        return told
    except _MALFORMED as error:
        raise ArchiveError(f"its table is damaged ({readable(str(error))})") from None


def _samples(*, outer: bool) -> int:
    return OUTER_SAMPLES if outer else INNER_SAMPLES


def _rows(members: MemberTable, extent: Extent) -> MemberRows:
    rows = MemberRows()
    # A hard link follows what it was linked to, as in the archive.
    for row in sorted(range(len(members)), key=lambda row: members.owner(row) != row):
        header, offset, size = members.header(row), members.offset(row), members.size(row)
        mode = members.mode(row)
        runs = members.sparse.get(row)
        stored = sum(length for _, length in runs) if runs is not None else size
        if members.is_implied(row):  # it is made anew for what lies in it
            continue
        added = stat.S_ISDIR(mode) and header == 0
        if not added and not extent.start <= header <= offset - BLOCK:
            raise ArchiveError("a header lies outside of the archive", header)
        if size < 0 or stored < 0 or (not added and offset + stored > extent.end):
            raise ArchiveError("a member lies outside of the archive", header)
        if size and not stat.S_ISREG(mode):
            raise ArchiveError("what is no file has content", header)
        position = len(rows.names)
        owner = members.owner(row)
        if owner != row:
            rows.hardlinks[position] = members.name(owner)
        elif members.hard and row in members.hard and members.links_to(row) == 1:
            rows.renamed.add(position)
        if row in members.links:
            rows.links[position] = members.links[row]
        if runs is not None:
            rows.sparse[position] = _sound_runs(runs, size)
        rows.names.append(members.name(row))
        rows.headers.append(header)
        rows.offsets.append(offset)
        rows.sizes.append(size)
        rows.mtimes.append(members.mtime_ns(row))
        rows.modes.append(mode & 0xFFFF)
    return rows


def _sound_runs(runs: tuple[tuple[int, int], ...], size: int) -> tuple[tuple[int, int], ...]:
    behind = 0
    for at, length in runs:
        if at < behind or length <= 0:
            raise ArchiveError("a sparse member's map is out of order")
        behind = at + length
    if behind > size:
        raise ArchiveError("a sparse member's map goes past its end")
    return runs


class HeaderCheck:
    """Looks at the header of a member of an imported table before it is first read."""

    def __init__(self, source: Source, extent: Extent, members: MemberTable) -> None:
        self._source = source
        self._extent = extent
        self._members = members
        self._checked = bytearray(len(members))

    def __call__(self, row: int) -> None:
        """Raises SourceChangedError where the archive has something else there."""
        if self._checked[row]:
            return
        members = self._members
        read_at = self._source.open(self._extent.path).read_up_to
        if not member_is_at(read_at, self._extent.end, members, row):
            raise SourceChangedError(
                f"{self._extent.path!r} has no {members.name(row)!r} where the imported index says "
                "so; remove that index file, and index the archive here with `imagenetfs index`."
            )
        self._checked[row] = 1
