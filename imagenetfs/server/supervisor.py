"""The supervisor: mounts, answers the kernel's first request, then forks the workers that serve.

It stays single-threaded, so that it may fork at any time, and never touches its own mount: one stat
of it from here would wait for itself. See docs/architecture.md.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pyfuse3

from imagenetfs import __version__
from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.cache.quota import Limits
from imagenetfs.errors import FuseRefusedError, ImagenetfsError, UsageError
from imagenetfs.fuse.attributes import REVISIT_SECONDS
from imagenetfs.fuse.connection import Connection
from imagenetfs.fuse.handshake import handshake, new_session
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.stats import SUPERVISOR, SharedStats
from imagenetfs.fuse.status_files import StatusFiles
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.read.ownership import OwnershipMapper
from imagenetfs.read.reader import Reader
from imagenetfs.server.access_monitor import AccessMonitor
from imagenetfs.server.background_indexer import BackgroundIndexer
from imagenetfs.server.background_inflater import BackgroundInflater
from imagenetfs.server.background_stager import STREAMS, BackgroundStager, splits_of
from imagenetfs.server.cache_monitor import (
    CacheHealthReporter,
    CacheJanitor,
    cache_backend,
    inflated_arrays,
)
from imagenetfs.server.worker import work
from imagenetfs.server.worker_pool import WorkerPool
from imagenetfs.source.file_state import Ownership
from imagenetfs.source.source import REVALIDATE_SECONDS, Source
from imagenetfs.system.files import open_regular
from imagenetfs.system.fusermount import FUSE_CONF, may_let_others_in, mount_for
from imagenetfs.system.process import no_core_dumps
from imagenetfs.system.resources import raise_open_files
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.source_paths import SourcePaths
from imagenetfs.tree.tree import Tree

log = logging.getLogger(__name__)

_ATTEMPTS = 3.5
"""The kernel asks up to three times for a page that is mapped; the rest is for
the workers that come anew.
"""

_BUSY_TICK = 0.02
_IDLE_TICK = 0.5
_GRACE_SECONDS = 5.0
_LAST_SECONDS = 0.5
_SUBTYPE = "imagenetfs"


class Watcher(Protocol):
    """A descriptor of another component in the supervisor's loop. True asks for the mount's end."""

    def fileno(self) -> int:
        """The descriptor to wait for."""
        ...

    def ready(self) -> bool:
        """Called when the descriptor is readable."""
        ...

    def tick(self) -> bool:
        """Called at least once a second."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """What to mount where. ``workers`` is a ceiling; ``read_timeout``, ``revalidate`` and
    ``idle`` (unused for so long, the mount ends) in seconds; ``views``: name and list.
    ``shown_to``: the primary group of those who read, where it is not this process's.
    ``root_access``: owner, group and permission bits of the root directory in a mount for all
    users, in which all else has the rights of the source. ``heed_signals``: whether SIGTERM,
    SIGINT and SIGHUP end the mount; without it a watcher alone does. ``warnings``: what its users
    shall be told, beside what is found in the source.

    ``cache_dir``: where what is read is kept (None: nowhere), at most ``cache_size`` bytes while
    ``keep_free`` bytes of its file system stay free; ``stage``: what is brought there ahead, as
    VERSION or VERSION/SPLIT.
    """

    source: Path
    mountpoint: Path
    fuse_options: tuple[str, ...] = ()
    workers: int
    in_flight: int | None
    index_dir: Path | None
    index_path: tuple[Path, ...] = ()
    read_timeout: float
    revalidate: float = REVALIDATE_SECONDS
    prefer: str = "archives"
    views: tuple[tuple[str, Path], ...] = ()
    log_path: Path | None = None
    cache_dir: Path | None = None
    cache_size: int = 0
    keep_free: int = 0
    stage: tuple[str, ...] = ()
    shown_to: str | None = None
    root_access: Ownership | None = None
    idle: float | None = None
    heed_signals: bool = True
    warnings: tuple[str, ...] = ()


def serve(
    plan: MountPlan, *, ready: Callable[[list[str]], None], watchers: Sequence[Watcher] = ()
) -> None:
    """Mount and serve until unmounted, told by a signal (``heed_signals``), or a
    watcher asks for the end.

    Calls ``ready(warnings)`` when the mount can be read. Raises ImagenetfsError before that where
    it cannot mount; nothing is left mounted then. The calling process must be single-threaded.
    """
    no_core_dumps()
    raise_open_files()
    stats = SharedStats()
    source = Source(plan.source, stats.row(SUPERVISOR), revalidate=plan.revalidate)
    places = IndexSearchPath(plan.index_dir, plan.source, plan.index_path)
    lists = {name: _list_of(name, path) for name, path in plan.views}
    catalogue = build_catalogue(
        source, places=places, in_flight=plan.in_flight, prefer=plan.prefer, lists=lists
    )
    tree = Tree(catalogue, __version__)
    cached = None
    if plan.cache_dir is not None:
        limits = Limits(plan.cache_size, plan.keep_free)
        cached = cache_backend(catalogue, plan.cache_dir, limits, plan.revalidate)
        splits_of(catalogue, plan.stage)  # a wrong name is told before anything is mounted
    unpacked = inflated_arrays(catalogue, cached)
    reader = Reader(catalogue.index, source, unpacked, cached)
    # Before a mount is taken for unused, readers that the kernel's cache serves must be seen.
    revisit = min(REVISIT_SECONDS, plan.idle / 3) if plan.idle else REVISIT_SECONDS
    live = StatusFiles(stats, catalogue.late_warnings, plan.log_path, source.failures)
    backing = SourcePaths(tree)
    access = (
        OwnershipMapper(source, backing, plan.revalidate) if plan.root_access is not None else None
    )
    permission = AccessGuard(source, backing, access)
    tree.show_words_if(permission.may_show)
    operations = Operations(
        tree, reader, live, stats, permission, revisit, plan.root_access, access
    )
    with _signals() as (wakeup, alarm, stopping):
        stats.alarm = partial(_wake, alarm)
        connection, session_fd = _mount(plan)
        try:
            session = handshake(session_fd)
            operations.answer_opens(session.opens, session.opens_directories)
            ahead = BackgroundIndexer(catalogue, tree, stats, places, plan.in_flight)
            permitted = AccessMonitor(
                source, backing, stats, plan.revalidate, rights=access is not None
            )
            supervisor = Supervisor(
                plan, catalogue, ahead, permitted, stats, operations, unpacked, session_fd, cached
            )
            supervisor.run(connection, ready, watchers, wakeup, stopping)
        finally:
            with contextlib.suppress(ImagenetfsError):
                connection.detach()
            pyfuse3.close(unmount=False)


def _list_of(name: str, path: Path) -> bytes:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
            return file.read()
    except OSError as error:
        raise UsageError(
            f"the list of the view {name} cannot be read: {error.strerror} ({path})."
        ) from None


def _mount(plan: MountPlan) -> tuple[Connection, int]:
    """The connection, and the descriptor of its session. Raises FuseRefusedError."""
    options = {f"fsname={_escaped(plan.source)}", f"subtype={_SUBTYPE}", "ro", *plan.fuse_options}
    place = str(plan.mountpoint)
    try:
        with new_session() as opened:
            if plan.shown_to is not None:
                place = f"/dev/fd/{mount_for(plan.shown_to, plan.mountpoint, options)}"
            pyfuse3.init(pyfuse3.Operations(), place, options)
    except RuntimeError as error:
        raise FuseRefusedError(
            f"the mount on {plan.mountpoint} was refused ({error}); the lines "
            f"above say why. {_advice(plan)}"
        ) from None
    return Connection(plan.mountpoint), opened[0]


def _advice(plan: MountPlan) -> str:
    """What to do where the mount was refused."""
    for option in ("allow_other", "allow_root"):
        if option in plan.fuse_options and os.geteuid() != 0 and not may_let_others_in():
            return (
                f"An ordinary user may say {option} only where an administrator has added the line "
                f"user_allow_other to {FUSE_CONF}."
            )
    return "Try `fusermount3 -V`, and see that /dev/fuse may be opened."


def _escaped(path: Path) -> str:
    """A path as a value in a mount option: libfuse splits at commas, and
    pyfuse3 takes ASCII only.
    """
    text = str(path).encode("ascii", "replace").decode()
    return text.replace("\\", "\\\\").replace(",", "\\,")


@contextlib.contextmanager
def _signals() -> Iterator[tuple[int, int, list[int]]]:
    """Signals as bytes on a pipe, both of its ends; the list is filled when one
    of them asks for the end.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    stopping: list[int] = []
    before: dict[signal.Signals, Any] = {}

    def stop(number: int, frame: object) -> None:
        stopping.append(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        before[number] = signal.signal(number, stop)
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda number, frame: None)
    old = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    try:
        yield reader, writer, stopping
    finally:
        signal.set_wakeup_fd(old)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


