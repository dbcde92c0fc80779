"""Locks on byte ranges of a file that belong to an open file description (fcntl(2), F_OFD_SETLK).

POSIX's own are lost when a process closes any descriptor of the file; these last until they are
released or the last descriptor of that opening is closed, by death too. A forked child shares its
parent's: open the file anew after a fork. They exclude processes from one another, and threads only
where each opened it itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterator


def _request(kind: int, start: int, length: int) -> bytes:
    return struct.pack("hhqqi", kind, os.SEEK_SET, start, length, 0)


def try_lock(fd: int, start: int, length: int) -> bool:
    """Lock bytes [start, start + length) for this opening alone; False where
    another has some of them.
    """
    try:
        fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _request(fcntl.F_WRLCK, start, length))
    except BlockingIOError:
        return False
    return True


def lock(fd: int, start: int, length: int) -> None:
    """As :func:`try_lock`, and wait for it."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _request(fcntl.F_WRLCK, start, length))


def share(fd: int, start: int, length: int) -> None:
    """Lock bytes together with others who share them, against those who want
    them alone; waits for these.
    """
    fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, _request(fcntl.F_RDLCK, start, length))


def unlock(fd: int, start: int, length: int) -> None:
    """Give these bytes free."""
    fcntl.fcntl(fd, fcntl.F_OFD_SETLK, _request(fcntl.F_UNLCK, start, length))


@contextlib.contextmanager
def held(
    fd: int, start: int, length: int, on_wait: Callable[[bool], None] | None = None
) -> Iterator[None]:
    """Hold the lock of bytes [start, start + length) for a block, which releases it at its end.

    ``on_wait(True)`` is called where another opening has it, ``on_wait(False)`` when that is over.
    """
    if not try_lock(fd, start, length):
        if on_wait is not None:
            on_wait(True)
        try:
            lock(fd, start, length)
        finally:
            if on_wait is not None:
                on_wait(False)
    try:
        yield
    finally:
        unlock(fd, start, length)


def reopen(fd: int) -> None:
    """Open a descriptor's file anew under the same number: locks taken by it are this process's
    own. For a forked child.
    """
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.dup2(own, fd, inheritable=False)
    finally:
        os.close(own)


class SharedLock:
    """One lock for all processes that are forked after it was made, and for their threads.

    It is a record lock, which belongs to a process wherever its descriptor came from, so that
    nothing has to be opened anew after a fork; threads need one more, which is made anew in each
    child: a thread that held it is not there.
    """

    def __init__(self, name: str) -> None:
        """``name``: what /proc shows of it."""
        self._fd = os.memfd_create(name, os.MFD_CLOEXEC)
        self._closer = weakref.finalize(self, os.close, self._fd)
        self.renew()
        _shared_locks.add(self)

    def renew(self) -> None:
        """In a child that has just been forked: no thread holds it here."""
        self._threads = threading.Lock()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold it for a block."""
        with self._threads:
            fcntl.lockf(self._fd, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the descriptor; once is enough."""
        self._closer()


_shared_locks: weakref.WeakSet[SharedLock] = weakref.WeakSet()


def _renew_locks() -> None:
    for one in _shared_locks:
        one.renew()


os.register_at_fork(after_in_child=_renew_locks)
