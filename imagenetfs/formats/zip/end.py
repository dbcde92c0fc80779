"""The end of a zip: where its central directory stands, and how many members it has.

The end record is searched for from the back, behind at most 64 KiB of comment; what stands before
The end record is searched for from the back, behind at most 64 KiB of comment; what stands before
the archive (the program of a self-extracting one) shifts all of its offsets. Where there is a zip64
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

from imagenetfs.errors import ArchiveError

ReadAt = Callable[[int, int], bytes]
"""``read_at(offset, length)``: so many bytes, fewer at the end of the file."""

CENTRAL = b"PK\1\2"
LOCAL = b"PK\3\4"
END = b"PK\5\6"
_END64 = b"PK\6\6"
_LOCATOR = b"PK\6\7"
_SPANNED = b"PK\7\x08"

_END_RECORD = struct.Struct("<4s4H2LH")
_END64_RECORD = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_RECORD = struct.Struct("<4sLQL")
_MOST_COMMENT = 0xFFFF
_TAIL = _END_RECORD.size + _MOST_COMMENT + _LOCATOR_RECORD.size


class CentralDirectory(NamedTuple):
    """Bytes [start, end) of the file. ``shift``: what is added to an offset in it to have one of
    the file. ``entries``: as many as it says it has, ``modulo`` so many.
    """

    start: int
    end: int
    shift: int
    entries: int
    modulo: int
    problem: str = ""


def begins_as_zip(head: bytes) -> bool:
    """Whether a file that begins with these bytes is taken for a zip."""
    return head.startswith((LOCAL, END, _SPANNED + LOCAL))


def find_central_directory(read_at: ReadAt, start: int, stop: int) -> CentralDirectory:
    """Of the zip in bytes [start, stop) of a file. Raises ArchiveError."""
    length = min(stop - start, _TAIL)
    at = stop - length
    tail = read_at(at, length)
    found, reason = [], "it has no end record: it is cut off, or no zip"
    for position in _end_records(tail):
        try:
            found.append(_located(read_at, start, at, tail, position))
        except ArchiveError as error:
            reason = error.reason
            continue
        if not found[-1].problem:
            return found[-1]
    if found:
        return found[0]
    raise ArchiveError(reason, stop)


def _end_records(tail: bytes) -> Iterator[int]:
    """Where end records may stand, the last one first."""
    position = tail.rfind(END)
    while position >= 0:
        if position + _END_RECORD.size <= len(tail):
            yield position
        position = tail.rfind(END, 0, position)


def _located(
    read_at: ReadAt, start: int, tail_at: int, tail: bytes, position: int
) -> CentralDirectory:
    _, disk, first_disk, here, entries, size, offset, comment = _END_RECORD.unpack_from(
        tail, position
    )
    at, behind = tail_at + position, len(tail) - position - _END_RECORD.size - comment
    disks, modulo = {disk, first_disk}, 1 << 16
    locator = position - _LOCATOR_RECORD.size
    if locator >= 0 and tail[locator : locator + 4] == _LOCATOR:
        large = _end64(read_at, start, tail_at + locator, tail[locator:position])
        if large is not None:
            at, disks, here, entries, size, offset = large
            modulo = 1 << 64
    if disks - {0, 0xFFFF, 0xFFFFFFFF} or here != entries:
        raise ArchiveError(
            "it is one part of a zip in several: put them together once (zip -s 0 NAME.zip --out "
            "WHOLE.zip)",
            at,
        )
    for begin in (at - size, start + offset):
        agrees = at - size == start + offset or not entries
        if start <= begin <= at and (agrees or read_at(begin, 4) == CENTRAL):
            problem = "" if behind == 0 else _behind(behind)
            if begin - offset < start:
                problem = problem or f"its first {start + offset - begin:,} bytes are missing"
            # It ends before the record, whatever length that claims.
            end = min(begin + size, at)
            return CentralDirectory(begin, end, begin - offset, entries, modulo, problem)
    raise ArchiveError("its directory is not where its end record says: bytes are missing", at)


def _behind(count: int) -> str:
    if count < 0:
        return f"its comment is cut off by {-count:,} bytes"
    return f"{count:,} bytes follow its end"


def _end64(
    read_at: ReadAt, start: int, locator_at: int, locator: bytes
) -> tuple[int, set[int], int, int, int, int] | None:
    """(where it stands, disks, entries here, entries, size, offset) of the zip64 end record."""
    _, _, offset, _ = _LOCATOR_RECORD.unpack(locator)
    for at in (locator_at - _END64_RECORD.size, start + offset):
        if not start <= at <= locator_at - _END64_RECORD.size:
            continue
        record = read_at(at, _END64_RECORD.size)
        if len(record) == _END64_RECORD.size and record.startswith(_END64):
            _, _, _, _, disk, first_disk, here, entries, size, begin = _END64_RECORD.unpack(record)
            return at, {disk, first_disk}, here, entries, size, begin
    return None
