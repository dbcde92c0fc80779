"""Blocks from index files: used only while they describe what is there."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index import index_file
from imagenetfs.index.archives import OUTER, Extent, Kind
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import Record, write_index_file
from imagenetfs.index.persisted import PersistedTables
from imagenetfs.index.records import record_of
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source
from tests.helpers.archives import class_tar, index_of
from tests.helpers.children import ended, in_child

ALL = frozenset([0, 1])


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda fd: None)


class Site:
    """A source of a tar and a directory, their index, and places for index files."""

    def __init__(self, top: Path) -> None:
        self.root = top / "source"
        (self.root / "d").mkdir(parents=True)
        (self.root / "t.tar").write_bytes(class_tar(1))
        (self.root / "d" / "x.JPEG").write_bytes(b"image")
        for path in (self.root / "d" / "x.JPEG", self.root / "d"):
            os.utime(path, (1000, 1000))
        self.source = Source(self.root)
        self.first, self.second = top / "first.idx", top / "second.idx"
        self.index: Index = index_of(self.root, "t.tar", "d")
        for archive in (0, 1):
            self.index.container(archive)

    def record(self, archive: int = 0) -> Record:
        found = record_of(self.index, archive, OUTER)
        assert found is not None
        return found

    def extent(self, archive: int = 0) -> Extent:
        return self.index.extent(archive, OUTER)

    def tables(self, *files: Path) -> PersistedTables:
        return PersistedTables(self.source, [(ALL, files or (self.first, self.second))])

    def block(
        self, tables: PersistedTables, archive: int = 0, *, now: bool = False
    ) -> bytes | None:
        key = self.index.key(archive, OUTER)
        return tables.block(archive, OUTER, key, self.extent(archive), now=now)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    one = Site(tmp_path)
    yield one
    one.source.close()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_without_a_file_there_is_none(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    tables = site.tables()
    assert site.block(tables) is None
    assert not tables.is_complete(0, site.index.key(0, OUTER))
    assert PersistedTables(site.source, []).block(0, OUTER, b"", site.extent()) is None
    assert caplog.text == ""


@pytest.mark.parametrize("archive", [0, 1])
def test_a_block_that_still_describes_what_is_there(site: Site, archive: int) -> None:
    write_index_file(site.first, [site.record(archive)])
    assert site.block(site.tables(), archive) == site.record(archive).block


def test_the_second_place_has_what_the_first_has_not(site: Site) -> None:
    write_index_file(site.first, [site.record(1)])
    write_index_file(site.second, [site.record(0)])
    assert site.block(site.tables()) == site.record(0).block


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_another_archive_of_the_same_length(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    write_index_file(site.first, [site.record()])
    (site.root / "t.tar").write_bytes(class_tar(2))
    tables = site.tables()
    for _ in range(3):
        assert site.block(tables) is None
    assert caplog.text.count("the archive is another one now; indexing t.tar anew") == 1


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_an_archive_of_another_length(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    write_index_file(site.first, [site.record()])
    with (site.root / "t.tar").open("ab") as file:
        file.write(bytes(512))
    tables = site.tables()
    found = tables.block(0, OUTER, site.index.key(0, OUTER), site.extent())
    assert found is None
    assert "the archive is another one" in caplog.text


@pytest.mark.expects_log("the directory has changed now; indexing d anew")
def test_a_directory_that_has_changed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    write_index_file(site.first, [site.record(1)])
    (site.root / "d" / "y.JPEG").write_bytes(b"")
    assert site.block(site.tables(), 1) is None
    assert "the directory has changed now; indexing d anew" in caplog.text


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_a_block_of_other_bytes_of_the_file_is_not_meant(site: Site) -> None:
    record = site.record()
    moved = Record(record.key, 512, record.stop, record.file_size, record.sample, record.block)
    write_index_file(site.first, [moved])
    assert site.block(site.tables()) is None


@pytest.mark.expects_log("a block of the index is damaged")
def test_a_block_without_what_it_is_known_by_is_damaged(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    """The listing of a directory in the place of a tar's table."""
    record, other = site.record(), site.record(1)
    mixed = Record(record.key, record.start, record.stop, record.file_size, 0, other.block)
    write_index_file(site.first, [mixed])
    assert site.block(site.tables()) is None
    assert "a block of the index is damaged" in caplog.text


