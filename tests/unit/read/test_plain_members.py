"""Whole members of plain tars in fewer steps: the bytes and errors of the reader, or nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.errors import SourceChangedError, SourceReplacedError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.read.header_check import HeaderVerifier
from imagenetfs.read.plain_members import PlainMembers
from imagenetfs.read.reader import Reader
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import InodeKind, base, inode
from tests.helpers.archives import image, index_of, tar_of, train_tar
from tests.helpers.zips import zip_of

WHOLE = 1 << 62


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "t.tar").write_bytes(train_tar(3, 4))
    made = index_of(tmp_path, "t.tar")
    for inner in (OUTER, 0, 1, 2):
        made.container(0, inner)
    return made


def members_of(index: Index) -> PlainMembers:
    return PlainMembers(index, index.source, HeaderVerifier(index.source))


def numbers(index: Index) -> list[int]:
    return [
        inode(InodeKind.FILE, 0, inner, row)
        for inner in range(3)
        for row in range(len(index.container(0, inner).members))
    ]


def test_they_are_what_the_reader_reads(index: Index) -> None:
    plain, reader = members_of(index), Reader(index, index.source)
    for _ in range(2):  # also once the headers are verified
        for number in numbers(index):
            assert plain.read(number) == reader.read(number, 0, WHOLE) != b""


def test_the_first_reading_verifies_the_header_and_no_other(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []
    for name in ("read", "read_with_head"):
        real = getattr(SourceFile, name)

        def noted(self: SourceFile, *given: int, name: str = name, real: object = real) -> object:
            seen.append(name)
            return real(self, *given)  # type: ignore[operator]  # a method, by its name

        monkeypatch.setattr(SourceFile, name, noted)
    plain, one = members_of(index), numbers(index)[5]
    plain.read(one)
    assert seen[0] == "read_with_head"
    seen.clear()
    plain.read(one)
    assert seen == ["read"]


def test_what_another_has_verified_is_not_verified_again(index: Index) -> None:
    headers, one = HeaderVerifier(index.source), numbers(index)[2]
    first, other = (PlainMembers(index, index.source, headers) for _ in range(2))
    assert headers.verified[headers.slot(one)] == 0
    assert first.read(one) is not None
    assert headers.verified[headers.slot(one)] == one
    assert other.read(one) == first.read(one)


def test_what_it_leaves_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({"a": image(1), "empty": b""}))
    (tmp_path / "z.zip").write_bytes(zip_of({"a.JPEG": image(2), "b.JPEG": image(3)}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "loose").write_bytes(image(5))
    index = index_of(tmp_path, "t.tar", "z.zip", "d")
    plain = members_of(index)
    tar, of_zip, loose = (base(InodeKind.FILE, number, OUTER) for number in range(3))
    assert plain.read(tar) is None, "its table is not loaded yet"
    for number in range(3):
        index.container(number)
    assert plain.read(tar) == image(1)
    for left in (tar + 1, tar + 2, tar + (1 << 24), of_zip, loose):
        assert plain.read(left) is None


def test_with_a_cache_there_is_none(index: Index) -> None:
    class Cached(CacheBackend):
        """A backend that is not the source."""

        def __init__(self) -> None:
            """Nothing is asked of it."""

    assert Reader(index, index.source).plain_members(index.source) is not None
    assert Reader(index, index.source, None, Cached()).plain_members(index.source) is None


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
@pytest.mark.parametrize("more", [512, -512, -8_000], ids=["longer", "cut", "cut before it"])
def test_an_archive_of_another_length_is_refused(index: Index, tmp_path: Path, more: int) -> None:
    """S4 S24: never a short read."""
    plain = members_of(index)
    assert plain.read(numbers(index)[0]) is not None
    path = tmp_path / "t.tar"
    os.truncate(path, path.stat().st_size + more)
    with pytest.raises(SourceChangedError):
        plain.read(numbers(index)[-1])


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_a_header_that_is_another_refuses_the_archive(tmp_path: Path) -> None:
    """S9: also where size and times do not tell."""
    path = tmp_path / "t.tar"
    path.write_bytes(train_tar(1, 40))
    index = index_of(tmp_path, "t.tar")
    members, status = index.container(0, 0).members, path.stat()
    assert isinstance(members, MemberTable)
    sampled = members.meta.get("at", ())
    row = next(row for row in range(5, 40) if members.header(row) not in sampled)
    with path.open("r+b") as file:
        file.seek(members.header(row))
        file.write(b"another")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    plain = members_of(index)
    with pytest.raises(SourceReplacedError):
        plain.read(inode(InodeKind.FILE, 0, 0, row))
    with pytest.raises(SourceReplacedError):
        plain.read(inode(InodeKind.FILE, 0, 0, 0))


def test_it_reads_by_its_own_source(index: Index) -> None:
    twin: Source = index.source.twin()
    plain = PlainMembers(index, twin, HeaderVerifier(twin))
    before = dict(index.source._files)
    assert plain.read(numbers(index)[0]) is not None
    assert twin._files and index.source._files == before
    twin.close()
