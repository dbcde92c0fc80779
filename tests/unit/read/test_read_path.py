"""The read path of a catalogue, its twins for threads, and reads that are announced."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.fetcher import WantedBytes
from imagenetfs.cache.quota import CacheSetup, Limits
from imagenetfs.cache.segment import BLOCK
from imagenetfs.counters import REQUESTS
from imagenetfs.index.archives import Kind
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.read.read_path import ReadPath, cache_backend
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.inode import fields
from tests.helpers.archives import close, tar_of
from tests.helpers.block_cache import Steady
from tests.helpers.sources import TRAIN, train_and_test

Hints = list[tuple[int, int]]


@pytest.fixture
def catalogue(tmp_path: Path) -> Iterator[Catalogue]:
    source = train_and_test(tmp_path / "imagenet", classes=3, images=4)
    found = build_catalogue(Source(source), places=IndexSearchPath(None, source))
    yield found
    close(found.index)


@pytest.fixture
def hints(monkeypatch: pytest.MonkeyPatch) -> Hints:
    asked: Hints = []
    monkeypatch.setattr(SourceFile, "hint", lambda self, at, length: asked.append((at, length)))
    return asked


def inodes(catalogue: Catalogue) -> list[int]:
    split = catalogue.versions[0].splits[0]
    some = [split.backend.listing(number) for number in range(len(split.backend.classes))]
    found = np.concatenate([one.columns(0, len(one)).inodes for one in some])
    return [int(number) for number in found]


def cached(catalogue: Catalogue, directory: Path) -> ReadPath:
    return ReadPath.of(
        catalogue, cache_backend(catalogue, CacheSetup(directory, Limits(1 << 30, 0)))
    )


def test_a_twin_reads_the_same_by_descriptors_of_its_own(catalogue: Catalogue) -> None:
    path = ReadPath.of(catalogue, None)
    twin = path.twin()
    for number in inodes(catalogue):
        assert twin.reader.read(number, 0, 1 << 20) == path.reader.read(number, 0, 1 << 20)
    mine = {file.fd for file in (*path.source._files.values(), *path.source._pinned.values())}
    assert mine and mine.isdisjoint(file.fd for file in twin.source._files.values())
    twin.close()
    assert path.reader.read(inodes(catalogue)[0], 0, 1 << 20)
    assert path.source.known.is_right(b"x", (0, 0, 0, 0)) is False  # still open


def test_what_one_has_verified_the_other_need_not(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ReadPath.of(catalogue, None)
    twin, number = path.twin(), inodes(catalogue)[0]
    asked: list[tuple[int, int]] = []
    read = SourceFile.read_with_head

    def noted(self: SourceFile, offset: int, head: int, length: int) -> tuple[bytes, bytes]:
        asked.append((head, length))
        return read(self, offset, head, length)

    monkeypatch.setattr(SourceFile, "read_with_head", noted)
    for reader in (path.reader, twin.reader):
        assert len(reader.read(number, 0, 100)) == 100
    assert asked == [(512, 100)]
    twin.close()


def test_a_twin_of_a_cached_path(catalogue: Catalogue, cache_dir: Path) -> None:
    path = cached(catalogue, cache_dir)
    twin = path.twin()
    for number in inodes(catalogue):
        assert twin.reader.read(number, 0, 1 << 20) == path.reader.read(number, 0, 1 << 20)
    twin.close()


def test_an_announcement_covers_header_and_bytes(catalogue: Catalogue, hints: Hints) -> None:
    reader = ReadPath.of(catalogue, None).reader
    for number in inodes(catalogue):
        hints.clear()
        reader.announce(number)
        archive, inner, row = fields(number)
        _, start, size = catalogue.index.container(archive, inner).locate(row)
        assert hints == [(start - 512, size + 512)]


def test_what_the_cache_has_is_not_announced(
    catalogue: Catalogue, cache_dir: Path, hints: Hints
) -> None:
    path = cached(catalogue, cache_dir)
    first, *_, last = inodes(catalogue)
    path.reader.announce(last)
    [(start, length)] = hints
    assert start == 0 and length == os.stat(catalogue.source.path / _train(catalogue)).st_size
    path.reader.read(last, 0, 1 << 20)
    hints.clear()
    path.reader.announce(last)
    assert hints == []
    path.cached.cache.close() if path.cached is not None else None
    del first


def test_what_a_miss_will_fetch_is_announced(tmp_path: Path, cache_dir: Path, hints: Hints) -> None:
    """The range around the member, cut off at the archive's end, and it once."""
    source = train_and_test(tmp_path / "larger", classes=3, images=40)
    found = build_catalogue(Source(source), places=IndexSearchPath(None, source))
    backend = cache_backend(found, CacheSetup(cache_dir, Limits(1 << 30, 0)))
    backend.cache.read_around._pace = Steady()
    path = ReadPath.of(found, backend)
    size = os.stat(source / _train(found)).st_size
    number = inodes(found)[0]
    path.reader.announce(number)
    assert hints == [(0, min(size, 1 << 20))]
    requests = path.source.meter[REQUESTS]
    path.reader.read(number, 0, 1 << 20)
    assert path.source.meter[REQUESTS] == requests + 1
    path.close()
    close(found.index)


