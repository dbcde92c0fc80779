"""Whether a header block of the archive is the one that a row of a table was made from."""

from __future__ import annotations

import os

from imagenetfs.errors import ArchiveError, SourceChangedError
from imagenetfs.formats.tar.header import BLOCK, is_sound, name_of, number
from imagenetfs.formats.tar.member_reader import MemberReader
from imagenetfs.formats.tar.members import MemberColumns
from imagenetfs.formats.zip.directory import DEFLATED, ENCRYPTED, STORED
from imagenetfs.formats.zip.local_header import SIZE, parse_local_header
from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.fingerprint import ReadAt
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import sanitize_name
from imagenetfs.index.table import Table

_NANOSECONDS = 1_000_000_000


def member_is_at(read_at: ReadAt, end: int, members: MemberTable, row: int) -> bool:
    """Whether the parser finds a member where its row says: by all of its headers, read now.

    ``end``: where its container ends in the file, in bytes."""
    found = MemberColumns()
    header = members.header(row)
    try:
        MemberReader(read_at, end, found).read_one(header)
        name = sanitize_name(found.names[0])
    except (ArchiveError, IndexError):
        return False
    as_said = (found.offsets[0], found.sizes[0]) == (members.offset(row), members.size(row))
    return as_said and (name == members.name(row) or row in members.hard)


def is_zip_header_of(block: bytes, members: MemberTable, row: int) -> bool:
    """Whether ``block``, all that stands from a zip member's local header to its data, is what the
    directory says of it.
    """
    try:
        header = parse_local_header(block)
    except ArchiveError:
        return False
    size, packed, crc = members.size(row), members.packed(row), members.crc(row)
    method = DEFLATED if packed else STORED
    told = ((header.crc, crc), (header.size, size), (header.packed, packed or size))
    if header.length != len(block) or header.method != method or header.flags & ENCRYPTED:
        return False
    if any(here not in (None, there) for here, there in told):
        return False
    name = block[SIZE : SIZE + header.name_length]
    cleaned = {sanitize_name(name), sanitize_name(name.replace(b"\\", b"/"))}
    return members.name(row) in cleaned or row in members.hard


def check_header(block: bytes, container: Container, row: int) -> None:
    """See that ``block``, what stands before a member's data (512 bytes in a tar, all of its header
    in a zip), is the header that its row was made from.

    For members whose data follow their header (all but sparse ones). Raises SourceChangedError.
    """
    members = container.members
    if container.extent.kind is Kind.ZIP:
        if isinstance(members, MemberTable) and is_zip_header_of(block, members, row):
            return
    elif header_matches(block, members, row):
        return
    raise SourceChangedError(
        f"{os.fsdecode(container.extent.path)} has something else where "
        f"{os.fsdecode(members.name(row))} was when it was indexed; unmount and mount again."
    )


def header_matches(block: bytes, members: Table, row: int) -> bool:
    """Whether the block is a sound header with two of a member's name, size and time: each may be
    overridden by extended headers.
    """
    row = members.owner(row)  # a hard link's data stand behind the header of what it is linked to
    if len(block) != BLOCK or not is_sound(block):
        return False
    holds = (
        _last_part(name_of(block)) == _last_part(members.name(row)),
        _number(block[124:136]) == members.size(row),
        _number(block[136:148]) == members.mtime_ns(row) // _NANOSECONDS,
    )
    return sum(holds) >= 2


def _last_part(name: bytes) -> bytes:
    """The name without its directories, which are cleaned when a table is made."""
    return name.rstrip(b"/").rpartition(b"/")[2]


def _number(field: bytes) -> int:
    try:
        return number(field)
    except ValueError:
        return -1
