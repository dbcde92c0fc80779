"""What is within a single header block: numbers and checksums."""

from __future__ import annotations

from zlib import adler32

import pytest

from imagenetfs.formats.tar.header import ascii_adler, is_sound, number
from tests.helpers.tars import END, header, refused, scanned, seal


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
