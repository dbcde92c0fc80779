"""Archives written by hand, byte by byte, for the other test_tar modules; and the tests of what is
within a single header block: numbers and checksums."""

from __future__ import annotations

from zlib import adler32

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import ascii_adler, is_sound, number
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
    return data + b"\0" * (-len(data) % 512)


def member(name: bytes = b"a.JPEG", data: bytes = b"", kind: bytes = b"0", **more: object) -> bytes:
    return header(name, len(data), kind, **more) + padded(data)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"00000000017\0", 15),
        (b"         17 ", 15),
        (b"000000000017", 15),
        (b"17 000000000", 15),
        (b"\x000000000017\0", 15),
        (b"\0" * 12, 0),
        (b"777777777777", 8**12 - 1),
        (b"\x80" + b"\0" * 7 + b"\2\0\0\0", 2 << 24),
        (b"\xff" * 11 + b"\xfe", -2),
    ],
)
def test_numbers(field: bytes, value: int) -> None:
    assert number(field) == value


@pytest.mark.parametrize(
    "field",
    [
        b" " * 12,
        b"00000000018\0",
        b"0000_000_10\0",
        b"-0000000001\0",
        b"+0000000001\0",
        b"\x81" + b"\0" * 11,
        b"0x000000001\0",
        b"00000000001x",
    ],
)
def test_what_is_no_number(field: bytes) -> None:
    with pytest.raises(ValueError, match="octal"):
        number(field)
    assert refused(header(b"x", field) + END)[1].offset == 0


def test_signed_checksums_of_names_beyond_ascii_hold() -> None:
    name = "häßlich.JPEG".encode("latin-1")
    block = header(name, 0)
    assert is_sound(block)
    assert is_sound(seal(block, signed=True))
    assert seal(block, signed=True) != block
    assert scanned(seal(block, signed=True) + END).names == [name]


def test_a_sum_that_is_right_only_modulo_65521_is_wrong() -> None:
    block = bytearray(header(b"x"))
    block[160:500] = b"\xff" * 340
    block = bytearray(seal(block))
    assert is_sound(bytes(block))
    block[148:154] = b"%06o" % (int(block[148:154], 8) - 65521)
    assert adler32(block) & 0xFFFF == ascii_adler(bytes(block[148:156]))  # zlib's sum is fooled
    assert not is_sound(bytes(block))
