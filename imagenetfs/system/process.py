"""What every child of the supervisor does first, and small facts about processes."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

WORKER, INDEXER, UNPACKER = "imagenetfs-work", "imagenetfs-indx", "imagenetfs-unpk"
STAGER, KEEPER = "imagenetfs-stag", "imagenetfs-keep"
ASKER, TELLER = "imagenetfs-askr", "imagenetfs-tell"
"""What ps and top call a mount's processes (the kernel keeps 15 characters)."""

FIRST_FREE_FD = 3

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_UCRED = struct.Struct("3i")


def set_parent_death_signal(parent: int, name: str) -> None:
    """Take a name, and be killed when ``parent`` ends; end now if it has ended already."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


@contextlib.contextmanager
def signals_blocked(*numbers: int) -> Iterator[None]:
    """Put these signals off until the block is left; a child that is forked in it has them blocked
    until it says otherwise.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def reset_signals() -> None:
    """A child's own signal dispositions: INT and HUP are the supervisor's business."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)


_dropped: list[logging.Handler] = []


def close_inherited(keep: tuple[int, ...] = ()) -> None:
    """Close every descriptor but the standard streams and ``keep``: after a fork, in the child.

    A stray copy keeps locks held, pipes open, and readers of a mount waiting. Log handlers go too:
    their descriptors are closed, and the next file that is opened may get the number of one. For
    the same reason nothing of the parent's is collected any more: a file in a circle of garbage
    would close the number of another when it goes.
    """
    gc.freeze()
    drop_log_handlers()
    first = FIRST_FREE_FD
    for fd in sorted(keep):
        os.closerange(first, fd)
        first = fd + 1
    os.closerange(first, os.sysconf("SC_OPEN_MAX"))


def drop_log_handlers() -> None:
    """Let no logger of this process write to a file any more; nothing is flushed or closed."""
    named = (logging.getLogger(name) for name in logging.root.manager.loggerDict)
    for logger in (logging.root, *named):
        # Kept: one that is freed would close its descriptor again, whatever has the number then.
        _dropped.extend(logger.handlers)
        logger.handlers = []
    logging.root.addHandler(logging.NullHandler())


def no_core_dumps() -> None:
    """Images are licensed: no process that holds some leaves them in a core file."""
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def is_waiting(pid: int) -> bool:
    """Whether the kernel has put the process to sleep (S or D), as
    opposed to being short of CPU.
    """
    return _state(pid) in (b"S", b"D")


def is_stopped(pid: int) -> bool:
    """Whether a signal or a debugger has stopped the process (T or t)."""
    return _state(pid) in (b"T", b"t")


def cpu_times(pid: int) -> tuple[int, int] | None:
    """For how long the process has had a CPU, and for how long it has waited for one, in
    nanoseconds; None where the kernel does not say.
    """
    try:
        running, queued, _ = Path(f"/proc/{pid}/schedstat").read_bytes().split()
        return int(running), int(queued)
    except (OSError, ValueError):
        return None


def _state(pid: int) -> bytes:
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return b""
    return stat.rpartition(b")")[2].split()[0]


class Processes(Protocol):
    """What a parent does with its children: handed in, so that a test needs none."""

    def kill(self, pid: int, number: int, /) -> None:
        """As os.kill."""

    def waitpid(self, pid: int, options: int, /) -> tuple[int, int]:
        """As os.waitpid."""

    def is_waiting(self, pid: int, /) -> bool:
        """As :func:`is_waiting`."""

    def is_stopped(self, pid: int, /) -> bool:
        """As :func:`is_stopped`."""


class _SystemProcesses:
    kill = staticmethod(os.kill)
    waitpid = staticmethod(os.waitpid)
    is_waiting = staticmethod(is_waiting)
    is_stopped = staticmethod(is_stopped)


SYSTEM_PROCESSES: Processes = _SystemProcesses()


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """The process and the user at the other end of a Unix socket (SO_PEERCRED); 0 for a process
    of another PID namespace.
    """
    packed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(packed)
    return pid, uid
