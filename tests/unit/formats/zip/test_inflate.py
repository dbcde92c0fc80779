"""Deflated members: the bytes, or a reason; never other bytes, nor more memory."""

from __future__ import annotations

import tracemalloc
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip.inflate import inflate
from tests.helpers.examples import examples
from tests.helpers.zips import deflate


@examples()
@given(st.binary(max_size=2000))
def test_what_was_deflated(data: bytes) -> None:
    assert inflate(deflate(data), len(data), zlib.crc32(data)) == data


DATA = b"some text, some text" * 50
PACKED = deflate(DATA)


@pytest.mark.parametrize(
    ("packed", "size", "crc", "reason"),
    [
        (PACKED, len(DATA) - 1, 0, "more than the 999 bytes"),
        (PACKED, len(DATA) + 1, 0, "it has 1,000 bytes, and the directory says 1,001"),
        (PACKED, len(DATA), 0, "checksum does not hold"),
        (PACKED[:-1], len(DATA), 0, "have no end"),
        (PACKED[:9], len(DATA), 0, "have no end"),
        (b"", 5, 0, "have no end"),
        (PACKED + b"x", len(DATA), zlib.crc32(DATA), "something stands behind"),
        (b"\xff" * 20, 10, 0, "cannot be inflated"),
    ],
)
def test_anything_else(packed: bytes, size: int, crc: int, reason: str) -> None:
    with pytest.raises(ArchiveError, match=reason):
        inflate(packed, size, crc)


@pytest.mark.slow
def test_a_bomb_takes_no_more_memory_than_it_says() -> None:
    packed = deflate(bytes(1 << 26))
    tracemalloc.start()
    try:
        with pytest.raises(ArchiveError, match="more than the 1,000 bytes"):
            inflate(packed, 1000, 0)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_any_flipped_byte_is_refused() -> None:
    for at in range(len(PACKED)):
        changed = bytearray(PACKED)
        changed[at] ^= 0x55
        with pytest.raises(ArchiveError):
            inflate(bytes(changed), len(DATA), zlib.crc32(DATA))
