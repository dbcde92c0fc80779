"""A small member's content, for those who must know it before anything is served: lists of labels,
the first bytes of what has no image's name.
"""

from __future__ import annotations

import os
import zlib

from imagenetfs.errors import DamagedMemberError, SourceReadError
from imagenetfs.formats.zip.inflate import inflate
from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.header_match import check_header
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source

_MOST_PACKED = 1 << 16


def whole_content(file: SourceFile, container: Container, row: int, limit: int) -> bytes:
    """All bytes of a member of the tar or zip that ``file`` is, its header and, in a zip, its sum
    looked at.

    Raises ArchiveError, DamagedMemberError and the source's errors; SourceReadError where it has
    more than ``limit``.
    """
    members = container.members
    assert isinstance(members, MemberTable)
    path, offset, size = container.locate(row)
    name = f"{os.fsdecode(path)}: {os.fsdecode(members.name(row))}"
    if size > limit:
        raise SourceReadError(f"{name} has {size:,} bytes, more than such a file can have.")
    packed, lead = members.packed(row), members.lead(row)
    if row in members.sparse:
        raise SourceReadError(f"{name} has holes in it: such a file is not read.")
    data = file.read(offset - lead, lead + (packed or size))
    check_header(data[:lead], container, row)
    crc = members.crc(row)
    if packed:
        return inflate(data[lead:], size, crc or 0)
    if crc is not None and zlib.crc32(data[lead:]) != crc:
        raise DamagedMemberError(f"{name} is damaged: its checksum does not hold.")
    return data[lead:]


def first_bytes(source: Source, container: Container, row: int, length: int) -> bytes:
    """So many bytes that a file begins with, fewer where it has no more: to judge by, for no sum is
    looked at. Raises the source's errors.
    """
    path, offset, size = container.locate(row)
    members, length = container.members, min(size, length)
    if container.extent.kind is Kind.DIRECTORY:
        with source.opened(path) as file:
            return file.read(0, min(length, file.size))
    packed = members.packed(row) if isinstance(members, MemberTable) else 0
    if not packed:
        return source.open(path).read(offset, length)
    data = source.open(path).read(offset, min(packed, _MOST_PACKED))
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, max(1, length))
    except zlib.error:
        return b""
