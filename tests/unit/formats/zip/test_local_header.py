"""The header before a member's data."""

from __future__ import annotations

import zlib

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip.local_header import SIZE, parse_local_header
from tests.helpers.zips import Member, raw_zip


def test_what_it_says() -> None:
    data = raw_zip([Member(b"name", b"content", local_extra=b"\1\2\0\0\0")])
    header = parse_local_header(data)
    assert tuple(header) == (SIZE + 4 + 5, 0, 0, zlib.crc32(b"content"), 7, 7, 4)
    assert data[header.length :].startswith(b"content")


def test_what_it_leaves_to_others() -> None:
    streamed = parse_local_header(raw_zip([Member(b"n", b"content", streamed=True)]))
    assert (streamed.crc, streamed.packed, streamed.size) == (None, None, None)
    wide = parse_local_header(raw_zip([Member(b"n", b"content", wide=True)]))
    assert (wide.crc, wide.packed, wide.size) == (zlib.crc32(b"content"), None, None)


@pytest.mark.parametrize("block", [b"", b"PK\3\4", b"PK\1\2" + bytes(40)])
def test_what_is_none(block: bytes) -> None:
    with pytest.raises(ArchiveError):
        parse_local_header(block)
