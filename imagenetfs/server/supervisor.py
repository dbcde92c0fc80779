"""The supervisor: mounts, answers the kernel's first request, then forks the workers that serve.

It is a trio program: one task for each concern, in two nurseries. The tasks that serve end first;
those in the background (children that index, inflate, stage, probe) go on while files that are
open are read to their end, and are cancelled then. It has one thread, so that it may fork at any
time, and never touches its own mount: one stat of it from here would wait for itself. See
docs/architecture.md and docs/decisions/0022.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import AsyncIterable, Callable, Sequence
from typing import Protocol

import trio

from imagenetfs.fuse.connection import Connection
from imagenetfs.fuse.operations import Operations
from imagenetfs.server.access_monitor import AccessMonitor
from imagenetfs.server.activity_recorder import ActivityRecorder
from imagenetfs.server.background_indexer import BackgroundIndexer
from imagenetfs.server.background_inflater import BackgroundInflater
from imagenetfs.server.background_stager import BackgroundStager
from imagenetfs.server.cache_monitor import CacheHealthReporter, CacheJanitor
from imagenetfs.server.child_process import Children
from imagenetfs.server.end_signals import END_SIGNALS, end_signals_noted
from imagenetfs.server.fuse_mount import fuse_mounted
from imagenetfs.server.mount_context import (
    MountContext,
    assemble,
    attempt_seconds,
    operations_of,
)
from imagenetfs.server.mount_facts import MountFacts
from imagenetfs.server.mount_plan import MountPlan
from imagenetfs.server.stage_plan import STREAMS, splits_of
from imagenetfs.server.wakeup import Wakeup, alarm, answer_alarms
from imagenetfs.server.worker import work
from imagenetfs.server.worker_pool import WorkerPool
from imagenetfs.system.process import no_core_dumps, signals_blocked
from imagenetfs.system.resources import raise_open_files

log = logging.getLogger(__name__)

_BUSY_TICK = 0.02
_IDLE_TICK = 0.5
_UNUSED_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 5.0
_LAST_SECONDS = 0.5


class Watcher(Protocol):
    """A concern of another component, as a task of the supervisor."""

    async def run(self) -> None:
        """Its return asks for the mount's end."""


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
    context = assemble(plan)
    if context.cached is not None:
        splits_of(context.catalogue, plan.settings.stage)  # a wrong name is told before the mount
    operations = operations_of(context, plan)
    with end_signals_noted() as noted:
        try:
            trio.run(_serve, plan, context, operations, ready, watchers, noted)
        except BaseExceptionGroup as group:
            raise _first_of(group) from None


async def _serve(
    plan: MountPlan,
    context: MountContext,
    operations: Operations,
    ready: Callable[[list[str]], None],
    watchers: Sequence[Watcher],
    noted: list[int],
) -> None:
    with (
        trio.open_signal_receiver(*END_SIGNALS, signal.SIGCHLD) as received,
        alarm() as (reader, raise_alarm),
    ):
        context.stats.alarm = context.inflated.alarm = raise_alarm
        with fuse_mounted(plan) as (connection, session):
            operations.answer_opens(session.opens, session.opens_directories)
            supervisor = Supervisor(plan, context, operations, connection, session.fd)
            for number in noted:  # those that came before the receiver was there
                signal.raise_signal(number)
            await supervisor.run(ready, watchers, received, reader)


