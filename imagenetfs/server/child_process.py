"""Children of the supervisor that do one long piece of work each, away from the FUSE session.

A child is forked within a synchronous function that a task of the supervisor calls. It never
returns into trio: it takes its own signals and descriptors, works, and ends by ``os._exit``
(docs/decisions/0022).
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable

import trio

from imagenetfs.fuse.stats import SUPERVISOR
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import reset_signals, set_parent_death_signal

log = logging.getLogger(__name__)

DEATH_SECONDS = 5.0
"""How long the end waits for killed processes: one in uninterruptible sleep dies when it wakes."""

NOT_YET = 79
"""A child's exit code when there is something to wait for, and to be tried again."""

_POLL_SECONDS = 0.01


class Child:
    """A forked process. It closes the session first: a stray holder would keep readers hanging."""

    def __init__(
        self,
        session_fd: int,
        work: Callable[[], int | None],
        what: str,
        name: str,
        *,
        keep_session: bool = False,
    ) -> None:
        """Start it; OSError where it cannot be forked. ``what`` names the work in the log, ``name``
        the process. What ``work`` returns is its exit code: none or NOT_YET. ``keep_session`` is
        for work that asks nothing of the source.
        """
        self.what = what
        self.succeeded = False
        self.not_yet = False
        self._is_killed = False
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            if not keep_session:
                os.close(session_fd)
            set_parent_death_signal(parent, name)
            reset_signals()
            os.nice(5)
            code = work() or 0
        except BaseException:
            log.exception("%s failed", what)
        finally:
            logging.shutdown()
            os._exit(code)

    def ended(self) -> bool:
        """Whether it has ended; it is reaped then."""
        if self.pid:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.pid = 0
                self.succeeded = status == 0
                self.not_yet = os.waitstatus_to_exitcode(status) == NOT_YET
                if status and not (self.not_yet or self._is_killed):
                    log.warning("%s ended early (status %d)", self.what, status)
        return self.pid == 0

    def kill(self) -> None:
        """Have it end now; :meth:`ended` says when it has."""
        if self.pid:
            self._is_killed = True
            os.kill(self.pid, signal.SIGKILL)


class Children:
    """Runs pieces of work in processes of their own, for tasks that wait for them."""

    def __init__(
        self, session_fd: int, wakeup: Wakeup, after_fork: Callable[[int], object]
    ) -> None:
        """``after_fork(row)`` prepares a child, which counts in that row of the shared
        statistics; ``wakeup`` is woken when a child has ended.
        """
        self._session_fd = session_fd
        self._wakeup = wakeup
        self._after_fork = after_fork

    async def run(
        self,
        work: Callable[[], int | None],
        what: str,
        name: str,
        *,
        row: int = SUPERVISOR,
        keep_session: bool = False,
    ) -> Child:
        """Start a child (see :class:`Child`), and wait until it has ended. It is killed where the
        waiting task is cancelled. Raises OSError where it cannot be forked.
        """

        def prepared() -> int | None:
            self._after_fork(row)
            return work()

        child = Child(self._session_fd, prepared, what, name, keep_session=keep_session)
        try:
            while not child.ended():
                await self._wakeup.wait()
        finally:
            await self._end(child)
        return child

    async def _end(self, child: Child) -> None:
        """Kill it where it lives. One that waits for the source is left to die when it wakes."""
        child.kill()
        with trio.move_on_after(DEATH_SECONDS, shield=True):
            while not child.ended():
                await trio.sleep(_POLL_SECONDS)
        if child.pid:
            log.warning("%s is left to end when the source answers", child.what)
