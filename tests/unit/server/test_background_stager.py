"""What is staged, in which pieces; and the process that does so beside those who read."""

from __future__ import annotations

import errno
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from imagenetfs.cache.fetcher import ChangedError
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.stager import Progress
from imagenetfs.errors import ArchiveError, SourceChangedError, SourceReadError, UsageError
from imagenetfs.fuse.stats import INDEXER, Counter, SharedStats
from imagenetfs.index.index import Index
from imagenetfs.read.cache_backend import CacheBackend, FileOrigin, Volumes
from imagenetfs.server import background_stager
from imagenetfs.server.background_stager import (
    BackgroundStager,
    StagePlan,
    _NotTaken,
    _OwnFiles,
    _Readers,
    splits_of,
)
from imagenetfs.system.process import STAGER as STAGER_NAME
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.split_backend import SplitBackend
from tests.helpers.archives import index_of, tar_of
from tests.helpers.fake_children import Nursery

SESSION = 77


@dataclass
class Shelf:
    archives: list[int] = field(default_factory=list)


def split(name: bytes, *archives: int) -> Split:
    return Split(name, cast(SplitBackend, Shelf(list(archives))), "")


@dataclass
class Known:
    """As much of a catalogue as is asked for."""

    versions: list[Version] = field(default_factory=list)
    index: Index | None = None

    @property
    def source(self) -> object:
        assert self.index is not None
        return self.index.source


def known(*versions: Version, index: Index | None = None) -> Catalogue:
    return cast(Catalogue, Known(list(versions), index))


# --- by name --------------------------------------------------------------------------------------

CATALOGUE = known(
    Version(b"ILSVRC2012", [split(b"train", 0), split(b"val", 1)]),
    Version(b"Imagenet64", [split(b"train", 2)]),
)


