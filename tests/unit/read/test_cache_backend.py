"""Which volume holds a file's bytes, where they come from, and what is asked of the source."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.segment import BLOCK
from imagenetfs.cache.volume import Volume
from imagenetfs.counters import REQUESTS, WAITING
from imagenetfs.errors import SourceChangedError, SourceReplacedError
from imagenetfs.index.archives import OUTER
from imagenetfs.read import cache_backend
from imagenetfs.read.backend import bytes_of
from imagenetfs.read.cache_backend import (
    CacheBackend,
    FileOrigin,
    HeaderCheckingOrigin,
    Volumes,
)
from imagenetfs.read.header_check import MemberHeader
from tests.helpers.archives import class_tar, close, forget_files, image, index_of
from tests.helpers.clocks import FakeClock

DATA = bytes(range(256)) * 40


@dataclass
class File:
    """An open file of the source."""

    data: bytes = DATA
    mtime_ns: int = 5
    identity: tuple[int] = (7,)
    fd: int = -1

    def __post_init__(self) -> None:
        self.asked: list[tuple[int, int]] = []
        self.hinted: list[tuple[int, int]] = []

    @property
    def size(self) -> int:
        return len(self.data)

    def read(self, offset: int, length: int) -> bytes:
        assert offset >= 0 and offset + length <= self.size
        self.asked.append((offset, length))
        return self.data[offset : offset + length]

    def hint(self, offset: int, length: int) -> None:
        self.hinted.append((offset, length))


def origin_of(file: File, start: int = 0, inode: int | None = 7) -> FileOrigin:
    open_file = cast(Any, lambda path: file)
    return FileOrigin(open_file, b"t.tar", len(DATA), 5, inode, start)


# --- where bytes come from ------------------------------------------------------------------------


def test_offsets_are_the_volumes() -> None:
    file = File()
    assert origin_of(file, start=1000).read(1007, 9) == DATA[7:16]
    assert file.asked == [(7, 9)]


def test_a_file_of_another_size_is_not_read() -> None:
    file = File(DATA[1:])
    with pytest.raises(SourceChangedError, match=r"t\.tar"):
        origin_of(file).read(0, 9)
    assert file.asked == []


@pytest.mark.parametrize(
    ("file", "inode", "same"),
    [
        (File(), 7, True),
        (File(mtime_ns=6), 7, False),
        (File(DATA + b"x"), 7, False),
        (File(identity=(8,)), 7, False),
        (File(identity=(8,)), None, True),  # of a file of a directory no inode is known
    ],
)
def test_whether_it_is_the_same(file: File, inode: int | None, same: bool) -> None:
    assert origin_of(file, inode=inode).is_same() is same


def test_to_have_the_kernel_forget_may_fail() -> None:
    origin_of(File(fd=-1)).forget(0, 512)


class Header:
    """A member's header of 512 bytes, not verified yet."""

    length = 512

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def is_verified(self) -> bool:
        return bool(self.seen)

    def verify(self, block: bytes) -> None:
        self.seen.append(block)


START = 2048
HEAD = DATA[START - 512 : START]


@pytest.mark.parametrize(
    ("offset", "length", "asked", "is_seen"),
    [
        (START, 100, (START - 512, 612), True),  # the member's first byte: fetched with it
        (START - 512, 700, (START - 512, 700), True),  # it lies within
        (1024, 3000, (1024, 3000), True),
        (START + 1, 100, (START + 1, 100), False),
        (1024, START - 1024 - 1, (1024, START - 1024 - 1), False),  # its last byte is missing
        (START - 100, 300, (START - 100, 300), False),
        (0, 100, (0, 100), False),
    ],
)
def test_a_header_is_verified_where_it_is_fetched(
    offset: int, length: int, asked: tuple[int, int], is_seen: bool
) -> None:
    file, header = File(), Header()
    origin = HeaderCheckingOrigin(origin_of(file), START, cast(MemberHeader, header))
    assert origin.read(offset, length) == DATA[offset : offset + length]
    assert file.asked == [asked]
    assert header.seen == [HEAD] * is_seen


