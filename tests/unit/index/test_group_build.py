"""Indexing a group of archives for all who share it: one at a time,
published as it grows, in shards.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pytest

from imagenetfs.index import bulk_build, group_build
from imagenetfs.index import index_file as store_module
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.coordination import BuildCoordinator, lease_path
from imagenetfs.index.group_build import Shard, index_group, unite_shards
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import Record, records_in
from imagenetfs.source.source import Source
from tests.helpers.archives import Scans, class_tar, tar_of
from tests.helpers.children import ended, in_child
from tests.helpers.clocks import FakeClock
from tests.helpers.shared_index import (
    CLASSES,
    Elsewhere,
    all_right,
    holder_met,
    indexed,
    sharing_index,
)

pytestmark = pytest.mark.usefixtures("no_fsync")


# --- indexers -------------------------------------------------------------------------------------


def test_an_indexer_has_the_lease_and_gives_it_back(train: Path, file: Path) -> None:
    other = Elsewhere(file)
    held = holder_met(lambda: indexed(sharing_index(train, file), file))
    assert held is not None
    assert held.owner == "elsewhere"
    other.lease.release()
    assert not indexed(sharing_index(train, file), file).missing
    assert not lease_path(file).exists()


@pytest.mark.slow
def test_what_is_indexed_needs_no_lease(train: Path, file: Path) -> None:
    indexed(sharing_index(train, file), file)
    other, scans, before = Elsewhere(file), Scans(), file.stat()
    outcome = indexed(sharing_index(train, file, scans), file)
    assert (outcome.containers, scans.extents) == (CLASSES + 1, [])
    assert file.stat().st_ino == before.st_ino
    other.lease.release()


class Turns:
    """Lets the class tars of a :class:`Scans` be built only as far as :meth:`allow` says."""

    def __init__(self, scans: Scans) -> None:
        self.begun, self._begins = os.pipe()
        self._waits, self._allows = os.pipe()
        scans.before = self._before

    def _before(self, start: int) -> None:
        if start:  # a class tar
            os.write(self._begins, b"x")
            os.read(self._waits, 1)

    def allow(self, more: int) -> None:
        os.write(self._allows, more * b"x")

    def close(self) -> None:
        for fd in (self.begun, self._begins, self._waits, self._allows):
            os.close(fd)


def test_it_is_published_while_it_grows(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, seen = store_module.write_index_file, []

    def write(path: Path, records: Iterable[Record], *, complete: bool = False) -> None:
        written(path, records, complete=complete)
        seen.append(len(records_in(path)))

    monkeypatch.setattr(bulk_build, "write_index_file", write)
    scans, clock, stops = Scans(), FakeClock(), [1, 5, 9]
    turns = Turns(scans)

    def progress(now: bulk_build.BuildProgress) -> None:
        """It is time to publish at each call; four more are built when that has been done."""
        clock.advance(group_build._PUBLISHED_EVERY)
        if stops and stops[0] in seen:
            turns.allow(4)
            del stops[0]

    indexed(sharing_index(train, file, scans, clock=clock), file, progress=progress)
    turns.close()
    assert seen == sorted(seen)
    assert {1, 5, 9} <= set(seen)
    assert seen[-1] == CLASSES + 1


def test_publishing_takes_a_small_part_of_the_time(train: Path, file: Path) -> None:
    """Where it takes a second, the next time is twenty seconds later."""
    clock, published = FakeClock(), []
    lease = BuildCoordinator(clock=clock).lease(file)

    def publish() -> int:
        published.append(clock.monotonic())
        clock.advance(1.0)
        return 0

    publisher = group_build._Publisher(lease, None, publish, clock)
    begun = clock.monotonic()
    for _ in range(60):
        clock.advance(1.0)
        publisher(bulk_build.BuildProgress(1, 2, 0))
    assert [when - begun for when in published] == [3.0, 24.0, 45.0]
    lease.release()


# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("of", [1, 2, 4, 40])
def test_shards_make_the_same_index_as_one(train: Path, tmp_path: Path, of: int) -> None:
    whole, file = tmp_path / "whole" / "t.idx", tmp_path / "shards" / "t.idx"
    indexed(sharing_index(train, whole), whole)
    united = []
    for number in range(of, 0, -1):
        index, shard = sharing_index(train, file), Shard(number, of)
        index.container(0)  # as the catalogue does
        assert not indexed(index, file, shard).missing
        united.append(unite_shards(index, file, shard))
    assert united == [False] * (of - 1) + [True]
    assert file.read_bytes() == whole.read_bytes()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.slow
def test_shards_at_once(train: Path, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole" / "t.idx", tmp_path / "shards" / "t.idx"
    indexed(sharing_index(train, whole), whole)

    def work(number: int) -> None:
        index, shard = sharing_index(train, file), Shard(number, 4)
        index.container(0)
        indexed(index, file, shard)
        while holder_met(partial(unite_shards, index, file, shard)):
            time.sleep(0.01)

    children = [in_child(partial(work, n)) for n in (1, 2, 3, 4)]
    assert [ended(pid) for pid in children] == [0] * 4
    assert file.read_bytes() == whole.read_bytes()
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.slow
def test_each_shard_does_its_part_alone(train: Path, file: Path) -> None:
    for number in (1, 2, 3):
        index, shard = sharing_index(train, file), Shard(number, 3)
        index.container(0)
        indexed(index, file, shard)
        inner = {key for key in records_in(shard.file(file)) if not key.endswith(b"\0")}
        assert inner == {
            b"t.tar\0n%08d.tar" % n for n in range(1, CLASSES + 1) if n % 3 == number - 1
        }


@pytest.mark.slow
def test_archives_whose_tables_are_not_known_are_dealt_out_whole(tmp_path: Path) -> None:
    root = tmp_path / "source"
    root.mkdir()
    names = [f"n{n}.tar" for n in range(7)]
    for n, name in enumerate(names):
        (root / name).write_bytes(tar_of({"deep.tar": class_tar(n)}) if n == 3 else class_tar(n))
    archives = [Archive(n, name.encode(), Kind.TAR) for n, name in enumerate(names)]
    file, count = tmp_path / "index" / "w.idx", 0
    for number in (1, 2, 3):
        index = Index(
            Source(root),
            archives,
            Arena(7),
            coordinator=BuildCoordinator(dict.fromkeys(range(7), file)),
        )
        outcome = index_group(
            index, range(7), file, in_flight=1, processes=1, shard=Shard(number, 3)
        )
        count += outcome.containers
        assert unite_shards(index, file, Shard(number, 3)) is (number == 3)
    assert count == len(records_in(file)) == 8


@pytest.mark.slow
def test_control_c_publishes_what_is_finished(train: Path, file: Path) -> None:
    scans = Scans()
    turns = Turns(scans)
    turns.allow(4)

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)  # as a terminal does it: the whole group gets the signal
        try:
            indexed(sharing_index(train, file, scans, clock=FakeClock()), file)
        except KeyboardInterrupt:
            os._exit(130)

    child = in_child(work)
    for _ in range(5):
        os.read(turns.begun, 1)
    os.killpg(child, signal.SIGINT)
    assert ended(child) == 130
    turns.close()
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert len(records_in(file)) == 1 + 4
    all_right(sharing_index(train, file))
