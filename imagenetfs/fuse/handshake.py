"""The kernel's first request, INIT: what this file system can, and how much
may be under way at once.

pyfuse3 mounts, and knows the session's descriptor. It is had from the session loop, which waits
through ``pyfuse3.trio``, and that may be replaced (pyfuse3's asyncio support does so): the first
wait is told the descriptor, and ends the loop before anything is read. An INIT that libfuse answers
lets one process at a time look into a directory, and 12 reads be under way.
"""

from __future__ import annotations

import os
import select
from collections.abc import Coroutine
from types import TracebackType
from typing import Any

import pyfuse3

from imagenetfs.errors import FuseRefusedError
from imagenetfs.fuse.protocol import (
    BACKGROUND,
    INIT_IN,
    INIT_OUT,
    MAJOR,
    MINOR,
    REQUEST,
    REQUEST_BYTES,
    WANTED,
    Opcode,
    reply_header,
)

_SECONDS = 30
_MOST_PAGES = 256
"""Of one read: 1 MiB."""

_SMALLEST_WRITE = 4096
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

    def __init__(self) -> None:
        self.lowlevel = self
        self.waited_for = -1

    def current_task(self) -> _Loop:
        return self

    async def wait_readable(self, fd: int) -> None:
        self.waited_for = fd
        raise ClosedResourceError


def session_descriptor() -> int:
    """The descriptor of the session that pyfuse3.init opened."""
    borrowed = _Loop()
    pyfuse3.trio = borrowed  # type: ignore[attr-defined]
    loop: Coroutine[Any, Any, None] = pyfuse3._session_loop(  # type: ignore[attr-defined]
        None, 1, _NO_OTHER_TASK
    )
    try:
        loop.send(None)
    except StopIteration:
        return borrowed.waited_for
    raise RuntimeError("pyfuse3 awaited something before the first request")


def handshake(seconds: float = _SECONDS) -> int:
    """Answer INIT on the session that pyfuse3.init opened. Returns the session's descriptor.

    Raises FuseRefusedError where the kernel sends nothing, or what is not understood here.
    """
    fd = session_descriptor()
    ready = select.poll()
    ready.register(fd, select.POLLIN)
    if not ready.poll(seconds * 1000):
        raise FuseRefusedError(
            f"the kernel sent nothing within {seconds:.0f} s of mounting; try again, and see dmesg."
        )
    request = os.read(fd, REQUEST_BYTES)
    _, opcode, unique, *_ = REQUEST.unpack_from(request)
    major, minor, read_ahead, offered = INIT_IN.unpack_from(request, REQUEST.size)
    if opcode != Opcode.INIT or major != MAJOR:
        raise FuseRefusedError(
            f"the kernel speaks version {major}.{minor} of the FUSE protocol; this "
            f"is for version {MAJOR}."
        )
    answer = INIT_OUT.pack(
        *(MAJOR, min(minor, MINOR), read_ahead, offered & WANTED),
        *(BACKGROUND, BACKGROUND, _SMALLEST_WRITE, 1, _MOST_PAGES),
    )
    os.writev(fd, (reply_header(unique, len(answer)), answer))
    return fd