def test_a_verified_header_is_not_fetched_again() -> None:
    file, header = File(), Header()
    header.seen = [HEAD]
    origin = HeaderCheckingOrigin(origin_of(file), START, cast(MemberHeader, header))
    assert origin.read(START, 5) == DATA[START : START + 5]
    assert (file.asked, header.seen) == ([(START, 5)], [HEAD])
    assert origin.is_same()


# --- a source -------------------------------------------------------------------------------------


class Site:
    """A tar and a directory of two files, through a cache."""

    def __init__(self, top: Path) -> None:
        (top / "s" / "d").mkdir(parents=True)
        (top / "s" / "t.tar").write_bytes(class_tar(1))
        self.files = {"a.JPEG": image(1, BLOCK + 5), "b.JPEG": image(2, 300), "c.JPEG": b""}
        for name, data in self.files.items():
            (top / "s" / "d" / name).write_bytes(data)
        prepare(top / "cache")
        self.index = index_of(top / "s", "t.tar", "d")
        self.source = self.index.source
        self.cache = BlockCache(CacheDirectory(top / "cache"), Limits(1 << 30, 0))
        self.volumes = Volumes(self.index, self.source, {0: "V"})
        self.backend = CacheBackend(self.cache, self.volumes, self.source)

    def read_file(self, row: int, start: int, end: int) -> bytes:
        wanted = ByteRange(start, end)
        found = self.backend.from_file(1, OUTER, self.index.container(1), row, wanted)
        return bytes_of(found)

    def read_member(self, row: int, header: Header | None = None) -> bytes:
        container = self.index.container(0)
        _, start, size = container.locate(row)
        member = ByteRange.sized(start, size)
        given = cast(MemberHeader | None, header)
        return bytes_of(self.backend.from_archive(0, container, member, member, given))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    found = Site(tmp_path)
    yield found
    found.cache.close()
    close(found.index)


def test_members_and_files_and_the_second_time_from_the_cache(site: Site) -> None:
    expected = [image(100 + k, 600 + k) for k in range(3)]
    assert [site.read_member(row) for row in range(3)] == expected
    for row, data in enumerate(site.files.values()):
        if data:
            assert site.read_file(row, 0, len(data)) == data
            assert site.read_file(row, 7, 20) == data[7:20]
    before = site.source.meter[REQUESTS]
    assert [site.read_member(row) for row in range(3)] == expected
    assert site.read_file(0, BLOCK - 3, BLOCK + 5) == site.files["a.JPEG"][BLOCK - 3 :]
    assert site.source.meter[REQUESTS] == before


def test_each_file_of_a_directory_begins_at_a_block(site: Site) -> None:
    known = site.volumes.of_files(1, OUTER)
    assert known.starts.tolist() == [0, 2 * BLOCK, 3 * BLOCK]
    assert (known.volume.size, known.volume.apart) == (3 * BLOCK, True)
    assert known.volume.about["files"] == 3
    assert known.volume.about["size"] == BLOCK + 305


def test_another_listing_is_another_volume(site: Site) -> None:
    directory, keys = site.source.path / "d", list[bytes]()
    for name in ("a.JPEG", "c.JPEG"):
        os.utime(directory / name, (1, 1))
    for time in (5, 9, 5):
        os.utime(directory / "b.JPEG", (time, time))
        index = index_of(site.source.path, "t.tar", "d")
        keys.append(Volumes(index, index.source, {}).of_files(1, OUTER).volume.key)
        close(index)
    assert keys[0] == keys[2] != keys[1]


@pytest.mark.expects_log("t.tar is another file now")
def test_an_archive_of_another_size_has_no_volume(site: Site) -> None:
    site.index.container(0)
    forget_files(site.source)
    with (site.source.path / "t.tar").open("ab") as file:
        file.write(b"x")
    with pytest.raises(SourceChangedError):
        site.volumes.of_archive(0)


def test_what_people_are_told_of_a_volume(site: Site) -> None:
    volume, origin = site.volumes.of_archive(0)
    about = {"source": str(site.source.path), "version": "V", "archive": "t.tar"}
    assert {**volume.about} == {**about, "size": volume.size}
    assert (origin.path, site.volumes.path(0)) == (b"t.tar", b"t.tar")
    assert site.volumes.of_files(1, OUTER).volume.about["version"] == ""


