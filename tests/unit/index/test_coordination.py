"""Many that share one index: headers are read once between them, and nobody depends on anybody."""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from imagenetfs.counters import REQUESTS, SOURCE_WORDS, WAITING
from imagenetfs.formats.tar import walk
from imagenetfs.index import coordination as sharing_module
from imagenetfs.index import index_file as store_module
from imagenetfs.index import leases as leases_module
from imagenetfs.index.coordination import BuildCoordinator, lease_path
from imagenetfs.index.index_file import records_in
from imagenetfs.index.records import record_of
from tests.helpers.archives import Scans
from tests.helpers.children import ended, in_child
from tests.helpers.clocks import FakeClock
from tests.helpers.shared_index import (
    CLASSES,
    IMAGES,
    Elsewhere,
    all_right,
    holder_met,
    indexed,
    sharing_index,
)

pytestmark = pytest.mark.usefixtures("no_fsync")


JOBS = int(os.environ.get("IMAGENETFS_TEST_JOBS", "16"))
HANG_SECONDS = 100.0
"""A job of a crowd waits for another for so long: as long as it takes, on a slow machine too."""


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
    scans, clock, waits = Scans(), FakeClock(), []
    index = sharing_index(train, file, scans, clock=clock)
    index.container(0)
    other = Elsewhere(file)

    def publish() -> None:
        waits.append(bool(index.source.meter[WAITING]))
        alone = sharing_index(train, file)
        alone.builder.coordinator = BuildCoordinator()
        alone.container(0, 1)
        record = record_of(alone, 0, 1)
        assert record is not None
        store_module.merge(file, [record])

    clock.after(0.3, publish)
    index.container(0, 1)
    assert waits == [True], "it says so while it waits"
    assert 0.3 <= sum(clock.pauses) < 0.3 + sharing_module._LONGEST_POLL
    assert len(scans.extents) == 1  # the outer one
    assert index.source.meter[WAITING] == 0  # it waits no more
    other.lease.release()


def test_a_reader_does_not_wait_for_long_nor_again(train: Path, file: Path) -> None:
    scans, clock, other = Scans(), FakeClock(), Elsewhere(file)
    index = sharing_index(train, file, scans, clock=clock)
    index.container(0, 0)
    waited = sum(clock.pauses)
    most = sharing_module.PATIENCE_SECONDS + sharing_module._LONGEST_POLL
    assert sharing_module.PATIENCE_SECONDS < waited <= most
    all_right(index)
    assert sum(clock.pauses) == waited
    assert len(scans.extents) == CLASSES + 1
    assert not file.exists()  # who holds no lease publishes nothing
    other.lease.release()


def test_after_a_minute_it_waits_once_more(train: Path, file: Path) -> None:
    clock, other = FakeClock(), Elsewhere(file)
    index = sharing_index(train, file, clock=clock)
    index.container(0, 0)
    waited = sum(clock.pauses)
    clock.advance(sharing_module._NO_WAIT_SECONDS - 1)
    index.container(0, 1)
    assert sum(clock.pauses) == waited
    clock.advance(1)
    index.container(0, 2)
    assert sum(clock.pauses) > waited
    other.lease.release()


def test_a_mount_does_not_wait_for_itself(train: Path, file: Path) -> None:
    clock = FakeClock()
    index = sharing_index(train, file, clock=clock)
    lease = index.builder.coordinator.lease(file)  # as its process that indexes ahead has it
    all_right(index)
    assert clock.pauses == []
    lease.release()


def test_indexing_ahead_waits_for_its_own_mount_s_readers(file: Path) -> None:
    """A class that is being built as it begins has the lease for a moment;
    that must not put it off.
    """
    clock = FakeClock()
    ours, theirs = BuildCoordinator(clock=clock), BuildCoordinator(clock=clock)
    held = ours.lease(file)
    clock.after(0.1, held.release)
    lease = ours.lease_for_group(file)
    waited = sum(clock.pauses)
    assert 0.1 <= waited <= 0.1 + sharing_module._FIRST_POLL
    assert holder_met(lambda: theirs.lease_for_group(file))  # another mount's is its own affair
    assert sum(clock.pauses) == waited
    assert holder_met(lambda: ours.lease_for_group(file))
    assert sum(clock.pauses) - waited > sharing_module.PATIENCE_SECONDS
    lease.release()


