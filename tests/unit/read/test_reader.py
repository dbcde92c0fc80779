"""From an inode and a range to bytes: exactly those, or an error."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from imagenetfs.errors import NoEntryError, SourceChangedError
from imagenetfs.index.archives import OUTER, Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.read.reader import Reader
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import InodeKind, inode
from tests.helpers.archives import class_tar, forget_files, image, index_of, tar_of, train_tar
from tests.helpers.randomness import seeded


def number(archive: int, inner: int, row: int) -> int:
    return inode(InodeKind.FILE, archive, inner, row)


def test_random_pieces(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3, 4))
    index = index_of(tmp_path, "t.tar")
    reader, rng = Reader(index, index.source), seeded("pieces")
    for _ in range(300):
        inner, row = rng.randrange(3), rng.randrange(4)
        data = image((inner + 1) * 100 + row, 600 + row)
        offset, length = rng.randrange(700), rng.randrange(700)
        assert reader.read(number(0, inner, row), offset, length) == data[offset : offset + length]


def test_the_outer_tar_and_loose_files(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(2))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "loose").write_bytes(image(5))
    index = index_of(tmp_path, "t.tar", "d")
    reader = Reader(index, index.source)
    assert reader.read(number(0, OUTER, 1), 0, 1 << 20) == class_tar(2)
    assert reader.read(number(1, OUTER, 0), 3, 9) == image(5)[3:12]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "d" / "sub").mkdir(parents=True)
    (tmp_path / "d" / "link").symlink_to("sub")
    index = index_of(tmp_path, "d")
    reader = Reader(index, index.source)
    for row in (0, 1):
        with pytest.raises(NoEntryError):
            reader.find(number(0, OUTER, row), 0, 1)
    for wrong in (number(0, OUTER, 2), number(0, 3, 0), number(5, OUTER, 0)):
        with pytest.raises(NoEntryError):
            reader.read(wrong, 0, 1)


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_an_archive_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3, 4))
    index = index_of(tmp_path, "t.tar")
    reader = Reader(index, index.source)
    assert reader.read(number(0, 2, 3), 0, 5)
    assert reader.read(number(0, 0, 3), 0, 5)
    os.truncate(tmp_path / "t.tar", index.extent(0, 2).start + 100)
    with pytest.raises(SourceChangedError):
        reader.read(number(0, 2, 3), 0, 5)
    with pytest.raises(
        SourceChangedError
    ):  # the archive is another one, also where it looks the same
        reader.read(number(0, 0, 3), 0, 5)
    later = Reader(index, Source(tmp_path))  # in a process that opens it now
    with pytest.raises(SourceChangedError, match="when it was indexed"):
        later.read(number(0, 2, 3), 0, 5)


def test_a_loose_file_that_was_cut(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(image(5))
    index = index_of(tmp_path, "d")
    index.container(0)
    os.truncate(tmp_path / "d" / "x", 10)
    with pytest.raises(SourceChangedError):
        Reader(index, index.source).read(number(0, OUTER, 0), 0, 100)


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
@pytest.mark.parametrize("more", [0, 20_480])
def test_an_archive_that_was_replaced(tmp_path: Path, more: int) -> None:
    def flat(order: tuple[int, int]) -> bytes:
        return tar_of({f"{n}.JPEG": image(n) for n in order})

    (tmp_path / "t.tar").write_bytes(flat((1, 2)))
    index = index_of(tmp_path, "t.tar")
    index.source.pin(b"t.tar")  # as the catalogue does before anybody forks
    assert Reader(index, index.source).read(number(0, OUTER, 0), 0, 1000) == image(1)
    (tmp_path / "new").write_bytes(flat((2, 1)) + bytes(more))
    (tmp_path / "new").rename(tmp_path / "t.tar")
    with pytest.raises(SourceChangedError, match="another file now"):
        Reader(index, index.source).read(number(0, OUTER, 0), 0, 1000)
    forget_files(index.source)  # as in a worker that opens it for the first time
    with pytest.raises(SourceChangedError, match="another file now"):
        Reader(index, index.source).read(number(0, OUTER, 0), 0, 1000)


def test_sparse_members(tmp_path: Path) -> None:
    stored, runs = os.urandom(3000), ((100, 1000), (1100, 500), (5000, 1500))
    whole = bytearray(7000)
    at = 0
    for start, length in runs:
        whole[start : start + length] = stored[at : at + length]
        at += length
    (tmp_path / "t.tar").write_bytes(bytes(512) + stored)
    rows = MemberRows([b"x"], [0], [512], [7000], [0], [stat.S_IFREG | 0o644], sparse={0: runs})
    arena = Arena(1)
    arena.put(arena.slot(0), encode_member_table(rows, {"file": 512 + len(stored)}))
    source = Source(tmp_path)
    reader, rng = (
        Reader(Index(source, [Archive(0, b"t.tar", Kind.TAR)], arena), source),
        seeded("pieces of a sparse file"),
    )
    for _ in range(300):
        offset, length = rng.randrange(7100), rng.randrange(3000)
        assert reader.read(number(0, OUTER, 0), offset, length) == whole[offset : offset + length]
    os.truncate(tmp_path / "t.tar", 600)
    assert reader.read(number(0, OUTER, 0), 2000, 100) == bytes(100)
    with pytest.raises(SourceChangedError):
        reader.read(number(0, OUTER, 0), 0, 7000)
