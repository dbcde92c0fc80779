"""Many that share one index: headers are read once between them, and nobody depends on anybody."""

from __future__ import annotations

import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.formats import tar
from imagenetfs.index import leases as leases_module
from imagenetfs.index import sharing as sharing_module
from imagenetfs.index import store as store_module
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.build import Index
from imagenetfs.index.groups import Shard, index_group, unite_shards
from imagenetfs.index.leases import Holder, Lease, holder_of, take
from imagenetfs.index.sharing import Sharing, lease_path
from imagenetfs.index.store import records_in
from imagenetfs.index.warm import Outcome
from imagenetfs.source.directory import REQUESTS, Source
from tests.unit.test_arena import ended, in_child
from tests.unit.test_build import Scans
from tests.unit.test_build_archives import class_tar, close_with, contents, image, tar_of, train_tar

JOBS = int(os.environ.get("IMAGENETFS_JOBS", "50"))
CLASSES, IMAGES = 12, 40


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module.os, "fsync", lambda fd: None)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    root.mkdir()
    (root / "t.tar").write_bytes(train_tar(CLASSES, IMAGES))
    return root


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "index" / "t.idx"


def sharing_index(
    root: Path, file: Path, scan: Callable[..., object] = tar.scan, meter: object = None
) -> Index:
    """An index as a mount of its own has it, which shares ``file`` with others."""
    source = Source(root, meter)  # type: ignore[arg-type]
    archives = [Archive(0, b"t.tar", Kind.TAR)]
    sharing = Sharing({0: file})
    index = Index(
        source, archives, Arena(1), stores=[(frozenset([0]), [file])], sharing=sharing, scan=scan
    )
    close_with(index, index)
    return index


def _all_right(index: Index) -> None:
    for inner in range(len(index.nested(0))):
        n = inner + 1
        assert contents(index, 0, inner) == {
            b"n%08d_%d.JPEG" % (n, k): image(n * 100 + k, 600 + k) for k in range(IMAGES)
        }


class Elsewhere:
    """Somebody on another node who holds the lease."""

    def __init__(self, file: Path) -> None:
        lease = take(lease_path(file), "elsewhere")
        assert isinstance(lease, Lease)
        self.lease = lease


# --- readers that touch a container ---------------------------------------------------------------


def test_what_one_mount_builds_the_next_one_finds(train: Path, file: Path) -> None:
    first, second = Scans(), Scans()
    sharing_index(train, file, first).container(0, 3)
    assert len(first.extents) == 2
    other = sharing_index(train, file, second)
    other.container(0, 3)
    assert second.extents == []
    other.container(0, 4)
    assert len(second.extents) == 1
    assert len(records_in(file)) == 3
    assert [path.name for path in file.parent.iterdir()] == [file.name]  # and no lease is left


def test_it_is_found_although_the_file_was_open_before(train: Path, file: Path) -> None:
    scans = Scans()
    waiting = sharing_index(train, file, scans)
    waiting.container(0, 0)
    sharing_index(train, file).container(0, 5)
    waiting.container(0, 5)
    assert len(scans.extents) == 2


def test_a_reader_waits_for_what_is_being_built(train: Path, file: Path) -> None:
    scans = Scans()
    index = sharing_index(train, file, scans)
    index.container(0)
    other = Elsewhere(file)
    started = time.monotonic()

    def publish() -> None:
        time.sleep(0.3)
        alone = sharing_index(train, file)
        alone.sharing = Sharing()
        alone.container(0, 1)
        record = alone.record(0, 1)
        assert record is not None
        store_module.unite(file, [record])

    child = in_child(publish)
    index.container(0, 1)
    assert time.monotonic() - started > 0.2
    assert ended(child) == 0
    assert len(scans.extents) == 1  # the outer one
    assert index.source.meter[3] == 0  # it waits no more
    other.lease.release()


def test_a_reader_does_not_wait_for_long_nor_again(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "PATIENCE_SECONDS", 0.2)
    scans, other = Scans(), Elsewhere(file)
    index = sharing_index(train, file, scans)
    started = time.monotonic()
    index.container(0, 0)
    waited = time.monotonic() - started
    assert waited > 0.2
    _all_right(index)
    assert len(scans.extents) == CLASSES + 1
    assert not file.exists()  # who holds no lease publishes nothing
    other.lease.release()


def test_a_mount_does_not_wait_for_itself(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "PATIENCE_SECONDS", 60.0)
    index = sharing_index(train, file)
    lease = index.sharing.lease(file)  # as its process that indexes ahead has it
    assert isinstance(lease, Lease)
    _all_right(index)
    lease.release()