class Supervisor:
    """The loop around the pool of workers."""

    def __init__(
        self,
        plan: MountPlan,
        catalogue: Catalogue,
        ahead: BackgroundIndexer,
        permitted: AccessMonitor,
        stats: SharedStats,
        operations: Operations,
        unpacked: InflatedArrays,
        session_fd: int,
        cached: CacheBackend | None = None,
    ) -> None:
        self._plan = plan
        self._catalogue = catalogue
        self._stats = stats
        self._operations = operations
        self._unpacked = unpacked
        self._session_fd = session_fd
        self._cached = cached
        self._watch: CacheHealthReporter | None = None
        self._keeper = CacheJanitor(stats, cached.cache) if cached is not None else None
        if cached is not None and plan.cache_dir is not None:
            self._watch = CacheHealthReporter(stats, plan.cache_dir, cached.cache.quota.limits)
        self._staging: BackgroundStager | None = None
        if cached is not None and plan.stage:
            streams = plan.in_flight or STREAMS
            self._staging = BackgroundStager(
                catalogue, cached, unpacked, stats, plan.stage, streams
            )
        self._started = time.time()
        self._warnings = [*plan.warnings, *catalogue.warnings, *catalogue.shortfalls]
        self._pool = WorkerPool(
            stats,
            self._fork,
            cores=len(os.sched_getaffinity(0)),
            ceiling=plan.workers,
            deadline=plan.read_timeout / _ATTEMPTS,
        )
        catalogue.index.builder.wait_limit = plan.read_timeout / _ATTEMPTS
        self._ahead = ahead
        self._permitted = permitted
        self._unpacking = BackgroundInflater(catalogue.index, unpacked)

    def _fork(self, number: int) -> int:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            session, stats, unpacked = self._session_fd, self._stats, self._unpacked
            catalogue, cached = self._catalogue, self._cached
            work(number, parent, session, self._operations, catalogue, stats, unpacked, cached)
        return pid

    def run(
        self,
        connection: Connection,
        ready: Callable[[list[str]], None],
        watchers: Sequence[Watcher],
        wakeup: int,
        stopping: list[int],
    ) -> None:
        """Serve until the end. The mount is out of the mount table when this returns."""
        try:
            connection.raise_limits()
            self._pool.fill()
            self._publish()
            ready(self._warnings)
            log.info("mounted %s on %s", self._plan.source, self._plan.mountpoint)
            for shortfall in self._catalogue.shortfalls:
                log.warning("%s", shortfall)
            self._loop(connection, watchers, wakeup, stopping)
            self._end(connection, wakeup)
        finally:
            self._ahead.kill()
            self._permitted.kill()
            self._unpacking.kill()
            if self._keeper is not None:
                self._keeper.kill()
            if self._staging is not None:
                self._staging.kill()
            self._pool.kill()

    def _loop(
        self,
        connection: Connection,
        watchers: Sequence[Watcher],
        wakeup: int,
        stopping: list[int],
    ) -> None:
        by_fd = {watcher.fileno(): watcher for watcher in watchers}
        poller = select.poll()
        for fd in (wakeup, *by_fd):
            poller.register(fd, select.POLLIN)
        pause, next_tick = _BUSY_TICK, 0.0
        while not (stopping and self._plan.heed_signals) and not self._pool.over:
            for fd, _ in poller.poll(pause * 1000):
                if fd == wakeup:
                    _drain(wakeup)
                    while stopping and not self._plan.heed_signals:
                        log.info("%s is not heeded", signal.Signals(stopping.pop()).name)
                elif by_fd[fd].ready():
                    return
            if time.monotonic() >= next_tick:
                next_tick = time.monotonic() + 1.0
                if any(watcher.tick() for watcher in watchers):
                    return
                if self._plan.idle is not None and self._pool.quiet_seconds > self._plan.idle:
                    connection.unmount_if_free()
            in_use = self._pool.tick()
            changed = self._pool.reap()
            if self._pool.over:
                return
            if self._pool.fill() or changed:
                self._publish()
            self._ahead.tick(self._session_fd)
            self._permitted.tick(self._session_fd)
            self._unpacking.tick(self._session_fd)
            if self._watch is not None:
                self._watch.tick()
            if self._keeper is not None:
                self._keeper.tick(self._session_fd)
            if self._staging is not None:
                self._staging.tick(self._session_fd)
            working = in_use or self._ahead.busy or self._unpacking.busy
            idle_pause = min(_IDLE_TICK, self._permitted.pause, pause * 1.5)
            pause = _BUSY_TICK if working else idle_pause

    def _publish(self) -> None:
        plan = self._plan
        self._stats.publish(
            {
                "version": __version__,
                "source": str(plan.source),
                "mountpoint": str(plan.mountpoint),
                "pid": os.getpid(),
                "started": self._started,
                "worker_pids": self._pool.pids,
                "worker_restarts": self._pool.restarts,
                "warnings": self._warnings,
                "shortfalls": self._catalogue.shortfalls,
                "versions": {
                    version.name.decode(): {
                        split.name.decode(): {
                            "classes": len(split.backend.classes),
                            "origin": split.origin,
                        }
                        for split in version.splits
                    }
                    for version in self._catalogue.versions
                },
                "cache": self._watch.facts() if self._watch else None,
                "log": str(plan.log_path) if plan.log_path else None,
            }
        )

    def _end(self, connection: Connection, wakeup: int) -> None:
        """Out of the mount table at once; what is open gets a few
        seconds; then the session ends.
        """
        connection.detach()
        poller = select.poll()
        poller.register(wakeup, select.POLLIN)
        deadline = time.monotonic() + _GRACE_SECONDS
        self._pool.reap()
        while len(self._pool) and not self._pool.over and time.monotonic() < deadline:
            poller.poll(50)
            _drain(wakeup)
            self._pool.reap()
        if not self._pool.over:
            connection.abort()
        # The session is over for all of them; each leaves what its cache has counted.
        deadline = time.monotonic() + _LAST_SECONDS
        while len(self._pool) and time.monotonic() < deadline:
            poller.poll(10)
            _drain(wakeup)
            self._pool.reap()
        log.info("unmounted %s", self._plan.mountpoint)


def _wake(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):  # it is full: the supervisor is awake
        os.write(fd, b"\0")


def _drain(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(fd, 4096)