def _first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first exception that ended a task; the others were cancelled."""
    first = group.exceptions[0]
    return _first_of(first) if isinstance(first, BaseExceptionGroup) else first


class Supervisor:
    """The tasks of one mount."""

    def __init__(
        self,
        plan: MountPlan,
        context: MountContext,
        operations: Operations,
        connection: Connection,
        session_fd: int,
    ) -> None:
        self._plan = plan
        self._context = context
        self._operations = operations
        self._connection = connection
        self._session_fd = session_fd
        self._facts = MountFacts(plan, context)
        self._wakeup = Wakeup()
        self._children = Children(session_fd, self._wakeup, context.after_fork)
        self._serving = trio.CancelScope()
        self._pool = WorkerPool(
            context.stats,
            self._fork,
            cores=len(os.sched_getaffinity(0)),
            ceiling=plan.settings.workers,
            deadline=attempt_seconds(plan.settings.read_timeout),
        )

    def _fork(self, number: int) -> int:
        parent = os.getpid()
        # The pool may tell a worker to leave before that has said what it does then.
        with signals_blocked(signal.SIGTERM):
            pid = os.fork()
            if pid == 0:
                work(number, parent, self._session_fd, self._operations, self._context)
        return pid

    async def run(
        self,
        ready: Callable[[list[str]], None],
        watchers: Sequence[Watcher],
        signals: AsyncIterable[int],
        alarm_reader: int,
    ) -> None:
        """Serve until the end. The mount is out of the mount table when this returns."""
        try:
            self._connection.raise_limits()
            self._pool.fill()
            self._facts.publish(self._pool)
            ready(self._facts.warnings)
            self._log_mounted()
            async with trio.open_nursery() as background:
                background.start_soon(self._heed, signals)
                background.start_soon(answer_alarms, alarm_reader, self._wakeup)
                self._start_background(background)
                await self._serve(watchers)
                await self._end()
                background.cancel_scope.cancel()
        finally:
            self._pool.kill()

    def _log_mounted(self) -> None:
        log.info("mounted %s on %s", self._plan.source, self._plan.mountpoint)
        for shortfall in self._context.catalogue.shortfalls:
            log.warning("%s", shortfall)

    # --- serving ----------------------------------------------------------------------------------

    async def _serve(self, watchers: Sequence[Watcher]) -> None:
        """Until something asks for the end."""
        with self._serving:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_workers)
                for watcher in watchers:
                    nursery.start_soon(self._watch, watcher)
                if self._plan.idle is not None:
                    nursery.start_soon(self._unmount_when_unused, self._plan.idle)

    async def _watch(self, watcher: Watcher) -> None:
        await watcher.run()
        self._serving.cancel()

    async def _keep_workers(self) -> None:
        """Have enough workers, until the kernel has ended the session."""
        pause = _BUSY_TICK
        while not self._pool.over:
            in_use = self._pool.tick()
            changed = self._pool.reap()
            if self._pool.over:
                break
            if self._pool.fill() or changed:
                self._facts.publish(self._pool)
            pause = _BUSY_TICK if in_use else min(_IDLE_TICK, pause * 1.5)
            await self._wakeup.wait(pause)
        self._serving.cancel()

    async def _unmount_when_unused(self, seconds: float) -> None:
        while True:
            left = seconds - self._pool.quiet_seconds
            if left < 0:
                self._connection.unmount_if_free()
            await trio.sleep(max(left, _UNUSED_LOOK_SECONDS))

    # --- beside it --------------------------------------------------------------------------------

    async def _heed(self, signals: AsyncIterable[int]) -> None:
        """Act on signals: of children that ended, and of those who want the mount to end."""
        async for number in signals:
            if number == signal.SIGCHLD:
                self._wakeup.wake()
            elif self._plan.heed_signals:
                self._serving.cancel()
            else:
                log.info("%s is not heeded", signal.Signals(number).name)

    def _start_background(self, nursery: trio.Nursery) -> None:
        settings, context, children = self._plan.settings, self._context, self._children
        nursery.start_soon(ActivityRecorder(context.stats, self._pool).run)
        indexer = BackgroundIndexer(context, settings.in_flight)
        nursery.start_soon(indexer.run, children, self._wakeup)
        inflater = BackgroundInflater(context.inflated)
        nursery.start_soon(inflater.run, children, self._wakeup)
        monitor = AccessMonitor(
            context.source,
            context.source_paths,
            settings.revalidate,
            rights=context.ownership is not None,
        )
        nursery.start_soon(monitor.run, children, self._session_fd)
        if self._plan.cache is None or context.cached is None:
            return
        cache = self._plan.cache
        reporter = CacheHealthReporter(context.stats, cache.directory)
        nursery.start_soon(reporter.run)
        janitor = CacheJanitor(context.stats, context.cached.cache)
        nursery.start_soon(janitor.run, children)
        if settings.stage:
            self._have_indexed(settings.stage)
            streams = settings.in_flight or STREAMS
            stager = BackgroundStager(context, context.cached, settings.stage, streams)
            nursery.start_soon(stager.run, children)

    def _have_indexed(self, names: Sequence[str]) -> None:
        """What is staged is going to be listed: its index is made now, not at the first touch."""
        staged = {id(split) for split in splits_of(self._context.catalogue, names)}
        for number, split in enumerate(self._context.tree.split_directories):
            if id(split) in staged:
                self._context.stats.touch(number)

    # --- the end ----------------------------------------------------------------------------------

    async def _end(self) -> None:
        """Out of the mount table at once; what is open gets a few
        seconds; then the session ends.
        """
        self._connection.detach()
        self._pool.reap()
        await self._wait_for_workers(_GRACE_SECONDS, lambda: self._pool.over)
        if not self._pool.over:
            self._connection.abort()
        # The session is over for all of them; each leaves what its cache has counted.
        await self._wait_for_workers(_LAST_SECONDS, lambda: False)
        log.info("unmounted %s", self._plan.mountpoint)

    async def _wait_for_workers(self, seconds: float, is_over: Callable[[], bool]) -> None:
        """Until all have ended, at most ``seconds``."""
        with trio.move_on_after(seconds):
            while len(self._pool) and not is_over():
                await self._wakeup.wait(_BUSY_TICK)
                self._pool.reap()