def test_a_dead_holder_is_nobody_s_trouble(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing_module, "PATIENCE_SECONDS", 60.0)
    Elsewhere(file)
    os.utime(lease_path(file), (time.time() - 100,) * 2)
    _all_right(sharing_index(train, file))
    assert len(records_in(file)) == CLASSES + 1


@pytest.mark.parametrize("trouble", ["a file in its way", "full"])
def test_a_place_that_cannot_be_written_is_no_trouble(
    train: Path, file: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "full":

        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(sharing_module, "unite", full)
    else:
        file.parent.write_bytes(b"")
    _all_right(sharing_index(train, file))


def test_an_error_gives_the_lease_back(train: Path, file: Path) -> None:
    scans = Scans()

    def fail(start: int) -> None:
        raise KeyboardInterrupt

    scans.before = fail
    with pytest.raises(KeyboardInterrupt):
        sharing_index(train, file, scans).container(0)
    assert holder_of(lease_path(file)) is None
    assert not lease_path(file).exists()


def test_building_one_shows_that_its_builder_lives(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = []
    monkeypatch.setattr(leases_module.Lease, "beat", lambda self: beats.append(1))
    sharing_index(train, file).container(0)
    assert len(beats) >= CLASSES


# --- a crowd --------------------------------------------------------------------------------------


@pytest.fixture
def meters() -> Iterator[memoryview]:
    """Four counters for each job, seen by all processes."""
    with mmap.mmap(-1, 4096 * (JOBS // 128 + 1)) as shared:
        words = memoryview(shared).cast("Q")
        yield words
        words.release()


def _crowd(work: Callable[[int], None]) -> None:
    """``work(number)`` in so many processes that start at once."""
    start, go = os.pipe()

    def wait_and_work(number: int) -> None:
        os.close(go)
        os.read(start, 1)
        work(number)

    children = [in_child(lambda n=n: wait_and_work(n)) for n in range(JOBS)]  # type: ignore[misc]
    os.close(go)
    os.close(start)
    assert [ended(pid) for pid in children] == [0] * JOBS


def _asked(meters: memoryview) -> int:
    return sum(meters[REQUESTS::4])


def _looks(containers: int) -> int:
    """Requests of a job that finds everything: two to open an archive, and blocks that are sampled."""
    return 3 + 17 + 4 * containers


@pytest.mark.parametrize("how", ["readers", "indexers"])
def test_a_crowd_asks_for_the_headers_once(
    train: Path, file: Path, meters: memoryview, how: str
) -> None:
    """Jobs that start at once: as many scans as one alone makes, and a few looks of each job."""

    def slow(read_at: tar.ReadAt, start: int, end: int, into: tar.MemberColumns) -> object:
        def read(offset: int, length: int) -> bytes:
            time.sleep(0.0002)
            return read_at(offset, length)

        return tar.scan(read, start, end, into)

    def job(number: int) -> None:
        with meters[4 * number : 4 * number + 4] as meter:
            index = sharing_index(train, file, slow, meter)
            if how == "indexers":
                while isinstance(_indexed(index, file), Holder):
                    time.sleep(0.3)
            for inner in range(CLASSES):
                assert len(index.container(0, inner).members) == IMAGES

    _crowd(job)
    headers = CLASSES * (IMAGES + 1) + CLASSES + 1
    limit = headers + 100 + JOBS * _looks(CLASSES)
    print(f"{JOBS} {how}: {_asked(meters):,} requests; headers {headers:,}, limit {limit:,}")
    assert _asked(meters) <= limit
    assert len(records_in(file)) == CLASSES + 1


# --- indexers -------------------------------------------------------------------------------------


def _indexed(index: Index, file: Path, shard: Shard | None = None) -> Outcome | Holder:
    return index_group(index, [0], file, in_flight=1, processes=1, shard=shard)


def test_an_indexer_has_the_lease_and_gives_it_back(train: Path, file: Path) -> None:
    other = Elsewhere(file)
    held = _indexed(sharing_index(train, file), file)
    assert isinstance(held, Holder)
    assert held.owner == "elsewhere"
    other.lease.release()
    assert isinstance(_indexed(sharing_index(train, file), file), Outcome)
    assert not lease_path(file).exists()


def test_what_is_indexed_needs_no_lease(train: Path, file: Path) -> None:
    _indexed(sharing_index(train, file), file)
    other, scans, before = Elsewhere(file), Scans(), file.stat()
    outcome = _indexed(sharing_index(train, file, scans), file)
    assert isinstance(outcome, Outcome)
    assert (outcome.containers, scans.extents) == (CLASSES + 1, [])
    assert file.stat().st_ino == before.st_ino
    other.lease.release()


def test_it_is_published_while_it_grows(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagenetfs.index import groups, warm

    for name in ("_FIRST_PUBLISHED", "_PUBLISHED_EVERY", "_PUBLISHING_SHARE"):
        monkeypatch.setattr(groups, name, 0)
    monkeypatch.setattr(warm, "_POLL_SECONDS", 0.002)
    written, seen = store_module.write_store, []

    def write(path: Path, records: object, *, complete: bool = False) -> None:
        written(path, records, complete=complete)  # type: ignore[arg-type]
        seen.append(len(records_in(path)))

    monkeypatch.setattr(warm, "write_store", write)
    scans = Scans()
    scans.before = lambda start: time.sleep(0.01)
    _indexed(sharing_index(train, file, scans), file)
    assert seen == sorted(seen)
    assert len(seen) > 2
    assert seen[-1] == CLASSES + 1


# --- shards ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("of", [1, 2, 4, 40])
def test_shards_make_the_same_index_as_one(train: Path, tmp_path: Path, of: int) -> None:
    whole, file = tmp_path / "whole" / "t.idx", tmp_path / "shards" / "t.idx"
    _indexed(sharing_index(train, whole), whole)
    united = []
    for number in range(of, 0, -1):
        index, shard = sharing_index(train, file), Shard(number, of)
        index.container(0)  # as the catalogue does
        assert isinstance(_indexed(index, file, shard), Outcome)
        united.append(unite_shards(index, file, shard))
    assert united == [False] * (of - 1) + [True]
    assert file.read_bytes() == whole.read_bytes()
    assert list(file.parent.iterdir()) == [file]


def test_shards_at_once(train: Path, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole" / "t.idx", tmp_path / "shards" / "t.idx"
    _indexed(sharing_index(train, whole), whole)

    def work(number: int) -> None:
        index, shard = sharing_index(train, file), Shard(number, 4)
        index.container(0)
        _indexed(index, file, shard)
        while isinstance(unite_shards(index, file, shard), Holder):
            time.sleep(0.01)

    children = [in_child(lambda n=n: work(n)) for n in (1, 2, 3, 4)]  # type: ignore[misc]
    assert [ended(pid) for pid in children] == [0] * 4
    assert file.read_bytes() == whole.read_bytes()
    assert list(file.parent.iterdir()) == [file]


def test_each_shard_does_its_part_alone(train: Path, file: Path) -> None:
    for number in (1, 2, 3):
        index, shard = sharing_index(train, file), Shard(number, 3)
        index.container(0)
        outcome = _indexed(index, file, shard)
        assert isinstance(outcome, Outcome)
        inner = {key for key in records_in(shard.file(file)) if not key.endswith(b"\0")}
        assert inner == {
            b"t.tar\0n%08d.tar" % n for n in range(1, CLASSES + 1) if n % 3 == number - 1
        }


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
            Source(root), archives, Arena(7), sharing=Sharing(dict.fromkeys(range(7), file))
        )
        outcome = index_group(
            index, range(7), file, in_flight=1, processes=1, shard=Shard(number, 3)
        )
        assert isinstance(outcome, Outcome)
        count += outcome.containers
        assert unite_shards(index, file, Shard(number, 3)) is (number == 3)
    assert count == len(records_in(file)) == 8


def test_control_c_publishes_what_is_finished(train: Path, file: Path) -> None:
    reader, writer = os.pipe()
    scans = Scans()

    def before(start: int) -> None:
        if start:  # a class tar
            os.write(writer, b"x")
            time.sleep(0.02)

    def work() -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setpgid(0, 0)  # as a terminal does it: the whole group gets the signal
        scans.before = before
        try:
            _indexed(sharing_index(train, file, scans), file)
        except KeyboardInterrupt:
            os._exit(130)

    child = in_child(work)
    for _ in range(5):
        os.read(reader, 1)
    started = time.monotonic()
    os.killpg(child, signal.SIGINT)
    assert ended(child) == 130
    assert time.monotonic() - started < 5
    os.close(reader)
    os.close(writer)
    assert [path.name for path in file.parent.iterdir()] == [file.name]
    assert 2 <= len(records_in(file)) < CLASSES + 1
    _all_right(sharing_index(train, file))