@pytest.mark.expects_log("a block of the index file is damaged; indexing")
def test_a_damaged_file_gives_way_to_the_next(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    for path in (site.first, site.second):
        write_index_file(path, [site.record()])
    data = bytearray(site.first.read_bytes())
    data[data.index(site.record().block) + 20] ^= 1
    site.first.write_bytes(data)
    assert site.block(site.tables()) == site.record().block
    assert caplog.text.count(f"index file {site.first}") == 1


@pytest.mark.expects_log("it cannot be read")
def test_one_that_cannot_be_read_is_told_and_left(
    site: Site, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index_file(site.first, [site.record()])

    def fail(store: object, place: object) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(index_file.IndexFile, "block", fail)
    assert site.block(site.tables()) is None
    assert "it cannot be read (Input/output error); indexing anew" in caplog.text


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_of_all_processes_one_tells(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    write_index_file(site.first, [site.record()])
    (site.root / "t.tar").write_bytes(class_tar(2))
    tables = site.tables()
    assert ended(in_child(lambda: site.block(tables))) == 0
    assert site.block(tables) is None
    assert caplog.text == ""


# --- newer files ----------------------------------------------------------------------------------


def test_a_newer_file_is_found_after_a_second(site: Site, clock: list[float]) -> None:
    tables = site.tables(site.first)
    assert site.block(tables) is None
    write_index_file(site.first, [site.record()])
    assert site.block(tables) is None  # it has just been looked for
    clock[0] += 1.0
    assert site.block(tables) == site.record().block


def test_or_at_once_where_that_is_asked_for(site: Site, clock: list[float]) -> None:
    tables = site.tables(site.first)
    assert site.block(tables) is None
    write_index_file(site.first, [site.record()])
    assert site.block(tables, now=True) == site.record().block
    write_index_file(site.first, [])
    tables.refresh([0])
    assert site.block(tables) is None


def test_where_a_block_does_not_hold_a_newer_file_is_looked_for_at_once(
    site: Site, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    write_index_file(site.first, [site.record()])
    tables = site.tables(site.first)
    assert site.block(tables) is not None
    (site.root / "t.tar").write_bytes(class_tar(2))
    anew = index_of(site.root, "t.tar")
    anew.container(0)
    newer = record_of(anew, 0, OUTER)
    assert newer is not None
    write_index_file(site.first, [newer])
    assert site.block(tables) == newer.block
    assert caplog.text == ""


# --- what files say -------------------------------------------------------------------------------


@pytest.mark.parametrize("complete", [True, False])
def test_whether_a_file_is_complete(site: Site, complete: bool) -> None:
    write_index_file(site.first, [site.record()], complete=complete)
    tables = site.tables(site.first)
    assert tables.is_complete(0, site.index.key(0, OUTER)) is complete
    assert not tables.is_complete(0, b"another")


def test_whether_a_file_has_this_very_block(site: Site) -> None:
    write_index_file(site.first, [site.record()])
    tables, key, block = site.tables(), site.record().key, site.record().block
    assert tables.has(0, key, memoryview(block))
    assert not tables.has(0, key, memoryview(block[:-1] + b"?"))
    assert not tables.has(0, b"another", memoryview(block))


def test_a_record_has_what_its_container_is_known_by(site: Site) -> None:
    tar, directory = site.record(0), site.record(1)
    assert (tar.start, tar.stop) == (site.extent().start, site.extent().end)
    assert tar.file_size == (site.root / "t.tar").stat().st_size
    assert directory.file_size == 1  # rows


def test_a_directory_that_may_still_change_is_not_kept(site: Site) -> None:
    (site.root / "d" / "new.JPEG").write_bytes(b"")
    index = index_of(site.root, "t.tar", "d")
    index.container(1)
    assert record_of(index, 1, OUTER) is None
    assert site.extent(1).kind is Kind.DIRECTORY


def test_headers_by_which_it_is_known_are_asked_for_together(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_index_file(site.first, [site.record()])
    done: list[tuple[str, int]] = []
    read = SourceFile.read
    monkeypatch.setattr(SourceFile, "hint", lambda self, at, length: done.append(("hint", at)))

    def noted(self: SourceFile, offset: int, length: int) -> bytes:
        done.append(("read", offset))
        return read(self, offset, length)

    monkeypatch.setattr(SourceFile, "read", noted)
    assert site.block(site.tables()) is not None
    places = [at for what, at in done if what == "read"]
    assert len(places) > 1
    assert done == [("hint", at) for at in places] + [("read", at) for at in places]