def test_a_dead_holder_is_nobody_s_trouble(train: Path, file: Path) -> None:
    clock = FakeClock()
    Elsewhere(file)
    os.utime(lease_path(file), (1, 1))
    all_right(sharing_index(train, file, clock=clock))
    assert clock.pauses == []
    assert len(records_in(file)) == CLASSES + 1


@pytest.mark.parametrize("trouble", ["a file in its way", "full"])
def test_a_place_that_cannot_be_written_is_no_trouble(
    train: Path, file: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if trouble == "full":

        def full(*arguments: object) -> None:
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(sharing_module, "merge", full)
    else:
        file.parent.write_bytes(b"")
    all_right(sharing_index(train, file))


def test_an_error_gives_the_lease_back(train: Path, file: Path) -> None:
    scans = Scans()

    def fail(start: int) -> None:
        raise KeyboardInterrupt

    scans.before = fail
    with pytest.raises(KeyboardInterrupt):
        sharing_index(train, file, scans).container(0)
    assert not lease_path(file).exists()


def test_building_one_shows_that_its_builder_lives(
    train: Path, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beats = []
    monkeypatch.setattr(leases_module.Lease, "heartbeat", lambda self: beats.append(1))
    sharing_index(train, file).container(0)
    assert len(beats) >= CLASSES


# --- a crowd --------------------------------------------------------------------------------------


@pytest.fixture
def meters() -> Iterator[memoryview]:
    """The source's counters for each job, seen by all processes."""
    with mmap.mmap(-1, 8 * SOURCE_WORDS * JOBS) as shared:
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

    children = [in_child(partial(wait_and_work, n)) for n in range(JOBS)]
    os.close(go)
    os.close(start)
    assert [ended(pid) for pid in children] == [0] * JOBS


def _asked(meters: memoryview) -> int:
    return sum(meters[REQUESTS::SOURCE_WORDS])


def _looks(containers: int) -> int:
    """Requests of a job that finds everything: two to open an archive, and
    blocks that are sampled.
    """
    return 3 + 17 + 4 * containers


@pytest.mark.slow
@pytest.mark.parametrize("how", ["readers", "indexers"])
def test_a_crowd_asks_for_the_headers_once(
    train: Path, file: Path, meters: memoryview, how: str
) -> None:
    """Jobs that start at once: as many scans as one alone makes, and a few looks of each job."""

    def slow(
        read_at: walk.ReadAt, start: int, end: int, into: walk.MemberColumns, hint: object = None
    ) -> object:
        def read(offset: int, length: int) -> bytes:
            time.sleep(0.0002)
            return read_at(offset, length)

        return walk.scan(read, start, end, into)

    def job(number: int) -> None:
        first = SOURCE_WORDS * number
        with meters[first : first + SOURCE_WORDS] as meter:
            index = sharing_index(train, file, slow, meter, patience=HANG_SECONDS)
            if how == "indexers":
                while holder_met(partial(indexed, index, file)):
                    while lease_path(file).exists():  # a look, not another attempt
                        time.sleep(0.02)
            for inner in range(CLASSES):
                assert len(index.container(0, inner).members) == IMAGES

    _crowd(job)
    headers = CLASSES * (IMAGES + 1) + CLASSES + 1
    limit = headers + 100 + JOBS * _looks(CLASSES)
    print(f"{JOBS} {how}: {_asked(meters):,} requests; headers {headers:,}, limit {limit:,}")
    assert _asked(meters) <= limit
    assert len(records_in(file)) == CLASSES + 1
