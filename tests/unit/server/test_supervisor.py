"""The supervisor without a mount: its options and signals, its loop, and the order of the end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pyfuse3
import pytest

from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.errors import FuseRefusedError, UsageError
from imagenetfs.fuse.connection import Connection
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server import supervisor as module
from imagenetfs.server.access_monitor import AccessMonitor
from imagenetfs.server.background_indexer import BackgroundIndexer
from imagenetfs.server.supervisor import MountPlan, Supervisor, Watcher
from imagenetfs.system import mounts
from imagenetfs.tree.catalogue import Catalogue
from tests.helpers.leaks import descriptors, opened_since

SESSION = 77

pytestmark = pytest.mark.expects_log("fewer than there ought to be")


def plan(**more: Any) -> MountPlan:
    facts = {"workers": 4, "in_flight": None, "index_dir": None, "read_timeout": 35.0}
    return MountPlan(source=Path("/s"), mountpoint=Path("/m"), **{**facts, **more})


# --- options --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "escaped"),
    [("/data/a b", "/data/a b"), ("/a,b", "/a\\,b"), ("/a\\b", "/a\\\\b"), ("/\u00fc", "/?")],
)
def test_a_path_as_a_mount_option(path: str, escaped: str) -> None:
    assert module._escaped(Path(path)) == escaped


@pytest.fixture
def initiated(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, set[str]]]:
    """What pyfuse3 was asked to mount, where and with what options."""
    asked: list[tuple[str, set[str]]] = []

    def init(operations: object, place: str, options: set[str]) -> None:
        asked.append((place, options))

    @contextlib.contextmanager
    def new_session() -> Iterator[list[int]]:
        yield [7]

    monkeypatch.setattr(pyfuse3, "init", init)
    monkeypatch.setattr(module, "new_session", new_session)
    monkeypatch.setattr(mounts, "read_table", list)
    return asked


def test_a_mount_is_read_only_and_says_what_it_is(
    initiated: list[tuple[str, set[str]]],
) -> None:
    _, session_fd = module._mount(plan(fuse_options=("allow_other",)))
    assert session_fd == 7
    assert initiated == [("/m", {"fsname=/s", "subtype=imagenetfs", "ro", "allow_other"})]


def test_for_another_group_it_is_mounted_before(
    initiated: list[tuple[str, set[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def mount_for(*what: object) -> int:
        asked.append(what)
        return 9

    monkeypatch.setattr(module, "mount_for", mount_for)
    module._mount(plan(shown_to="users"))
    options = {"fsname=/s", "subtype=imagenetfs", "ro"}
    assert asked == [("users", Path("/m"), options)]
    assert initiated == [("/dev/fd/9", options)]


@pytest.mark.parametrize(
    ("options", "uid", "may", "words"),
    [
        ((), 1000, False, "fusermount3 -V"),
        (("allow_other",), 1000, False, "may say allow_other only where an administrator"),
        (("allow_root",), 1000, False, "may say allow_root only where an administrator"),
        (("allow_other",), 1000, True, "fusermount3 -V"),
        (("allow_other",), 0, False, "fusermount3 -V"),
    ],
)
def test_a_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], uid: int, may: bool, words: str
) -> None:
    def refuse(*what: object) -> None:
        raise RuntimeError("fuse_session_mount failed")

    monkeypatch.setattr(pyfuse3, "init", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setattr(module, "may_let_others_in", lambda: may)
    with pytest.raises(FuseRefusedError, match="fuse_session_mount failed") as caught:
        module._mount(plan(fuse_options=options))
    assert words in str(caught.value)


def test_the_list_of_a_view(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"a\nb\n")
    assert module._list_of("mine", tmp_path / "list") == b"a\nb\n"
    with pytest.raises(UsageError, match="the list of the view mine cannot be read: No such file"):
        module._list_of("mine", tmp_path / "nothing")


# --- signals --------------------------------------------------------------------------------------


def test_signals_wake_and_three_of_them_stop() -> None:
    heeded = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = [signal.getsignal(number) for number in (*heeded, signal.SIGCHLD)]
    opened = descriptors()
    with module._signals() as (wakeup, alarm, stopping):
        with pytest.raises(BlockingIOError):
            os.read(wakeup, 1)
        signal.raise_signal(signal.SIGCHLD)
        assert os.read(wakeup, 10) == bytes([signal.SIGCHLD])
        assert stopping == []
        for number in heeded:
            signal.raise_signal(number)
        assert stopping == list(heeded)
        assert sorted(os.read(wakeup, 10)) == sorted(heeded)
        module._wake(alarm)
        assert os.read(wakeup, 10) == b"\0"
    assert [signal.getsignal(number) for number in (*heeded, signal.SIGCHLD)] == before
    assert opened_since(opened) == {}


def test_the_wakeup_never_blocks() -> None:
    with module._signals() as (wakeup, alarm, _):
        for _ in range(70_000):  # more than a pipe holds
            module._wake(alarm)
        for _ in range(20):
            module._drain(wakeup)
        module._drain(wakeup)
        with pytest.raises(BlockingIOError):
            os.read(wakeup, 1)


# --- the loop -------------------------------------------------------------------------------------


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


class Part:
    """The indexer, the inflater, the access monitor."""

    busy = False
    pause = 0.05

    def __init__(self) -> None:
        self.ticks: list[int] = []
        self.killed = False

    def tick(self, session_fd: int) -> None:
        self.ticks.append(session_fd)

    def kill(self) -> None:
        self.killed = True


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
    """A supervisor with its parts; :meth:`run` it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **more: Any) -> None:
        self.pool, self.mounted, self.board = Pool(), Mounted(), SharedStats()
        self.ahead, self.permitted, self.inflater = Part(), Part(), Part()
        monkeypatch.setattr(module, "WorkerPool", self.pool)
        monkeypatch.setattr(module, "BackgroundInflater", lambda index, unpacked: self.inflater)
        monkeypatch.setattr(module, "_GRACE_SECONDS", 0.02)
        monkeypatch.setattr(module, "_LAST_SECONDS", 0.02)
        self.catalogue = SimpleNamespace(
            index=SimpleNamespace(builder=SimpleNamespace(wait_limit=0.0)),
            warnings=["found"],
            shortfalls=["fewer than there ought to be"],
            versions=[],
        )
        self.supervisor = Supervisor(
            plan(**more),
            cast(Catalogue, self.catalogue),
            cast(BackgroundIndexer, self.ahead),
            cast(AccessMonitor, self.permitted),
            self.board,
            cast(Operations, None),
            cast(InflatedArrays, None),
            SESSION,
        )
        self.stopping: list[int] = []
        self.ready: list[list[str]] = []

    def run(self, *watchers: Watcher) -> None:
        reader, writer = os.pipe2(os.O_NONBLOCK)
        try:
            self.supervisor.run(
                cast(Connection, self.mounted), self.ready.append, watchers, reader, self.stopping
            )
        finally:
            os.close(reader)
            os.close(writer)

    def stop(self) -> None:
        self.stopping.append(signal.SIGTERM)


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


