"""A child of the supervisor that does one long piece of work, away from the FUSE session."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable

from imagenetfs.system.process import reset_signals, set_parent_death_signal

log = logging.getLogger(__name__)

DEATH_SECONDS = 5.0
"""How long the end waits for killed processes: one in uninterruptible sleep dies when it wakes."""

NOT_YET = 79
"""A child's exit code when there is something to wait for, and to be tried again."""


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
                if status and not self.not_yet:
                    log.warning("%s ended early (status %d)", self.what, status)
        return self.pid == 0

    def kill(self) -> None:
        """End it now. One that waits for the source without end is left to die when it wakes."""
        if not self.pid:
            return
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + DEATH_SECONDS
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                log.warning("%s is left to end by itself", self.what)
                break
            time.sleep(0.01)
        self.pid = 0
