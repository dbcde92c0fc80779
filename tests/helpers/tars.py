"""Archives written by hand, block by block, and what a scan finds in them."""

from __future__ import annotations

from typing import Any

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.walk import MemberColumns, scan

END = b"\0" * 1024
USTAR, GNU, V7 = b"ustar\00000", b"ustar  \0", b"\0" * 8


def seal(block: bytes | bytearray, *, signed: bool = False) -> bytes:
    """The block with its checksum put in."""
    block = bytearray(block)
    block[148:156] = b" " * 8
    total = sum(block) - (256 * sum(byte > 127 for byte in block) if signed else 0)
    block[148:156] = b"%06o\0 " % total
    return bytes(block)


def header(
    name: bytes = b"a.JPEG",
    size: int | bytes = 0,
    kind: bytes = b"0",
    *,
    mtime: int | bytes = 7,
    link: bytes = b"",
    magic: bytes = USTAR,
    fields: dict[int, bytes] | None = None,
) -> bytes:
    """A header block; ``fields`` are bytes laid over it at an offset."""
    block = bytearray(512)
    for offset, value in {
        0: name,
        100: b"0000644\x000000000\x000000000\0",
        124: b"%011o\0" % size if isinstance(size, int) else size,
        136: b"%011o\0" % mtime if isinstance(mtime, int) else mtime,
        156: kind,
        157: link,
        257: magic,
        **(fields or {}),
    }.items():
        block[offset : offset + len(value)] = value
    return seal(block)


def padded(data: bytes) -> bytes:
    """The data up to the next multiple of 512 bytes."""
    return data + b"\0" * (-len(data) % 512)


def member(name: bytes = b"a.JPEG", data: bytes = b"", kind: bytes = b"0", **more: Any) -> bytes:
    return header(name, len(data), kind, **more) + padded(data)


def pax(*records: tuple[bytes, bytes], kind: bytes = b"x") -> bytes:
    payload = b""
    for keyword, value in records:
        body = b" %s=%s\n" % (keyword, value)
        length = len(body) + 1
        while len(b"%d" % length) + len(body) != length:
            length += 1
        payload += b"%d" % length + body
    return member(b"PaxHeaders/x", payload, kind)


def scanned(archive: bytes, start: int = 0, end: int | None = None) -> MemberColumns:
    columns = MemberColumns()
    end = len(archive) if end is None else end
    scan(lambda offset, length: archive[offset : offset + length], start, end, columns)
    return columns


def refused(archive: bytes) -> tuple[MemberColumns, ArchiveError]:
    columns = MemberColumns()
    with pytest.raises(ArchiveError) as caught:
        scan(lambda offset, length: archive[offset : offset + length], 0, len(archive), columns)
    lengths = {len(columns.names), len(columns.headers), len(columns.offsets), len(columns.sizes)}
    assert lengths | {len(columns.mtimes), len(columns.modes)} == {len(columns)}
    return columns, caught.value
