"""The header that stands before a member's data, and repeats what the directory says of it."""

from __future__ import annotations

import struct
from typing import NamedTuple

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip.directory import DESCRIPTOR
from imagenetfs.formats.zip.end import LOCAL

SIZE = 30
_RECORD = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF


class LocalHeader(NamedTuple):
    """``length``: from its first byte to the member's data. ``crc``, ``packed``, ``size`` are None
    where it does not say."""

    length: int
    flags: int
    method: int
    crc: int | None
    packed: int | None
    size: int | None
    name_length: int


def parse_local_header(block: bytes) -> LocalHeader:
    """Of a block's first 30 bytes. Raises ArchiveError where they are none."""
    if len(block) < SIZE or not block.startswith(LOCAL):
        raise ArchiveError("there is no header")
    _, _, flags, method, _, _, crc, packed, size, name, extra = _RECORD.unpack_from(block)
    told = not flags & DESCRIPTOR
    return LocalHeader(
        SIZE + name + extra,
        flags,
        method,
        crc if told else None,
        packed if told and packed != _FULL else None,
        size if told and size != _FULL else None,
        name,
    )