def _train(catalogue: Catalogue) -> str:
    return os.fsdecode(catalogue.archives[catalogue.versions[0].splits[0].backend.archives[0]].path)


def test_loose_files_are_announced(tmp_path: Path, hints: Hints) -> None:
    below = tmp_path / "imagenet" / "ILSVRC2012" / "train" / "n00000001"
    below.mkdir(parents=True)
    for number in range(3):
        (below / f"n00000001_{number}.JPEG").write_bytes(b"\xff\xd8\xff" + bytes(number))
    source = tmp_path / "imagenet"
    found = build_catalogue(Source(source), places=IndexSearchPath(None, source))
    reader = ReadPath.of(found, None).reader
    for number in inodes(found):
        reader.announce(number)
    assert hints == [(0, 3), (0, 4), (0, 5)]
    close(found.index)


def test_a_long_announcement_goes_in_pieces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "x").write_bytes(bytes(300_000))
    asked: list[tuple[int, int]] = []
    source = Source(tmp_path)
    file = source.open(b"x")
    monkeypatch.setattr(os, "posix_fadvise", lambda fd, at, n, advice: asked.append((at, n)))
    file.hint(10, 299_990)
    assert asked == [(10, 299_990), (10, 131072), (131082, 131072), (262154, 37846)]
    source.close()


# --- headers that the cache has -------------------------------------------------------------------


def tar_of_tars(catalogue: Catalogue) -> int:
    """The archive with class tars in it."""
    index = catalogue.index
    tars = [n for n, archive in enumerate(index.archives) if archive.kind is Kind.TAR]
    return next(n for n in tars if len(index.nested(n)))


def keep(path: ReadPath, archive: int, part: ByteRange | None = None) -> None:
    """Bring an archive, or a part of it, into the cache."""
    assert path.cached is not None
    volume, origin = path.cached.volumes.of_archive(archive)
    wanted = WantedBytes(part or ByteRange(0, volume.size), volume.size)
    path.cached.cache.fill(volume, 0, wanted, origin)


def table(catalogue: Catalogue, archive: int, inner: int) -> list[tuple[bytes, int, int]]:
    members = catalogue.index.container(archive, inner).members
    return [(members.name(n), members.offset(n), members.size(n)) for n in range(len(members))]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where the source's files are read."""
    asked: list[int] = []
    read = SourceFile.read_up_to

    def noted(self: SourceFile, offset: int, length: int) -> bytes:
        asked.append(offset)
        return read(self, offset, length)

    monkeypatch.setattr(SourceFile, "read_up_to", noted)
    return asked


def test_headers_of_what_is_cached_are_read_from_there(
    catalogue: Catalogue, tmp_path: Path, reads: list[int], hints: Hints
) -> None:
    path, archive = cached(catalogue, tmp_path), tar_of_tars(catalogue)
    first = table(catalogue, archive, 0)
    assert reads
    keep(path, archive)
    reads.clear()
    assert [len(table(catalogue, archive, inner)) for inner in (1, 2)] == [len(first)] * 2
    assert (reads, hints) == ([], [])


def test_headers_that_are_not_cached_come_from_the_source(tmp_path: Path, reads: list[int]) -> None:
    source = train_and_test(tmp_path / "imagenet", classes=2)
    images = {f"n0_{number}.JPEG": bytes(BLOCK // 2) for number in range(8)}
    classes = {f"n0000000{number}.tar": tar_of(images) for number in (1, 2)}
    (source / TRAIN).write_bytes(tar_of(classes))

    def look(cache: Path, part: ByteRange | None = None) -> list[tuple[bytes, int, int]]:
        catalogue = build_catalogue(Source(source), places=IndexSearchPath(None, source))
        cache.mkdir(0o700)
        archive, path = tar_of_tars(catalogue), cached(catalogue, cache)
        if part is not None:
            keep(path, archive, part)
        reads.clear()
        found = table(catalogue, archive, 1)
        close(catalogue.index)
        return found

    expected = look(tmp_path / "none")
    there = set(reads)
    start = expected[4][1] // BLOCK * BLOCK
    part = ByteRange(start, start + BLOCK)
    assert look(tmp_path / "part", part) == expected
    kept = {at for at in there if part.start <= at and at + 512 <= part.end}
    assert kept and set(reads) == there - kept
