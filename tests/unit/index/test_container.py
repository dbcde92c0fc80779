"""Where a container's members' bytes are."""

from __future__ import annotations

import stat

import pytest

from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.container import Container
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable
from tests.helpers.tables import members_of

FILE, DIRECTORY = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


def table(*rows: tuple[bytes, int, int], mode: int = FILE) -> MemberTable:
    """Of (name, offset, size)."""
    one = MemberRows()
    for name, offset, size in rows:
        one.names.append(name)
        one.headers.append(offset - 512)
        one.offsets.append(offset)
        one.sizes.append(size)
        one.mtimes.append(0)
        one.modes.append(mode)
    return MemberTable(memoryview(encode_member_table(one)))


def extent(kind: Kind, path: bytes = b"a/t") -> Extent:
    return Extent(path, 0, 1 << 20, kind)


ROWS = ((b"x.JPEG", 512, 100), (b"y.JPEG", 2048, 700))


@pytest.mark.parametrize("kind", [Kind.TAR, Kind.NPZ])
def test_a_member_stands_in_its_archive(kind: Kind) -> None:
    container = Container(extent(kind), table(*ROWS), 5000)
    assert container.file_size == 5000
    assert [container.locate(row) for row in (0, 1)] == [(b"a/t", 512, 100), (b"a/t", 2048, 700)]


@pytest.mark.parametrize(("path", "file"), [(b"a/t", b"a/t/y.JPEG"), (b"", b"y.JPEG")])
def test_a_loose_file_is_a_file_of_its_own(path: bytes, file: bytes) -> None:
    container = Container(extent(Kind.DIRECTORY, path), table(*ROWS), 0)
    assert container.locate(1) == (file, 0, 700)


def test_a_row_is_looked_at_before_it_is_located() -> None:
    asked: list[int] = []
    container = Container(extent(Kind.TAR), table(*ROWS), 5000, asked.append)
    container.locate(1)
    assert asked == [1]

    def refuse(row: int) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        Container(extent(Kind.TAR), table(*ROWS), 5000, refuse).locate(0)


def test_plain_tables_are_those_of_tars_read_as_they_stand() -> None:
    plain = table(*ROWS)
    assert Container(extent(Kind.TAR), plain, 5000).plain is plain
    assert Container(extent(Kind.DIRECTORY), plain, 0).plain is None
    assert Container(extent(Kind.NPZ), plain, 5000).plain is None
    assert Container(extent(Kind.TAR), plain, 5000, lambda row: None).plain is None
    directories = table((b"d", 512, 0), mode=DIRECTORY)
    assert Container(extent(Kind.TAR), directories, 5000).plain is None


@pytest.mark.parametrize(("second", "is_plain"), [(0o444, True), (0o755, True), (None, False)])
def test_files_of_several_modes_are_plain(second: int | None, is_plain: bool) -> None:
    mode = DIRECTORY if second is None else stat.S_IFREG | second
    members = members_of([(b"a", FILE), (b"b", mode)])
    container = Container(extent(Kind.TAR), members, 5000)
    assert container.plain is (members if is_plain else None)
