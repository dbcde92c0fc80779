"""Forked children that run a function, and how they ended."""

from __future__ import annotations

import faulthandler
import os
import select
import signal
from collections.abc import Callable
from pathlib import Path


def in_child(what: Callable[[], object]) -> int:
    """Run in a forked child; returns its pid. Exit code 0 where it did not raise."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        what()
        code = 0
    finally:
        os._exit(code)


def children_of(pid: int) -> list[int]:
    """The processes that a process with one thread has forked, the newest one last."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ended(pid: int) -> int:
    """The exit code of a child (minus the signal), killed where it hangs."""
    fd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(100_000):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def in_children(count: int, work: Callable[[int], bool]) -> None:
    """Run ``work(number)`` in so many forked processes, and see that all of them say True."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = 0 if work(number) else 2
            finally:
                os._exit(code)
        pids.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * count


def kill(pid: int) -> bool:
    """kill -9; False where the process has gone by itself."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
