"""The supervisor without a mount: what its tasks do, and the order of the end."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from imagenetfs.fuse.connection import Connection
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server import supervisor as module
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from imagenetfs.server.supervisor import Supervisor, Watcher
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.split_backend import SplitBackend

SESSION = 77

pytestmark = pytest.mark.expects_log("fewer than there ought to be")


def plan(**more: Any) -> MountPlan:
    settings = ServerSettings(workers=4, in_flight=None, index_dir=None, read_timeout=35.0)
    return MountPlan(source=Path("/s"), mountpoint=Path("/m"), settings=settings, **more)


def test_what_is_staged_is_indexed_from_the_start() -> None:
    splits = [Split(name, cast(SplitBackend, None), "") for name in (b"train", b"val", b"other")]
    versions = [Version(b"ILSVRC2012", splits[:2]), Version(b"x", splits[2:])]
    context = SimpleNamespace(
        catalogue=SimpleNamespace(versions=versions),
        tree=SimpleNamespace(split_directories=splits),
        stats=SharedStats(),
    )
    one = cast(Supervisor, SimpleNamespace(_context=context))
    Supervisor._have_indexed(one, ["ILSVRC2012/val", "x"])
    assert context.stats.touched() == [1, 2]


class Log:
    """What was done, in order."""

    def __init__(self) -> None:
        self.done: list[str] = []


class Pool(Log):
    """Workers that a test lets end."""

    quiet_seconds = 0.0
    pids = (501, 502)
    restarts = 0

    def __init__(self) -> None:
        super().__init__()
        self.over = False
        self.alive = 2
        self.on_tick: Callable[[], None] = lambda: None
        self.more: dict[str, Any] = {}

    def __call__(self, board: SharedStats, fork: object, **more: Any) -> Pool:
        self.more = more
        return self

    def tick(self) -> bool:
        self.on_tick()
        return True

    def reap(self) -> bool:
        self.done.append("reap")
        return False

    def fill(self) -> bool:
        self.done.append("fill")
        return False

    def kill(self) -> None:
        self.done.append("kill")

    def __len__(self) -> int:
        return self.alive


class Task:
    """The recorder, indexer, inflater or access monitor: what it was given, and how it ended."""

    def __init__(self) -> None:
        self.given: tuple[object, ...] = ()
        self.state = "not started"
        self.fails_with: Exception | None = None

    async def run(self, *given: object) -> None:
        self.given, self.state = given, "running"
        if self.fails_with is not None:
            raise self.fails_with
        try:
            await trio.sleep_forever()
        finally:
            self.state = "ended"


class Mounted(Log):
    """A connection."""

    def raise_limits(self) -> None:
        self.done.append("limits")

    def detach(self) -> None:
        self.done.append("detach")

    def abort(self) -> None:
        self.done.append("abort")

    def unmount_if_free(self) -> None:
        self.done.append("unmount if free")


class Running:
    """A supervisor with its parts; :meth:`run` it. Time passes as fast as its tasks wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        self.pool, self.mounted, self.board = Pool(), Mounted(), SharedStats()
        self.indexer, self.inflater, self.monitor = Task(), Task(), Task()
        self.recorder = Task()
        monkeypatch.setattr(module, "WorkerPool", self.pool)
        for name, part in (
            ("ActivityRecorder", self.recorder),
            ("BackgroundIndexer", self.indexer),
            ("BackgroundInflater", self.inflater),
            ("AccessMonitor", self.monitor),
        ):
            monkeypatch.setattr(module, name, lambda *what, part=part, **more: part)
        catalogue = SimpleNamespace(
            warnings=["found"], shortfalls=["fewer than there ought to be"], versions=[]
        )
        self.context = SimpleNamespace(
            catalogue=catalogue,
            tree=SimpleNamespace(split_directories=[]),
            stats=self.board,
            after_fork=lambda row: None,
            source=None,
            source_paths=None,
            inflated=None,
            cached=None,
            ownership=None,
        )
        self.supervisor = Supervisor(
            plan(**more),
            cast(MountContext, self.context),
            cast(Operations, None),
            cast(Connection, self.mounted),
            SESSION,
        )
        self.send, self._signals = trio.open_memory_channel[int](100)
        self.ready: list[list[str]] = []
        self.elapsed = 0.0

    def run(self, *watchers: Watcher) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK)

        async def main() -> None:
            begun = trio.current_time()
            try:
                with trio.fail_after(10_000):
                    await self.supervisor.run(self.ready.append, watchers, self.signals(), reader)
            finally:
                self.elapsed = trio.current_time() - begun

        try:
            trio.run(main, clock=MockClock(autojump_threshold=0))
        finally:
            os.close(reader)
            os.close(writer)

    async def signals(self) -> AsyncIterator[int]:
        async for number in self._signals:
            yield number

    def stop(self) -> None:
        self.send.send_nowait(signal.SIGTERM)

    @property
    def parts(self) -> list[Task]:
        return [self.recorder, self.indexer, self.inflater, self.monitor]


Start = Callable[..., Running]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Start:
    return lambda **more: Running(monkeypatch, **more)


def test_it_is_ready_when_workers_serve_and_facts_are_told(start: Start) -> None:
    one = start(warnings=("of the plan",))
    told: list[dict[str, Any]] = []
    one.ready = cast(Any, SimpleNamespace(append=lambda found: told.append(one.board.facts())))
    one.pool.on_tick = one.stop
    one.run()
    assert one.pool.done[0] == "fill"
    (facts,) = told
    assert facts["warnings"] == ["of the plan", "found", "fewer than there ought to be"]
    assert (facts["worker_pids"], facts["mountpoint"], facts["source"]) == ([501, 502], "/m", "/s")
    assert facts["cache"] is None


