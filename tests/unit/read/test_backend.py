"""Bytes straight from the source: which file, where in it, and whether it still is the same."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.counters import REQUESTS
from imagenetfs.errors import SourceChangedError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.read.backend import FileExtent, SourceBackend, bytes_of
from imagenetfs.read.header_check import HeaderVerifier, MemberHeader
from tests.helpers.archives import class_tar, image, index_of


class Bytes:
    """An open file of known bytes that notes what it is asked for."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.asked: list[tuple[int, int]] = []

    def read(self, offset: int, length: int) -> bytes:
        self.asked.append((offset, length))
        return self.data[offset : offset + length]

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        raise AssertionError


# --- extents --------------------------------------------------------------------------------------


def test_an_extent_s_bytes() -> None:
    file = Bytes(bytes(range(256)) * 10)
    assert FileExtent(file, 700, 5).read() == file.data[700:705]
    assert bytes_of(FileExtent(file, 700, 5)) == file.data[700:705]
    assert bytes_of(b"as they are") == b"as they are"


# --- archives and files ---------------------------------------------------------------------------


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "t.tar").write_bytes(class_tar(1))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x.JPEG").write_bytes(image(7, 900))
    return index_of(tmp_path, "t.tar", "d")


def member_of(index: Index, row: int) -> tuple[Container, ByteRange, MemberHeader]:
    """A container, where the member of a row stands in it, and its header."""
    container = index.container(0)
    _, start, size = container.locate(row)
    header = HeaderVerifier(index.source).unverified(7, container, row)
    assert header is not None
    return container, ByteRange.sized(start, size), header


def test_a_member_is_where_the_table_says(index: Index) -> None:
    container, member, _ = member_of(index, 1)
    wanted = ByteRange.sized(member.start + 5, 100)
    found = SourceBackend(index.source).from_archive(0, container, wanted, member)
    assert tuple(found) == (index.source.open(b"t.tar"), member.start + 5, 100)
    assert found.read() == image(101, 601)[5:105]


def test_from_the_first_byte_on_the_header_comes_along(index: Index) -> None:
    container, member, header = member_of(index, 1)
    found = SourceBackend(index.source).from_archive(0, container, member, member, header)
    before = index.source.meter[REQUESTS]
    assert not header.is_verified()
    assert found.read() == image(101, 601)
    assert header.is_verified()
    assert index.source.meter[REQUESTS] == before + 1


def test_from_another_byte_on_it_is_read_before(index: Index) -> None:
    container, member, header = member_of(index, 1)
    wanted = ByteRange.sized(member.start + 9, 5)
    found = SourceBackend(index.source).from_archive(0, container, wanted, member, header)
    assert header.is_verified()
    assert found.file is index.source.open(b"t.tar")
    assert found.read() == image(101, 601)[9:14]


def test_an_archive_of_another_size_is_another_one(index: Index, tmp_path: Path) -> None:
    container = index.container(0)
    with (tmp_path / "t.tar").open("ab") as file:
        file.write(bytes(512))
    index.source._files.pop(b"t.tar").close()
    index.source.recognise = None
    size = container.file_size
    with pytest.raises(SourceChangedError, match=rf"{size + 512:,} bytes now, and had {size:,}"):
        SourceBackend(index.source).from_archive(
            0, container, ByteRange(512, 517), ByteRange(512, 700)
        )


def test_a_loose_file(index: Index) -> None:
    container = index.container(1)
    found = SourceBackend(index.source).from_file(1, OUTER, container, 0, ByteRange(10, 30))
    assert found.read() == image(7, 900)[10:30]


def test_a_loose_file_of_another_size_is_another_one(index: Index, tmp_path: Path) -> None:
    container = index.container(1)
    (tmp_path / "d" / "x.JPEG").write_bytes(b"x")
    with pytest.raises(SourceChangedError, match="touch the directory or clear the index"):
        SourceBackend(index.source).from_file(1, OUTER, container, 0, ByteRange(0, 1))


class Unpacked:
    """What deflated arrays hold."""

    def path(self, archive: int) -> bytes:
        return b"t.tar"

    def read(self, archive: int, offset: int, length: int) -> bytes:
        return b"%d: %d, %d" % (archive, offset, length)


class Rows:
    row_bytes = 12


def test_a_row_of_a_deflated_array(index: Index) -> None:
    found = SourceBackend(index.source).from_unpacked(
        4, cast(ArrayTable, Rows()), 3, cast(InflatedArrays, Unpacked())
    )
    assert found == b"4: 36, 12"
