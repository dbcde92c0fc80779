"""Whether a header block is the one that a row was made from."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from imagenetfs.errors import SourceChangedError
from imagenetfs.formats.tar.walk import MemberColumns, scan
from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.container import Container
from imagenetfs.index.header_match import (
    check_header,
    header_matches,
    member_is_at,
)
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.header_check import is_header_of
from tests.helpers.plain_tar import BLOCK, header_of

MTIME = 1_300_000_000


def archive(form: int = tarfile.GNU_FORMAT) -> bytes:
    """Plain members, one of a path that is cleaned, one of a long name, and a hard link."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name in ("a.JPEG", "b.JPEG", "./d/c.JPEG", "l" * 150):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = 700, MTIME
            tar.addfile(info, io.BytesIO(os.urandom(700)))
        link = tarfile.TarInfo("h.JPEG")
        link.type, link.linkname = tarfile.LNKTYPE, "b.JPEG"
        tar.addfile(link)
    return buffer.getvalue()


def table_of(data: bytes) -> MemberTable:
    found, rows = MemberColumns(), MemberRows()
    scan(lambda offset, length: data[offset : offset + length], 0, len(data), found)
    for name in ("names", "headers", "offsets", "sizes", "mtimes", "modes", "hardlinks"):
        setattr(rows, name, getattr(found, name))
    return MemberTable(memoryview(encode_member_table(rows)))


DATA = archive()
MEMBERS = table_of(DATA)


def block_before(row: int) -> bytes:
    offset = MEMBERS.offset(row)
    return DATA[offset - BLOCK : offset]


def row_of(name: bytes) -> int:
    row = MEMBERS.find(name)
    assert row >= 0
    return row


A, B, C = row_of(b"a.JPEG"), row_of(b"b.JPEG"), row_of(b"d/c.JPEG")
LONG, LINK = row_of(b"l" * 150), row_of(b"h.JPEG")


@pytest.mark.parametrize(("row", "plain"), [(A, True), (B, True), (C, False), (LONG, False)])
def test_its_own_header(row: int, plain: bool) -> None:
    """The quick look knows those whose name stands in the header as it is."""
    assert is_header_of(block_before(row), MEMBERS, row) is plain
    assert header_matches(block_before(row), MEMBERS, row)


def test_a_hard_link_s_header_is_that_of_its_file() -> None:
    assert header_matches(block_before(B), MEMBERS, LINK)
    assert not is_header_of(block_before(B), MEMBERS, LINK)


def header(name: str = "a.JPEG", size: int = 700, mtime: int = MTIME) -> bytes:
    return header_of(name, size, mtime)


@pytest.mark.parametrize(
    ("block", "quick", "matches"),
    [
        (header(), True, True),
        (header(mtime=5), True, True),
        (header(size=699), False, True),
        (header(name="z.JPEG"), False, True),
        (header(name="x/a.JPEG"), False, True),
        (header(name="a.JPEGx"), False, True),
        (header(name="z.JPEG", size=699), False, False),
        (header(name="z.JPEG", mtime=5), False, False),
        (header(size=699, mtime=5), False, False),
        (bytes(512), False, False),
        (header()[:-1] + b"!", False, False),
        (header()[:100], False, False),
        (b"", False, False),
    ],
    ids=[
        *("the same", "touched", "another size", "another name", "in a directory", "a longer name"),
        *("another file", "another of its size", "another of its name", "zeros"),
        *("a flipped byte", "too short", "nothing"),
    ],
)
def test_two_of_three_must_hold(block: bytes, quick: bool, matches: bool) -> None:
    """Extended headers may say each of them otherwise."""
    assert is_header_of(block, MEMBERS, A) is quick
    assert header_matches(block, MEMBERS, A) is matches


@pytest.mark.parametrize("size", [b"x" * 11, b" " * 11, b"\x80" + bytes(10)])
def test_a_size_that_is_no_octal_number_is_no_quick_match(size: bytes) -> None:
    block = header()[:124] + size + header()[135:]
    assert not is_header_of(block, MEMBERS, A)


# --- by the parser --------------------------------------------------------------------------------


def is_at(data: bytes, row: int, members: MemberTable = MEMBERS) -> bool:
    return member_is_at(lambda at, length: data[at : at + length], len(data), members, row)


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_each_member_is_where_its_row_says(form: int) -> None:
    data = archive(form)
    members = table_of(data)
    for row in members.regular().tolist():
        if members.owner(row) == row:
            assert is_at(data, row, members), members.name(row)


@pytest.mark.parametrize("row", [A, C, LONG])
def test_another_member_there(row: int) -> None:
    at = MEMBERS.header(row)
    assert not is_at(DATA[:at] + header_of("z.JPEG", 700) + DATA[at + BLOCK :], row)


@pytest.mark.parametrize("there", [b"", bytes(512), b"\xff" * 512])
def test_no_member_there(there: bytes) -> None:
    at = MEMBERS.header(B)
    assert not is_at(DATA[:at] + there, B)


def test_one_of_another_size_there() -> None:
    at = MEMBERS.header(A)
    assert not is_at(DATA[:at] + header(size=701) + DATA[at + BLOCK :], A)


# --- or an error ----------------------------------------------------------------------------------


def test_a_header_that_is_another_is_an_error_that_names_both() -> None:
    container = Container(Extent(b"x/t.tar", 0, len(DATA), Kind.TAR), MEMBERS, len(DATA))
    check_header(block_before(A), container, A)
    with pytest.raises(SourceChangedError, match=r"x/t\.tar has something else where b\.JPEG was"):
        check_header(header("z.JPEG", 1), container, B)
