"""Children of the supervisor that are no processes: what was started, and how a test ends it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

import pytest


class FakeChild:
    """Stands in the place of imagenetfs.server.child_process.Child."""

    def __init__(
        self, session_fd: int, work: Callable[[], int | None], what: str, name: str, **more: bool
    ) -> None:
        self.session_fd, self.work, self.what, self.name = session_fd, work, what, name
        self.more = more
        self.is_over = self.killed = self.succeeded = self.not_yet = False

    def ended(self) -> bool:
        return self.is_over

    def kill(self) -> None:
        self.killed = self.is_over = True

    def end(self, *, succeeded: bool = True, not_yet: bool = False) -> None:
        """It has ended, and how."""
        self.is_over, self.succeeded, self.not_yet = True, succeeded, not_yet


class Nursery:
    """Starts them in a module, refuses while ``refuses``, and has its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, module: str) -> None:
        self.started: list[FakeChild] = []
        self.refuses = False
        self.now = 1000.0
        monkeypatch.setattr(f"{module}.Child", self._start)

    def _start(
        self, session_fd: int, work: Callable[[], int | None], what: str, name: str, **more: bool
    ) -> FakeChild:
        if self.refuses:
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        self.started.append(FakeChild(session_fd, work, what, name, **more))
        return self.started[-1]

    @property
    def last(self) -> FakeChild:
        """The one that was started last."""
        return self.started[-1]
