"""The process that stages beside those who read: when it is started, and what it does."""

from __future__ import annotations

import errno
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import cast

import pytest
from trio.testing import MockClock

from imagenetfs.cache.fetcher import ChangedError
from imagenetfs.cache.quota import QuotaExceededError
from imagenetfs.cache.stager import StageProgress
from imagenetfs.counters import Counter
from imagenetfs.errors import ArchiveError, SourceChangedError, SourceReadError, UsageError
from imagenetfs.fuse.stats import INDEXER, STAGER, SharedStats
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.server import background_stager
from imagenetfs.server.background_stager import BackgroundStager, _Readers
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.stage_plan import StagePlan
from imagenetfs.system.process import STAGER as STAGER_NAME
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.split_backend import SplitBackend
from tests.helpers.fake_children import FakeChildren, later, play

# --- those who read -------------------------------------------------------------------------------


class Clock:
    """A time that the test moves."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    one = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: one.now)
    return one


@pytest.mark.parametrize("row", [0, 63, INDEXER])
def test_who_asks_the_source_is_at_work_for_a_moment(clock: Clock, row: int) -> None:
    board = SharedStats()
    readers = _Readers(board)
    assert readers.are_busy()  # nothing is known yet
    clock.now += 1
    assert not readers.are_busy()
    board.row(row)[Counter.SOURCE_REQUESTS] += 1
    assert readers.are_busy()
    clock.now += 0.2
    assert readers.are_busy()
    clock.now += 0.1
    assert not readers.are_busy()


def test_who_waits_for_the_source_is_at_work_all_the_time(clock: Clock) -> None:
    board = SharedStats()
    readers = _Readers(board)
    board.row(3)[Counter.SOURCE_SINCE] = 1
    for _ in range(3):
        clock.now += 100
        assert readers.are_busy()
    board.row(3)[Counter.SOURCE_SINCE] = 0
    clock.now += 100
    assert not readers.are_busy()


# --- the process ----------------------------------------------------------------------------------


class Context:
    """As much of a mount's context as is asked for."""

    inflated = None

    def __init__(self) -> None:
        versions = [Version(b"Imagenet64", [Split(b"train", cast(SplitBackend, None), "")])]
        self.catalogue = cast(Catalogue, Known(versions))
        self.stats = SharedStats()


@dataclass
class Known:
    versions: list[Version]


class Cached:
    cache = None


def stager(names: list[str] | None = None) -> BackgroundStager:
    context, cached = cast(MountContext, Context()), cast(CacheBackend, Cached())
    return BackgroundStager(context, cached, names or ["Imagenet64"], 3)


@pytest.fixture
def children() -> FakeChildren:
    return FakeChildren()


def staging(children: FakeChildren, story: Callable[[MockClock], Awaitable[None]]) -> None:
    """Play a story beside a stager at work."""
    one = stager()
    play(lambda: one.run(children.as_children()), story)


def test_a_wrong_name_is_told_at_once() -> None:
    with pytest.raises(UsageError):
        stager(["nothing"])


def test_it_is_started_once(children: FakeChildren) -> None:
    async def story(clock: MockClock) -> None:
        (child,) = children.started
        assert (child.name, child.row) == (STAGER_NAME, STAGER)
        child.end()
        await later(clock, 3 * 3600)
        assert len(children.started) == 1

    staging(children, story)


def test_one_that_died_is_started_again_after_a_while_five_times(children: FakeChildren) -> None:
    async def story(clock: MockClock) -> None:
        for number in range(1, 6):
            assert len(children.started) == number
            children.last.end(succeeded=False)
            await later(clock, 4.9)
            assert children.running == []
            await later(clock, 0.2)
        await later(clock, 3600)

    staging(children, story)
    assert len(children.started) == 5


@pytest.mark.expects_log("staging could not start: Resource temporarily unavailable")
def test_a_process_that_is_not_to_be_had_is_tried_for_again(
    children: FakeChildren, caplog: pytest.LogCaptureFixture
) -> None:
    children.refuses = True

    async def story(clock: MockClock) -> None:
        for _ in range(9):
            await later(clock, 5.1)
        assert caplog.text.count("staging could not start") == 10
        children.refuses = False
        await later(clock, 5.1)
        assert len(children.running) == 1

    staging(children, story)


def test_the_end_ends_it(children: FakeChildren) -> None:
    async def story(clock: MockClock) -> None:
        assert not children.last.killed

    staging(children, story)
    assert children.last.killed


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
        self.progress, self.left_out = StageProgress(), {}
        return self

    progress: StageProgress
    left_out: dict[str, Exception]

    def run(self, plan: object, tell: Callable[[StageProgress], None]) -> None:
        what = self.next.pop(0) if len(self.next) > 1 else self.next[0]
        if isinstance(what, Exception):
            raise what
        self.left_out, self.progress.fetched = what
        tell(self.progress)


class Plan:
    total = 1000
    left_out: dict[str, Exception] = {}  # noqa: RUF012 (nothing is ever put into it)


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)


def run() -> StageProgress:
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


def test_how_far_it_is_can_be_read(runs: Runs) -> None:
    runs.next = [({}, 300)]
    one = stager()
    one._row.begin()
    one._run(cast(StagePlan, Plan()), "train")
    found = one._row.read("staging", "train", "bytes")
    assert found is not None
    assert (found.total, found.brought, found.running) == (1000, 300, True)


def test_how_far_it_came_is_said_when_it_has_ended(children: FakeChildren) -> None:
    one = stager()

    async def story(clock: MockClock) -> None:
        one._row.begin()
        one._row.update(10, 20, 10)
        children.last.end()
        await later(clock, 1)

    play(lambda: one.run(children.as_children()), story)
    found = one._row.read("staging", "train", "bytes")
    assert found is not None
    assert (found.done, found.running, found.seconds_left) == (10, False, None)
