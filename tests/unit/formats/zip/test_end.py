"""Where a zip's central directory stands: comments, programs before it, zip64, what is cut off."""

from __future__ import annotations

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip.end import CENTRAL, begins_as_zip, find_central_directory
from tests.helpers.zips import Member, raw_zip

MEMBERS = [Member(b"a", b"one"), Member(b"b", b"two", method=8)]


def find(data: bytes, start: int = 0, stop: int | None = None):  # type: ignore[no-untyped-def]
    return find_central_directory(
        lambda offset, length: data[offset : offset + length], start, stop or len(data)
    )


@pytest.mark.parametrize("zip64", [False, True])
@pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 9])
@pytest.mark.parametrize("comment", [b"", b"x" * 0xFFFF, b"PK\5\6" * 30, b"ends in PK\5\6"])
def test_wherever_it_stands(zip64: bool, before: bytes, comment: bytes) -> None:
    data = raw_zip(MEMBERS, before=before, comment=comment, zip64=zip64)
    found = find(data)
    assert data[found.start :].startswith(CENTRAL)
    assert data[found.end : found.end + 2] == b"PK"
    assert (found.shift, found.entries, found.problem) == (len(before), 2, "")


def test_within_another_file() -> None:
    inner = raw_zip(MEMBERS, comment=b"c")
    data = b"h" * 700 + inner + b"PK\5\6 and more of the outer one" * 9
    found = find(data, 700, 700 + len(inner))
    assert (found.shift, found.entries) == (700, 2)
    assert data[found.start :].startswith(CENTRAL)


def test_no_members() -> None:
    found = find(raw_zip([]))
    assert (found.start, found.end, found.entries) == (0, 0, 0)


def test_bytes_that_follow_its_end_are_told() -> None:
    assert find(raw_zip(MEMBERS, behind=b"garbage")).problem == "7 bytes follow its end"


def test_a_comment_that_is_cut_off_is_told() -> None:
    found = find(raw_zip(MEMBERS, comment=b"comment")[:-3])
    assert found.problem == "its comment is cut off by 3 bytes"


def test_members_whose_beginning_is_missing_are_found() -> None:
    """The first bytes were lost: the end record counts more than there are."""
    data = raw_zip(MEMBERS, before=b"x" * 100, shift=100)[60:]
    found = find(data)
    assert found.shift == -60
    assert data[found.start :].startswith(CENTRAL)
    assert found.problem == "its first 60 bytes are missing"


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"no zip at all" * 100])
def test_no_zip(data: bytes) -> None:
    with pytest.raises(ArchiveError, match="it has no end record"):
        find(data)


def test_a_cut_one() -> None:
    data = raw_zip(MEMBERS)
    for length in range(len(data)):
        with pytest.raises(ArchiveError):
            find(data[:length])


def test_one_of_several_parts() -> None:
    data = bytearray(raw_zip(MEMBERS))
    data[-18] = 2  # the number of this disk
    with pytest.raises(ArchiveError, match="one part of a zip in several"):
        find(bytes(data))


def test_what_begins_as_a_zip() -> None:
    assert begins_as_zip(raw_zip(MEMBERS))
    assert begins_as_zip(raw_zip([]))
    assert not begins_as_zip(b"PK and so on")


@pytest.mark.parametrize("more", [1, 1 << 20, 1 << 30])
def test_a_length_that_is_too_large_reads_nothing_behind_the_record(more: int) -> None:
    data = bytearray(raw_zip(MEMBERS))
    record = data.rindex(b"PK\5\6")
    size = int.from_bytes(data[record + 12 : record + 16], "little") + more
    data[record + 12 : record + 16] = size.to_bytes(4, "little")
    found = find(bytes(data))
    assert (found.end, found.entries) == (record, 2)
