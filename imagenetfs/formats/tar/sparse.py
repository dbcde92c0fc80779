"""Sparse members: where the runs of data lie in the file that a reader sees.

Source: the GNU tar manual, "Storing Sparse Files": the old GNU format (type S), and pax formats
0.0, 0.1 and 1.0. In all of them the archive holds the runs of data back to back.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.extended import MAX_EXTENDED, Extended, ReadAt, decimal
from imagenetfs.formats.tar.header import BLOCK, MAX_SIZE, CutOffError, number

Runs = tuple[tuple[int, int], ...]
"""(logical offset, length) of each run of data, bytes, ascending."""

_NO_NUMBER = -1


@dataclass(slots=True, frozen=True)
class Sparse:
    """A sparse member: the size that a reader sees, its runs, and where their data begins."""

    size: int
    runs: Runs
    data: int


def old_gnu(read_at: ReadAt, block: bytes, offset: int, end: int) -> Sparse:
    """Type S: four entries in the header, then blocks of 21 more while the last one says so.

    Not :func:`checked` yet: so far it is known where the data are."""
    runs, more = _entries(block[386:482], offset), block[482]
    data = offset + BLOCK
    while more and len(runs) % 21 == 4:  # as long as every entry so far is used
        if data - offset > MAX_EXTENDED:
            raise ArchiveError(f"sparse map of more than {MAX_EXTENDED:,} bytes", offset)
        extension = read_at(data, max(0, min(BLOCK, end - data)))
        if len(extension) < BLOCK:
            raise CutOffError("cut off within a sparse map", offset)
        runs += _entries(extension[:504], offset)
        more = extension[504]
        data += BLOCK
    try:
        size = number(block[483:495])
    except ValueError:
        size = _NO_NUMBER
    return Sparse(size, tuple(runs), data)


def _entries(table: bytes, offset: int) -> list[tuple[int, int]]:
    """Entries of 12 bytes offset and 12 bytes length; the first with an empty length ends them."""
    runs = []
    for at in range(0, len(table), 24):
        if not table[at + 12]:
            break
        try:
            runs.append((number(table[at : at + 12]), number(table[at + 12 : at + 24])))
        except ValueError:
            runs.append((_NO_NUMBER, _NO_NUMBER))
    return runs


def pax(read_at: ReadAt, extended: Extended, data: int, stored: int) -> Sparse | None:
    """The pax formats, by their records; None for a member that has no such records.

    ``data`` is the offset of what is stored for the member, ``stored`` its size in bytes. Format
    1.0 keeps the map there, before the data; in the others it is in the records themselves.
    """
    records, offset = extended.records, extended.first
    size_record = records.get(b"GNU.sparse.realsize", records.get(b"GNU.sparse.size"))
    version = records.get(b"GNU.sparse.major", b"0"), records.get(b"GNU.sparse.minor", b"0")
    if version == (b"1", b"0"):
        numbers, length = _stored_map(read_at, data, stored, offset)
        data += length
    elif version[0] != b"0":
        raise ArchiveError("sparse member of an unknown format", offset)
    elif records.get(b"GNU.sparse.map"):
        numbers = records[b"GNU.sparse.map"].split(b",")
    elif extended.sparse_pairs or records.get(b"GNU.sparse.numblocks") == b"0":
        numbers = extended.sparse_pairs
    elif size_record is None:
        return None
    else:  # without a map all that is stored stands at the beginning, as GNU tar and others have it
        size = decimal(size_record, "real size of a sparse member", offset)
        return Sparse(size, ((0, min(stored, size)),), data)
    if extended.out_of_turn:
        raise ArchiveError("sparse map with offset and length out of turn", offset)
    values = [decimal(value, "entry of a sparse map", offset) for value in numbers]
    if len(values) % 2:
        raise ArchiveError("sparse map that ends within an entry", offset)
    runs = list(zip(values[::2], values[1::2], strict=True))
    size = decimal(size_record or b"", "real size of a sparse member", offset)
    return Sparse(size, tuple(runs), data)


def _stored_map(read_at: ReadAt, data: int, stored: int, offset: int) -> tuple[list[bytes], int]:
    """Format 1.0's map: decimal lines, the number of entries first, padded to whole blocks.

    Returned are the lines behind the first, and the bytes that the map takes. Nearly all maps
    fit into one block; the rest is read only for one that does not.
    """
    for length in (BLOCK, MAX_EXTENDED):
        raw = read_at(data, min(length, stored))
        lines = raw.split(b"\n")
        count = 2 * decimal(lines[0], "length of a sparse map", offset)
        if len(lines) > count + 1:
            used = sum(map(len, lines[: count + 1])) + count + 1
            return lines[1 : count + 1], used + (-used % BLOCK)
        if len(raw) < length:
            break
    raise ArchiveError(f"sparse map cut off, or of more than {MAX_EXTENDED:,} bytes", offset)


def checked(sparse: Sparse, behind: int, offset: int) -> Sparse:
    """The same with only the runs that hold data (GNU tar marks a hole at the end by an empty one),
    if they lie within the file, in order, and apart from each other, and all their data stand
    before ``behind``."""
    runs, size = sparse.runs, sparse.size
    if size == _NO_NUMBER:
        raise ArchiveError("sparse member whose real size is no number", offset)
    if (_NO_NUMBER, _NO_NUMBER) in runs:
        raise ArchiveError("sparse map with an entry that is no number", offset)
    ends_in_order = all(a + n <= b for (a, n), (b, _) in pairwise(runs))
    if (
        not 0 <= size <= MAX_SIZE
        or not ends_in_order
        or any(at < 0 or length < 0 or at + length > size for at, length in runs)
    ):
        raise ArchiveError("sparse map that does not fit its file", offset)
    if sum(length for _, length in runs) > behind - sparse.data:
        raise ArchiveError("sparse member with less data than its map says", offset)
    return Sparse(size, tuple(run for run in runs if run[1]), sparse.data)