def test_the_deadline_of_a_worker_leaves_the_kernel_its_attempts(start: Start) -> None:
    one = start(read_timeout=35.0)
    assert one.pool.more["deadline"] == one.catalogue.index.builder.wait_limit == 10.0
    assert one.pool.more["ceiling"] == 4


def test_each_part_is_ticked_with_the_session(start: Start) -> None:
    one = start()
    ticks = []

    def count() -> None:
        ticks.append(1)
        if len(ticks) == 3:
            one.stop()

    one.pool.on_tick = count
    one.run()
    for part in (one.ahead, one.permitted, one.inflater):
        assert part.ticks == [SESSION] * 3


def test_the_end_is_in_order_and_leaves_nothing(start: Start) -> None:
    one = start()
    one.pool.on_tick = one.stop
    one.run()
    assert one.mounted.done == ["limits", "detach", "abort"]
    assert one.pool.done[-1] == "kill"
    assert all(part.killed for part in (one.ahead, one.permitted, one.inflater))


def test_a_session_that_is_over_needs_no_abort(start: Start) -> None:
    one = start()

    def end() -> None:
        one.pool.over = True
        one.pool.alive = 0

    one.pool.on_tick = end
    one.run()
    assert one.mounted.done == ["limits", "detach"]


def test_all_parts_are_ended_where_the_loop_fails(start: Start) -> None:
    one = start()

    def fail() -> None:
        raise ZeroDivisionError

    one.pool.on_tick = fail
    with pytest.raises(ZeroDivisionError):
        one.run()
    assert all(part.killed for part in (one.ahead, one.permitted, one.inflater))
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
    """A watcher whose descriptor is readable from the start."""

    def __init__(self, ready: bool, tick: bool) -> None:
        self.reader, writer = os.pipe()
        os.write(writer, b"!")
        os.close(writer)
        self._ready, self._tick = ready, tick
        self.asked: list[str] = []

    def fileno(self) -> int:
        return self.reader

    def ready(self) -> bool:
        self.asked.append("ready")
        os.read(self.reader, 1)
        return self._ready

    def tick(self) -> bool:
        self.asked.append("tick")
        return self._tick


@pytest.fixture
def watching() -> Iterator[Callable[..., Watching]]:
    made: list[Watching] = []

    def make(**more: bool) -> Watching:
        made.append(Watching(**more))
        return made[-1]

    yield make
    for one in made:
        os.close(one.reader)


@pytest.mark.parametrize(
    ("ready", "tick", "asked"), [(True, False, ["ready"]), (False, True, ["ready", "tick"])]
)
def test_a_watcher_may_ask_for_the_end(
    start: Start,
    watching: Callable[..., Watching],
    ready: bool,
    tick: bool,
    asked: list[str],
) -> None:
    one, watcher = start(), watching(ready=ready, tick=tick)
    one.run(watcher)
    assert watcher.asked == asked
    assert "detach" in one.mounted.done


def test_signals_that_are_not_heeded_are_told_and_forgotten(
    monkeypatch: pytest.MonkeyPatch,
    watching: Callable[..., Watching],
    caplog: pytest.LogCaptureFixture,
) -> None:
    one = Running(monkeypatch, heed_signals=False)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    os.write(writer, b"\x0f")
    one.stopping = [signal.SIGTERM]
    watcher = watching(ready=False, tick=True)
    with caplog.at_level("INFO"):
        one.supervisor.run(
            cast(Connection, one.mounted), one.ready.append, [watcher], reader, one.stopping
        )
    assert one.stopping == []
    assert "SIGTERM is not heeded" in caplog.text
    os.close(reader)
    os.close(writer)
