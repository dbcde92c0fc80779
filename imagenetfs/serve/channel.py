"""The FUSE session, shared by processes: what pyfuse3 does not offer, and how it is had all the same.

pyfuse3 waits for requests through ``pyfuse3.trio``, which may be replaced (its asyncio support does so).
Three lent loops are all that is needed:

* :func:`handshake` answers the kernel's INIT, exactly one request, and leaves the session untouched.
  One request more would make libfuse create a splice pipe here, which all workers would inherit.
* :func:`clone` gives a process a descriptor of its own for the session (FUSE_DEV_IOC_CLONE, Linux 4.2).
  The request in the hands of a process that dies is then ended by the kernel, and only that one.
* :func:`serve_requests` drives pyfuse3's session loop by hand, without trio: it waits inside the kernel's
  own read of the device, and one request is answered before the next is read. Handlers never await.

See docs/architecture.md for what was measured.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

import pyfuse3

from imagenetfs.errors import FuseRefusedError

_FUSE_DEV_IOC_CLONE = 0x8004E500
_HANDSHAKE_SECONDS = 30
_NO_OTHER_TASK = -(1 << 20)  # below any count of tasks, which each loop that ends takes one from


class ClosedResourceError(Exception):
    """What pyfuse3's loop takes for the end, in trio's place."""


class _NoLock:
    """trio.Lock's place: one task has nobody to exclude."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


class _Loop:
    """What pyfuse3 needs of the module ``trio``: a task's name, a lock, and how to wait."""

    Lock = _NoLock
    ClosedResourceError = ClosedResourceError
    name = "imagenetfs"

    def __init__(self, wait: Callable[[int], None]) -> None:
        self.lowlevel = self
        self._wait = wait

    def current_task(self) -> _Loop:
        return self

    async def wait_readable(self, fd: int) -> None:
        self._wait(fd)


def _drive(wait: Callable[[int], None]) -> None:
    pyfuse3.trio = _Loop(wait)  # type: ignore[attr-defined]
    loop: Coroutine[Any, Any, None] = pyfuse3._session_loop(  # type: ignore[attr-defined]
        None, 1, _NO_OTHER_TASK
    )
    try:
        loop.send(None)
    except StopIteration:
        return
    raise RuntimeError("a handler awaited something; handlers are plain functions")


def handshake() -> int:
    """Answer INIT on the session that pyfuse3.init opened. Returns the session's descriptor."""
    seen: list[int] = []
    came = False

    def wait(fd: int) -> None:
        nonlocal came
        if seen:
            raise ClosedResourceError
        seen.append(fd)
        ready = select.poll()
        ready.register(fd, select.POLLIN)
        came = bool(ready.poll(_HANDSHAKE_SECONDS * 1000))
        if not came:
            raise ClosedResourceError

    _drive(wait)
    if not came:
        raise FuseRefusedError(
            f"the kernel sent nothing within {_HANDSHAKE_SECONDS} s of mounting; try again, and see dmesg."
        )
    return seen[0]


def clone(session_fd: int) -> None:
    """Put a clone of the session in the place of the inherited descriptor. OSError if that fails."""
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _FUSE_DEV_IOC_CLONE, struct.pack("=I", session_fd))
        os.dup2(device, session_fd, inheritable=False)
    finally:
        os.close(device)


def serve_requests(leaving: Callable[[], bool]) -> None:
    """Answer requests until the session is over, or ``leaving()`` says so between two of them."""

    def wait(fd: int) -> None:
        if leaving():
            raise ClosedResourceError

    _drive(wait)