@pytest.mark.parametrize(
    ("names", "archives"),
    [
        ([], []),
        (["ILSVRC2012"], [[0], [1]]),
        (["ILSVRC2012/val"], [[1]]),
        (["Imagenet64", "ILSVRC2012/train"], [[2], [0]]),
        (["ILSVRC2012/"], [[0], [1]]),
    ],
)
def test_the_splits_that_are_named(names: list[str], archives: list[list[int]]) -> None:
    assert [one.backend.archives for one in splits_of(CATALOGUE, names)] == archives


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("ILSVRC2013", "no version ILSVRC2013: there are ILSVRC2012, Imagenet64"),
        ("ILSVRC2012/vall", "ILSVRC2012 has no split vall: it has train, val"),
        ("Imagenet64/val", "Imagenet64 has no split val: it has train"),
    ],
)
def test_a_name_that_is_not_there(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        splits_of(CATALOGUE, ["ILSVRC2012", name])


# --- a plan ---------------------------------------------------------------------------------------

SIZES = [70_000, 1, 0, 200_000]


@pytest.fixture
def index(tmp_path: Path) -> Index:
    (tmp_path / "t.tar").write_bytes(tar_of({f"{n}.JPEG": bytes(90_000) for n in range(20)}))
    (tmp_path / "d").mkdir()
    for number, size in enumerate(SIZES):
        (tmp_path / "d" / f"{number}.JPEG").write_bytes(bytes([number]) * size)
    return index_of(tmp_path, "t.tar", "d", "gone.tar")


def plan_of(index: Index, *archives: int, shard: tuple[int, int] = (1, 1)) -> StagePlan:
    volumes = Volumes(index, index.source, {})
    splits = [split(b"x", archive) for archive in archives]
    return StagePlan(known(index=index), volumes, splits, cast(InflatedArrays, None), shard)


def covered(plan: StagePlan) -> list[tuple[bytes, int, int]]:
    """(volume, start, end), pieces that follow each other joined."""
    found: list[tuple[bytes, int, int]] = []
    for piece in plan:
        key = piece.volume.key
        if found and found[-1][0] == key and found[-1][2] == piece.start:
            found[-1] = (key, found[-1][1], piece.end)
        else:
            found.append((key, piece.start, piece.end))
    return found


def test_all_of_a_tar(index: Index, tmp_path: Path) -> None:
    plan, size = plan_of(index, 0), (tmp_path / "t.tar").stat().st_size
    assert plan.total == size
    assert [(start, end) for _, start, end in covered(plan)] == [(0, size)]
    assert all(piece.limit == size for piece in plan)


def test_all_files_of_a_directory(index: Index) -> None:
    """Each from a block of its own on in their volume; one without content has nothing to fetch."""
    plan = plan_of(index, 1)
    assert plan.total == sum(SIZES)
    block = 1 << 16
    assert [(start, end) for _, start, end in covered(plan)] == [
        (0, 70_000),
        (2 * block, 2 * block + 1),
        (3 * block, 3 * block + 200_000),
    ]


def test_archives_in_their_order_each_once(index: Index) -> None:
    plan = plan_of(index, 1, 0, 1)
    assert plan.total == sum(SIZES) + plan_of(index, 0).total
    keys = [key for key, _, _ in covered(plan)]
    assert len(set(keys)) == 2
    assert keys[0] == keys[1]


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_shards_are_all_of_it_and_nothing_twice(index: Index, parts: int) -> None:
    plans = [plan_of(index, 0, 1, shard=(number, parts)) for number in range(1, parts + 1)]
    whole = plan_of(index, 0, 1)
    assert sum(plan.total for plan in plans) == whole.total
    assert max(plan.total for plan in plans) - min(plan.total for plan in plans) <= 1
    pieces = sorted(piece for plan in plans for piece in covered(plan))
    joined: list[tuple[bytes, int, int]] = []
    for key, start, end in pieces:
        if joined and joined[-1][0] == key and joined[-1][2] == start:
            joined[-1] = (key, joined[-1][1], end)
        else:
            joined.append((key, start, end))
    assert joined == sorted(covered(whole))


def test_what_cannot_be_read_is_left_out_and_the_rest_is_not(index: Index) -> None:
    plan = plan_of(index, 2, 0)
    plan._items[0] = background_stager._Item(2, -1, 1000)
    plan._high += 1000
    assert covered(plan) == covered(plan_of(index, 0))
    assert list(plan.left_out) == ["gone.tar"]
    assert isinstance(plan.left_out["gone.tar"], SourceReadError)


def test_what_will_never_be_better_is_not_asked_for_again(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, asked = plan_of(index, 0), list[int]()
    errors = iter([SourceReadError("later"), ArchiveError("broken")])

    def fail(archive: int) -> None:
        asked.append(archive)
        raise next(errors)

    monkeypatch.setattr(plan._volumes, "of_archive", fail)
    for _ in range(4):
        assert list(plan) == []
    assert asked == [0, 0]
    assert isinstance(plan.left_out["t.tar"], ArchiveError)


def test_an_archive_that_is_not_there_has_no_bytes(index: Index) -> None:
    assert plan_of(index, 2).total == 0


def test_each_piece_is_read_by_its_threads_own_descriptor(index: Index) -> None:
    piece = next(iter(plan_of(index, 1)))
    shared = index.source.open(b"d/0.JPEG").fd
    held: list[tuple[bytes, int]] = []

    def read() -> None:
        origin = cast(FileOrigin, piece.origin())
        held.append((origin.read(piece.start, 10), origin.open(origin.path).fd))

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [data for data, _ in held] == [bytes(10)] * 2
    assert shared not in [fd for _, fd in held]


def descriptors_of(name: str) -> int:
    """How many this process has of files of such a name."""
    links = (fd for fd in Path("/proc/self/fd").iterdir() if fd.is_symlink())
    return sum(os.readlink(fd).endswith(name) for fd in links)


def test_a_thread_keeps_the_last_file_only(index: Index) -> None:
    own = _OwnFiles(index.source)
    first = own._open(b"t.tar")
    assert own._open(b"t.tar") is first
    opened = descriptors_of("/t.tar")
    second = own._open(b"d/0.JPEG")
    assert second is not first
    assert descriptors_of("/t.tar") == opened - 1
    with pytest.raises(SourceReadError):
        own._open(b"gone.tar")
    assert own._open(b"d/0.JPEG").read(0, 1) == b"\0"
    own._own.stack.close()


def test_what_is_not_taken_whole_is_not_read() -> None:
    with pytest.raises(QuotaExceededError):
        _NotTaken().read(0, 1)
    assert _NotTaken().is_same()


# --- those who read -------------------------------------------------------------------------------


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    one = Nursery(monkeypatch, "imagenetfs.server.background_stager")
    monkeypatch.setattr(time, "monotonic", lambda: one.now)
    return one


@pytest.mark.parametrize("row", [0, 63, INDEXER])
def test_who_asks_the_source_is_at_work_for_a_moment(nursery: Nursery, row: int) -> None:
    board = SharedStats()
    readers = _Readers(board)
    assert readers.are_busy()  # nothing is known yet
    nursery.now += 1
    assert not readers.are_busy()
    board.row(row)[Counter.SOURCE_REQUESTS] += 1
    assert readers.are_busy()
    nursery.now += 0.2
    assert readers.are_busy()
    nursery.now += 0.1
    assert not readers.are_busy()


def test_who_waits_for_the_source_is_at_work_all_the_time(nursery: Nursery) -> None:
    board = SharedStats()
    readers = _Readers(board)
    board.row(3)[Counter.SOURCE_SINCE] = 1
    for _ in range(3):
        nursery.now += 100
        assert readers.are_busy()
    board.row(3)[Counter.SOURCE_SINCE] = 0
    nursery.now += 100
    assert not readers.are_busy()


# --- the process ----------------------------------------------------------------------------------


def stager(names: list[str] | None = None) -> BackgroundStager:
    cached = cast(CacheBackend, Cached())
    parts = (CATALOGUE, cached, cast(InflatedArrays, None), SharedStats())
    return BackgroundStager(*parts, names or ["Imagenet64"], 3)


class Cached:
    cache = None


def test_a_wrong_name_is_told_at_once() -> None:
    with pytest.raises(UsageError):
        stager(["nothing"])


def test_it_is_started_once(nursery: Nursery) -> None:
    one = stager()
    assert not one.busy
    for _ in range(3):
        one.tick(SESSION)
    assert len(nursery.started) == 1
    assert (nursery.last.session_fd, nursery.last.name) == (SESSION, STAGER_NAME)
    assert one.busy
    nursery.last.end()
    for _ in range(3):
        one.tick(SESSION)
        nursery.now += 3600
    assert len(nursery.started) == 1
    assert not one.busy


def test_one_that_died_is_started_again_after_a_while_five_times(nursery: Nursery) -> None:
    one = stager()
    for number in range(1, 20):
        one.tick(SESSION)
        if one.busy:
            assert len(nursery.started) == number
            nursery.last.end(succeeded=False)
            one.tick(SESSION)
            assert not one.busy
            nursery.now += 4.9
            one.tick(SESSION)
            assert not one.busy
            nursery.now += 0.2
    assert len(nursery.started) == 5


@pytest.mark.expects_log("staging could not start: Resource temporarily unavailable")
def test_a_process_that_is_not_to_be_had_is_tried_for_again(
    nursery: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    one = stager()
    nursery.refuses = True
    for _ in range(3):
        one.tick(SESSION)
    assert caplog.text.count("staging could not start") == 1
    nursery.refuses = False
    nursery.now += 5.1
    one.tick(SESSION)
    assert one.busy


def test_the_end_ends_it(nursery: Nursery) -> None:
    one = stager()
    one.kill()
    one.tick(SESSION)
    one.kill()
    assert nursery.last.killed
    assert not one.busy


# --- in the process -------------------------------------------------------------------------------


class Runs:
    """What the next stagers do: an exception, or what they leave out, and how much they fetch."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: list[Exception | tuple[dict[str, Exception], int]] = []
        self.pauses: list[float] = []
        self.made = 0
        monkeypatch.setattr(background_stager, "Stager", self._make)
        monkeypatch.setattr(time, "sleep", self.pauses.append)

    def _make(self, cache: object, *, streams: int, others_read: object) -> Runs:
        assert streams == 3
        self.made += 1
        self.progress, self.left_out = Progress(), {}
        return self

    progress: Progress
    left_out: dict[str, Exception]

    def run(self, plan: object) -> None:
        what = self.next.pop(0) if len(self.next) > 1 else self.next[0]
        if isinstance(what, Exception):
            raise what
        self.left_out, self.progress.fetched = what


class Plan:
    left_out: dict[str, Exception] = {}  # noqa: RUF012 (nothing is ever put into it)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def run() -> Progress:
    return stager()._run(cast(StagePlan, Plan()), "train")


def test_all_of_it_at_once(runs: Runs) -> None:
    runs.next = [({}, 100)]
    assert run().fetched == 100
    assert (runs.made, runs.pauses) == (1, [])


@pytest.mark.expects_log("staging train stops: the cache is as large as")
def test_a_full_cache_ends_it(runs: Runs, caplog: pytest.LogCaptureFixture) -> None:
    runs.next = [QuotaExceededError()]
    run()
    assert runs.made == 1
    assert "the cache is as large as it may be" in caplog.text


def test_a_disk_that_fails_is_waited_for_while_the_cache_steps_aside(runs: Runs) -> None:
    runs.next = [OSError(errno.EIO, "disk"), OSError(errno.EIO, "disk"), ({}, 5)]
    run()
    assert runs.pauses == [5.0, 5.0]


@pytest.mark.expects_log(
    "is not all staged: another",
    "is not all staged: broken",
    "is not all staged: it was changed while it",
)
@pytest.mark.parametrize(
    "error", [ChangedError(), SourceChangedError("another"), ArchiveError("broken")]
)
def test_what_will_never_be_better_is_said_and_left(
    runs: Runs, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    runs.next = [({"t.tar": error}, 5)]
    run()
    assert runs.made == 1
    assert f"t.tar is not all staged: {error}" in caplog.text


@pytest.mark.expects_log("is not all staged: gone")
def test_a_source_that_fails_is_tried_for_a_quarter_of_an_hour(
    runs: Runs, caplog: pytest.LogCaptureFixture
) -> None:
    runs.next = [({"t.tar": SourceReadError("gone")}, 0)]
    run()
    assert sum(runs.pauses) == 59 * 15.0
    assert caplog.text.count("t.tar is not all staged") == 1


@pytest.mark.expects_log("is not all staged: gone")
def test_while_something_comes_it_is_tried_on(runs: Runs) -> None:
    left: dict[str, Exception] = {"t.tar": SourceReadError("gone")}
    runs.next = [*[(left, 0)] * 50, (left, 1), *[(left, 0)] * 50, ({}, 1)]
    run()
    assert runs.made == 102


def test_a_source_that_fails_altogether_is_tried_again(runs: Runs) -> None:
    runs.next = [SourceReadError("the server"), ({}, 1)]
    assert run() is runs.progress
