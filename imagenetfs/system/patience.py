"""How long a process waits for what others may hold up: file systems, programs, servers.

Root's processes stand in the way of everyone: a node's boot, the end of a job. So what root waits
for in all, a command, is ten seconds; each question takes from what the ones before it have left.
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
"""What was waited longer ago is forgotten: a program that lives long has many commands."""


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

    def seconds(self, wanted: float) -> float:
        """How long to wait for something that others would wait ``wanted`` seconds for."""
        if not self._is_root():
            return wanted
        now = self._clock.monotonic()
        while self._spent and now - self._spent[0][0] > _WINDOW_SECONDS:
            self._spent.popleft()
        return max(0.0, min(wanted, ROOT_SECONDS - sum(spent for _, spent in self._spent)))

    def renew(self) -> None:
        """Wait as long as ever: what comes is like another command of the same program."""
        self._spent.clear()

    @contextmanager
    def waiting(self, wanted: float) -> Iterator[float]:
        """Wait within this, so many seconds at most: they are taken from what is left."""
        before = self._clock.monotonic()
        try:
            yield self.seconds(wanted)
        finally:
            now = self._clock.monotonic()
            self._spent.append((now, now - before))


PATIENCE = Patience()
"""This process's."""


def ask(question: Callable[[], Any], wanted: float, patience: Patience = PATIENCE) -> Any:
    """``question()``'s answer, from a child process; raises as ``call_in_child`` does."""
    with patience.waiting(wanted) as seconds:
        try:
            return child_call.call_in_child(question, seconds)
        except child_call.NoAnswerError as error:
            error.seconds = seconds
            raise
