"""Children of the supervisor that are no processes: what was started, and how a test ends it."""

from __future__ import annotations

import errno
import os
from collections.abc import Awaitable, Callable
from typing import cast

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.fuse.stats import SUPERVISOR
from imagenetfs.server.child_process import Children


class FakeChild:
    """Stands in the place of imagenetfs.server.child_process.Child."""

    def __init__(self, work: Callable[[], int | None], what: str, name: str, row: int) -> None:
        self.work, self.what, self.name, self.row = work, what, name, row
        self.keeps_session = self.killed = self.succeeded = self.not_yet = False
        self._over = trio.Event()

    def end(self, *, succeeded: bool = True, not_yet: bool = False) -> None:
        """It has ended, and how."""
        self.succeeded, self.not_yet = succeeded, not_yet
        self._over.set()

    async def wait(self) -> None:
        """Until a test has ended it; it is killed where this is cancelled."""
        try:
            await self._over.wait()
        except trio.Cancelled:
            self.killed = True
            raise


class FakeChildren:
    """Stands in the place of Children; refuses to fork while ``refuses``."""

    def __init__(self) -> None:
        self.started: list[FakeChild] = []
        self.refuses = False

    async def run(
        self,
        work: Callable[[], int | None],
        what: str,
        name: str,
        *,
        row: int = SUPERVISOR,
        keep_session: bool = False,
    ) -> FakeChild:
        """See Children.run."""
        if self.refuses:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        child = FakeChild(work, what, name, row)
        child.keeps_session = keep_session
        self.started.append(child)
        await child.wait()
        return child

    @property
    def last(self) -> FakeChild:
        """The one that was started last."""
        return self.started[-1]

    @property
    def running(self) -> list[FakeChild]:
        """Those that have neither ended nor been killed."""
        return [one for one in self.started if not (one._over.is_set() or one.killed)]

    def as_children(self) -> Children:
        """For the code that takes them."""
        return cast(Children, self)


def play(
    task: Callable[[], Awaitable[None]], story: Callable[[MockClock], Awaitable[None]]
) -> None:
    """Run a task of the supervisor beside a story, at whose end it is cancelled.

    Time stands still but for what the story lets pass (:func:`later`).
    """
    clock = MockClock()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task)
            await wait_all_tasks_blocked()
            await story(clock)
            nursery.cancel_scope.cancel()

    trio.run(both, clock=clock)


async def later(clock: MockClock, seconds: float) -> None:
    """Let time pass, and what it brings about happen."""
    await wait_all_tasks_blocked()
    clock.jump(seconds)
    await wait_all_tasks_blocked()