def test_a_worker_is_forked_with_sigterm_blocked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = start()
    masks: list[set[int]] = []

    def fork() -> int:
        masks.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
        if len(masks) > 1:
            raise BlockingIOError
        return 501

    monkeypatch.setattr(os, "fork", fork)
    assert one.supervisor._fork(3) == 501
    with pytest.raises(BlockingIOError):
        one.supervisor._fork(4)
    assert masks == [{signal.SIGTERM}, {signal.SIGTERM}]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_the_deadline_of_a_worker_leaves_the_kernel_its_attempts(start: Start) -> None:
    one = start()
    assert (one.pool.more["deadline"], one.pool.more["ceiling"]) == (10.0, 4)


def test_each_concern_has_a_task(start: Start) -> None:
    one = start()
    states = list[list[str]]()

    def look() -> None:
        states.append([part.state for part in one.parts])
        if len(states) == 3:
            one.stop()

    one.pool.on_tick = look
    one.run()
    assert states[-1] == ["running"] * 4
    assert one.monitor.given[-1] == SESSION


def test_a_pool_that_is_in_use_is_looked_at_often_one_at_rest_seldom(start: Start) -> None:
    one, at, answers = start(), list[float](), [True] * 10 + [False] * 30

    def look() -> bool:
        at.append(trio.current_time())
        if not answers:
            one.stop()
            return False
        return answers.pop(0)

    one.pool.tick = look  # type: ignore[method-assign]  # what it says of itself
    one.run()
    pauses = [after - before for before, after in pairwise(at)]
    assert max(pauses[:9]) == pytest.approx(0.02)
    assert max(pauses) == pytest.approx(0.5)
    assert pauses[10:] == pytest.approx(sorted(pauses[10:]))


def test_the_end_is_in_order_and_leaves_nothing(start: Start) -> None:
    one = start()
    one.pool.on_tick = one.stop
    one.run()
    assert one.mounted.done == ["limits", "detach", "abort"]
    assert one.pool.done[-1] == "kill"
    assert [part.state for part in one.parts] == ["ended"] * 4
    assert 5.0 <= one.elapsed < 6.5


def test_what_is_open_is_read_to_its_end_with_the_help_of_the_background(start: Start) -> None:
    """An array that a reader waits for is inflated while files are still open."""
    one, seen = start(), list[str]()
    one.pool.on_tick = one.stop

    def reap() -> bool:
        if "detach" in one.mounted.done:
            seen.append(one.inflater.state)
            one.pool.alive = 0 if len(seen) > 3 else 2
        return False

    one.pool.reap = reap  # type: ignore[method-assign]  # a worker that ends in that time
    one.run()
    assert set(seen) == {"running"}
    assert one.inflater.state == "ended"


def test_a_session_that_is_over_needs_no_abort(start: Start) -> None:
    one = start()

    def end() -> None:
        one.pool.over = True
        one.pool.alive = 0

    one.pool.on_tick = end
    one.run()
    assert one.mounted.done == ["limits", "detach"]


def test_all_parts_are_ended_where_a_task_fails(start: Start) -> None:
    one = start()

    def fail() -> None:
        raise ZeroDivisionError

    one.pool.on_tick = fail
    with pytest.raises(ExceptionGroup) as caught:
        one.run()
    assert isinstance(module._first_of(caught.value), ZeroDivisionError)
    assert "running" not in [part.state for part in one.parts]
    assert one.pool.done[-1] == "kill"


def test_a_background_task_that_fails_ends_the_mount(start: Start) -> None:
    one = start()
    one.inflater.fails_with = ZeroDivisionError()
    with pytest.raises(ExceptionGroup):
        one.run()
    assert one.pool.done[-1] == "kill"


def test_an_unused_mount_is_unmounted_if_free(start: Start) -> None:
    one = start(idle=5.0)
    one.pool.quiet_seconds = 5.1
    one.pool.on_tick = one.stop
    one.run()
    assert "unmount if free" in one.mounted.done
    two = start(idle=5.0)
    two.pool.quiet_seconds = 4.9
    two.pool.on_tick = two.stop
    two.run()
    assert "unmount if free" not in two.mounted.done


class Watching:
    """A watcher that asks for the end after some time, or never."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.state = "not started"

    async def run(self) -> None:
        self.state = "running"
        try:
            await trio.sleep(self.seconds)
        finally:
            self.state = "ended"


@pytest.mark.slow
def test_a_watcher_may_ask_for_the_end(start: Start) -> None:
    one, first, other = start(), Watching(100.0), Watching(1e6)
    one.run(first, other)
    assert "detach" in one.mounted.done
    assert (first.state, other.state) == ("ended", "ended")
    assert 100.0 <= one.elapsed < 110.0


def test_signals_that_are_not_heeded_are_told_and_forgotten(
    start: Start, caplog: pytest.LogCaptureFixture
) -> None:
    one = start(heed_signals=False)
    one.stop()
    with caplog.at_level("INFO"):
        one.run(Watching(1.0))
    assert "SIGTERM is not heeded" in caplog.text
    assert one.elapsed >= 1.0


def test_a_child_that_ended_wakes_the_tasks(start: Start) -> None:
    one, at = start(), list[float]()

    def look() -> bool:
        at.append(trio.current_time())
        if len(at) == 40:
            one.send.send_nowait(signal.SIGCHLD)
        if len(at) == 42:
            one.stop()
        return False

    one.pool.tick = look  # type: ignore[method-assign]  # nothing has been asked for long
    one.run()
    pauses = [after - before for before, after in pairwise(at)]
    assert pauses[37] == pytest.approx(0.5)
    assert pauses[39] == 0.0
