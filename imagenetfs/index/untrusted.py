"""What a table of a stranger's making must be before anything is made of it: integers where it
should have some, no more rows than its archive has room for, and nothing left out.

A table may say anything at all, and has a right checksum all the same. What it costs to look at it
is bounded by its own length and by that of the archive.
"""

from __future__ import annotations

import contextlib
import os
import resource
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.walk import MemberColumns, ReadAt, scan
from imagenetfs.index.archives import Extent
from imagenetfs.index.columns import Array
from imagenetfs.index.member_encoder import MemberRows
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import sanitize_name
from imagenetfs.system.text import printable

_MOST_AFFIX = 4096
"""Bytes of what all names begin or end with: no path is longer."""

_INTEGERS = ("rows", "mtime", "tick", "mode", "unit")
_ASCENDING = ("ends", "link_ends", "sparse_ends")
_PROBLEM_LENGTH = 300


def check_columns(columns: Mapping[str, Array], meta: Mapping[str, Any], extent: Extent) -> None:
    """See that a member table can be taken apart at a cost that its length bounds.

    Raises ArchiveError.
    """
    if any(type(meta.get(name)) is not int for name in _INTEGERS):
        raise ArchiveError("its table has no numbers where it should")
    affixes = [meta.get(name) for name in ("prefix", "suffix")]
    if any(not isinstance(text, str) or len(text) > 2 * _MOST_AFFIX for text in affixes):
        raise ArchiveError("its names cannot be so")
    if any(column.dtype.kind != "u" for column in columns.values()):
        raise ArchiveError("its table has negative places")
    for name in _ASCENDING:
        # What ends before it begins could make each row as long as all of them.
        if name in columns and (columns[name][1:] < columns[name][:-1]).any():
            raise ArchiveError("its names are out of order")
    # Each member has a header block of its own. Directories that no member names differ in their
    # names or parents, so there are no more of them than the longest column has elements.
    members = (extent.end - extent.start) // BLOCK
    implied = max((len(column) for column in columns.values()), default=0)
    if not 0 <= meta["rows"] <= members + implied:
        raise ArchiveError("its table has more rows than the archive has room for")


def check_complete(rows: MemberRows, extent: Extent, read_at: ReadAt) -> None:
    """See that nothing stands in the archive between the members of a table, and behind the last.

    Raises ArchiveError with the first member that is left out. A tar without extended headers has
    no room between its members, so that only its end is read. What a member's own size hides shows
    when the member is first read.
    """
    spans = _spans(rows)
    kinds: dict[bytes, int] = {}
    position = extent.start
    for start, end in (*sorted(spans), (extent.end, extent.end)):
        if start - position >= BLOCK:
            kinds = kinds or dict(zip(map(sanitize_name, rows.names), rows.modes, strict=True))
            _check_gap(read_at, position, start, kinds)
        position = max(position, -(-end // BLOCK) * BLOCK)


def check_all_shown(count: int, block: bytes) -> None:
    """See that each of ``count`` rows has one in what was made of them: names that are there twice,
    or are no names, and links to nothing would hide some. Raises ArchiveError.
    """
    table = MemberTable(memoryview(block))
    # Directories that no member names are made for what lies in them: they stand for no row.
    implied = sum(map(table.is_implied, range(len(table)))) if len(table) >= count else 0
    if len(table) - implied < count:
        raise ArchiveError("its table has names that hide members")


def _spans(rows: MemberRows) -> set[tuple[int, int]]:
    """What each member takes, from the block before its data to their end. Not its extended
    headers, among which another member could stand; nor a directory that no member names.
    """
    stored = (
        sum(length for _, length in rows.sparse[position]) if position in rows.sparse else size
        for position, size in enumerate(rows.sizes)
    )
    return {
        (offset - BLOCK, offset + size)
        for header, offset, size, mode in zip(
            rows.headers, rows.offsets, stored, rows.modes, strict=True
        )
        if header or not stat.S_ISDIR(mode)
    }


def _check_gap(read_at: ReadAt, start: int, end: int, kinds: Mapping[bytes, int]) -> None:
    """Members between others are those that a later one of the name replaced, or nothing is."""
    found = MemberColumns()
    with contextlib.suppress(ArchiveError):  # it ends where the next member begins
        scan(read_at, start, end, found)
    for number, raw in enumerate(found.names):
        name = sanitize_name(raw)
        is_shown = not name or name in kinds or number in found.hardlinks
        if not is_shown and not _is_below_a_file(name, kinds):
            raise ArchiveError(f"has {readable(os.fsdecode(name))}, which its table leaves out")


def _is_below_a_file(name: bytes, kinds: Mapping[bytes, int]) -> bool:
    parts = name.split(b"/")
    above = (b"/".join(parts[:length]) for length in range(1, len(parts)))
    return any(part in kinds and not stat.S_ISDIR(kinds[part]) for part in above)


def readable(text: str) -> str:
    """A stranger's text as part of a sentence: short, and without what a terminal would obey."""
    return printable(text[:_PROBLEM_LENGTH])


@contextlib.contextmanager
def bounded_memory() -> Iterator[None]:
    """Let this process take half of the machine's memory more, and no more: then MemoryError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    most = now + os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    limits = (limit for limit in (soft, hard, most) if limit != resource.RLIM_INFINITY)
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
