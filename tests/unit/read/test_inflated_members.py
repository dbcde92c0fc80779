"""The deflated members that a process keeps: bounded, and verified before anything is given out."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest

from imagenetfs.counters import REQUESTS
from imagenetfs.errors import ArchiveError, SourceReplacedError
from imagenetfs.formats.zip.inflate import MOST_ANY_GROWTH, MOST_GROWTH, MOST_INFLATED
from imagenetfs.index.archives import OUTER
from imagenetfs.read.inflated_members import InflatedMembers
from imagenetfs.read.reader import Reader
from imagenetfs.tree.inode import InodeKind, inode
from tests.helpers.archives import forget_files, index_of
from tests.helpers.zips import Member, deflate, raw_zip


def take(members: InflatedMembers, number: int, size: int) -> bytes:
    data = bytes([number]) * size
    return members.inflate(number, deflate(data), size, zlib.crc32(data))


def test_the_last_ones_are_kept() -> None:
    members = InflatedMembers(1000)
    for number in (1, 2, 3):
        assert take(members, number, 400) == bytes([number]) * 400
    assert members.find(1) is None
    assert members.find(2) == b"\2" * 400
    take(members, 4, 400)
    assert members.find(3) is None  # 2 was asked for later
    assert members.find(2) == b"\2" * 400


def test_a_large_one_is_kept_alone() -> None:
    members = InflatedMembers(1000)
    take(members, 1, 400)
    take(members, 2, 5000)
    assert members.find(1) is None
    assert len(members.find(2) or b"") == 5000
    take(members, 3, 10)
    assert members.find(2) is None
    assert members.find(3) == b"\3" * 10


def test_what_is_not_sound_is_not_kept() -> None:
    members = InflatedMembers(1000)
    with pytest.raises(ArchiveError):
        members.inflate(1, deflate(b"x" * 10), 10, 5)
    assert members.find(1) is None


def test_what_is_too_large_is_not_inflated() -> None:
    with pytest.raises(ArchiveError, match="has 268,435,457 bytes: files of more than 268,435,456"):
        InflatedMembers().inflate(1, bytes(MOST_INFLATED // MOST_GROWTH), MOST_INFLATED + 1, 0)


@pytest.mark.slow
def test_a_small_zip_costs_little_memory() -> None:
    """A bomb is refused before it is inflated; what grows as text does is inflated at any size."""
    size = 20 * MOST_ANY_GROWTH
    with pytest.raises(ArchiveError, match="that grow over 10 times, are not inflated"):
        InflatedMembers().inflate(1, deflate(bytes(size)), size, zlib.crc32(bytes(size)))
    assert take(InflatedMembers(), 1, MOST_ANY_GROWTH) == b"\1" * MOST_ANY_GROWTH
    rows = b"".join(b"n%08d, %d 115 49 448 294\n" % (n * n, n) for n in range(500_000))
    assert len(rows) > MOST_ANY_GROWTH
    assert InflatedMembers().inflate(2, deflate(rows), len(rows), zlib.crc32(rows)) == rows


# --- through a reader -----------------------------------------------------------------------------

TEXT = b"deflated " * 3000


def test_it_is_read_once_for_several_requests(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(raw_zip([Member(b"a", TEXT, method=8)]))
    index = index_of(tmp_path, "x.zip")
    reader, number = Reader(index, index.source), inode(InodeKind.FILE, 0, OUTER, 0)
    assert reader.read(number, 5, 10) == TEXT[5:15]
    before = index.source.meter[REQUESTS]
    assert reader.read(number, 0, 1 << 20) == TEXT
    assert reader.read(number, len(TEXT) - 3, 100) == TEXT[-3:]
    assert reader.read(number, len(TEXT), 100) == b""
    assert index.source.meter[REQUESTS] == before


BAD = {
    "another sum": Member(b"bad", TEXT, method=8, told_crc=5, local_crc=5),
    "more than it says": Member(b"bad", TEXT, method=8, told_size=9000, streamed=True),
    "less than it says": Member(b"bad", TEXT, method=8, told_size=28_000, streamed=True),
    "no deflate": Member(b"bad", TEXT, method=8, packed=b"\xff" * 40),
    "too large": Member(b"bad", b"", method=8, packed=bytes(1 << 19), told_size=MOST_INFLATED + 1),
    "another header": Member(b"bad", TEXT, method=8, local_crc=1),
    "another header of a stored one": Member(b"bad", TEXT, local_crc=1),
}


@pytest.mark.parametrize("what", BAD)
def test_one_bad_member_fails_alone(tmp_path: Path, what: str) -> None:
    members = [Member(b"a", TEXT, method=8), BAD[what], Member(b"c", TEXT)]
    (tmp_path / "x.zip").write_bytes(raw_zip(members))
    index = index_of(tmp_path, "x.zip")
    reader, rows = Reader(index, index.source), index.container(0).members
    for offset, length in ((0, 1 << 20), (100, 10)):
        with pytest.raises(ArchiveError, match=r"^x.zip: bad cannot be read: "):
            reader.read(inode(InodeKind.FILE, 0, OUTER, rows.find(b"bad")), offset, length)
    for name in (b"a", b"c"):
        assert reader.read(inode(InodeKind.FILE, 0, OUTER, rows.find(name)), 0, 1 << 20) == TEXT


@pytest.mark.expects_log("is another file now")
@pytest.mark.parametrize("method", [0, 8])
def test_of_another_zip_nothing_is_given_out(tmp_path: Path, method: int) -> None:
    def write(text: bytes) -> None:
        data = raw_zip([Member(b"a", text, method=method), Member(b"b", text, method=method)])
        (tmp_path / "x.zip").write_bytes(data)

    write(TEXT)
    index = index_of(tmp_path, "x.zip")
    reader = Reader(index, index.source)
    assert reader.read(inode(InodeKind.FILE, 0, OUTER, 0), 0, 9) == TEXT[:9]
    write(TEXT.replace(b"e", b"f"))
    forget_files(index.source)
    with pytest.raises(SourceReplacedError):
        reader.read(inode(InodeKind.FILE, 0, OUTER, 1), 0, 9)
