"""How long a process waits for what others may hold up: file systems, programs, servers.

Root's processes stand in the way of everyone: a node's boot, the end of a job. So all that a
command of root's waits for is ten seconds together; each question takes from what the ones before
it have left, and so does each silence of a process that has much to do (:mod:`.work_watch`). What
that process reads and computes is work, and no wait.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from imagenetfs.system import child_call
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

ROOT_SECONDS = 10.0
_WINDOW_SECONDS = 60.0
"""What a program that lives long (the library's, a server) has waited longer ago is forgotten: each
of its calls is like a command. A command forgets nothing."""


class Patience:
    """What is left of root's ten seconds; other users wait as long as each question may take."""

    def __init__(
        self,
        clock: Clock = SYSTEM_CLOCK,
        *,
        is_root: Callable[[], bool] = lambda: os.geteuid() == 0,
    ) -> None:
        self._clock = clock
        self._is_root = is_root
        self._spent: deque[tuple[float, float]] = deque()  # (until when, how long)
        self._forgets = True

    @property
    def is_limited(self) -> bool:
        """Whether this process waits no longer than root may."""
        return self._is_root()

    def seconds(self, wanted: float) -> float:
        """How long to wait for something that others would wait ``wanted`` seconds for."""
        if not self._is_root():
            return wanted
        now = self._clock.monotonic()
        while self._forgets and self._spent and now - self._spent[0][0] > _WINDOW_SECONDS:
            self._spent.popleft()
        return max(0.0, min(wanted, ROOT_SECONDS - sum(spent for _, spent in self._spent)))

    def spend(self, seconds: float) -> None:
        """So long was waited for something."""
        self._spent.append((self._clock.monotonic(), seconds))

    def renew(self) -> None:
        """Wait as long as ever: what comes is like another command of the same program."""
        self._spent.clear()

    @contextmanager
    def as_command(self) -> Iterator[None]:
        """What is done within this is one command: all that it waits for counts, however long it
        works.
        """
        self.renew()
        self._forgets = False
        try:
            yield
        finally:
            self.outlive_command()

    def outlive_command(self) -> None:
        """This process lives on, as a server does that a command has started."""
        self.renew()
        self._forgets = True

    @contextmanager
    def waiting(self, wanted: float) -> Iterator[float]:
        """Wait within this, so many seconds at most: they are taken from what is left."""
        before = self._clock.monotonic()
        try:
            yield self.seconds(wanted)
        finally:
            self.spend(self._clock.monotonic() - before)


PATIENCE = Patience()
"""This process's."""


def ask(question: Callable[[], Any], wanted: float, patience: Patience = PATIENCE) -> Any:
    """``question()``'s answer, from a child process; raises as ``call_in_child`` does."""
    with patience.waiting(wanted) as seconds:
        try:
            return child_call.call_in_child(question, seconds)
        except child_call.NoAnswerError as error:
            error.seconds, error.is_asked = seconds, seconds > 0.0
            raise
