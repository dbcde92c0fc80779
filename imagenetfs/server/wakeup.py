"""How the supervisor's tasks are woken: by a child's end, or by a byte from a process of the mount.

A task that is woken looks at its own affairs and waits again, so that no one needs to know whom an
event concerns. No wake is lost: between a task's look and its next wait nothing else runs.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from functools import partial

import trio


class Wakeup:
    """Wakes all tasks that wait for it."""

    def __init__(self) -> None:
        self._waiting = trio.lowlevel.ParkingLot()

    def wake(self) -> None:
        """Wake all that wait now."""
        self._waiting.unpark_all()

    async def wait(self, seconds: float = math.inf) -> None:
        """Wait until woken, at most ``seconds``."""
        with trio.move_on_after(seconds):
            await self._waiting.park()


@contextlib.contextmanager
def alarm() -> Iterator[tuple[int, Callable[[], None]]]:
    """For the time of a block: a descriptor that becomes readable, and what makes it so, in this
    process and in those that are forked from it.
    """
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        yield reader, partial(_raise, writer)
    finally:
        os.close(reader)
        os.close(writer)


async def answer_alarms(reader: int, wakeup: Wakeup) -> None:
    """Wake the tasks each time the alarm is raised; never returns."""
    while True:
        await trio.lowlevel.wait_readable(reader)
        _drain(reader)
        wakeup.wake()


def _raise(writer: int) -> None:
    with contextlib.suppress(BlockingIOError):  # it is full: the supervisor is awake
        os.write(writer, b"\0")


def _drain(reader: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.read(reader, 4096)