def test_a_header_that_no_fetch_has_brought_is_read(site: Site) -> None:
    """It was cached, with the end of the member before it."""
    for row in range(3):
        site.read_member(row)
    container = site.index.container(0)
    _, start, _ = container.locate(1)
    before, header = site.source.meter[REQUESTS], Header()
    site.read_member(1, header)
    assert site.source.meter[REQUESTS] == before, "it is not read from the source again"
    assert header.seen == [(site.source.path / "t.tar").read_bytes()[start - 512 : start]]


def test_a_header_that_is_wrong_gives_no_byte(site: Site) -> None:
    class Wrong(Header):
        def verify(self, block: bytes) -> None:
            raise SourceReplacedError("another member stands there.")

    with pytest.raises(SourceReplacedError):
        site.read_member(1, Wrong())
    site.read_member(1)
    with pytest.raises(SourceReplacedError):  # of the cache neither
        site.read_member(1, Wrong())


def test_permission_is_asked_again_after_a_while(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, asked = FakeClock(), list[bytes]()
    monkeypatch.setattr(cache_backend, "time", clock)
    monkeypatch.setattr(site.source, "check_access", asked.append)
    site.read_member(0)
    site.read_member(1)
    site.backend.check_access(b"t.tar")
    assert asked == [b"t.tar"]
    clock.advance(59.9)
    site.read_member(0)
    assert asked == [b"t.tar"]
    clock.advance(0.1)
    site.read_member(0)
    site.read_file(1, 0, 5)
    assert asked == [b"t.tar", b"t.tar", b"d"]


def test_a_refusal_is_asked_again_at_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bytes] = []

    def refuse(path: bytes) -> None:
        asked.append(path)
        raise PermissionError

    monkeypatch.setattr(site.source, "check_access", refuse)
    for _ in range(2):
        with pytest.raises(PermissionError):
            site.read_member(0)
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("start", "wanted", "hinted"),
    [
        (0, (BLOCK + 5, BLOCK + 9), (BLOCK, 2 * BLOCK)),
        (0, (BLOCK - 1, BLOCK + 1), (0, 2 * BLOCK)),
        (0, (3 * BLOCK, 3 * BLOCK + 2), (3 * BLOCK, 3 * BLOCK + 100)),  # no further than its end
        (4 * BLOCK, (4 * BLOCK + 5, 4 * BLOCK + 6), (0, BLOCK)),  # of the file, not the volume
    ],
)
def test_whole_blocks_are_announced(
    site: Site, start: int, wanted: tuple[int, int], hinted: tuple[int, int]
) -> None:
    file = File(bytes(3 * BLOCK + 100))
    origin = FileOrigin(cast(Any, lambda path: file), b"t.tar", file.size, 5, 7, start)
    volume = Volume(b"k" * 32, start + file.size, {})
    site.backend._announce(volume, origin, ByteRange(*wanted))
    assert file.hinted == [(hinted[0], hinted[1] - hinted[0])]


def test_what_is_cached_is_not_announced(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    file = File()
    monkeypatch.setattr(site.backend, "_open", lambda path: file)
    container = site.index.container(1)
    site.backend.announce_file(1, OUTER, container, 1)
    assert file.hinted == [(0, 300)]
    monkeypatch.undo()
    site.read_file(1, 0, 300)
    monkeypatch.setattr(site.backend, "_open", lambda path: file)
    site.backend.announce_file(1, OUTER, container, 1)
    assert len(file.hinted) == 1


def test_a_wait_is_shown_where_the_source_counts(site: Site) -> None:
    site.volumes.show_waiting(True)
    assert site.source.meter[WAITING] > 0
    site.volumes.show_waiting(False)
    assert site.source.meter[WAITING] == 0


def test_a_twin_reads_by_its_own_files(site: Site) -> None:
    twin = site.backend.twin(site.source.twin())
    assert twin.cache is not site.backend.cache
    container = site.index.container(0)
    _, start, size = container.locate(0)
    member = ByteRange.sized(start, size)
    assert bytes_of(twin.from_archive(0, container, member, member)) == site.read_member(0)
    twin.cache.close()
    twin._source.close()
