"""The kernel's first request, INIT: what this file system can, and how much
may be under way at once.

pyfuse3 mounts. The session's descriptor is the one /dev/fuse that this process has afterwards and
had not before. INIT is answered here: the answer of libfuse lets one process at a time look into a
directory, and 12 reads be under way.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import FuseRefusedError
from imagenetfs.fuse.protocol import (
    BACKGROUND,
    INIT_IN,
    INIT_OUT,
    MAJOR,
    MINOR,
    NO_OPEN_SUPPORT,
    NO_OPENDIR_SUPPORT,
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
_FUSE_DEVICE = os.makedev(10, 229)


@dataclass(frozen=True, slots=True)
class FuseSession:
    """The FUSE session of a mount: its descriptor, and what its kernel wants to be answered.

    ``opens``: OPEN and RELEASE; ``opens_directories``: OPENDIR and RELEASEDIR. Kernels that can do
    without (Linux 3.12, 5.1) stop asking after one ENOSYS; for older ones ENOSYS is an error.
    """

    fd: int
    opens: bool = False
    opens_directories: bool = False


def fuse_descriptors() -> set[int]:
    """The descriptors of this process that are FUSE sessions (/dev/fuse is device 10, 229)."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            status = os.fstat(int(entry.name))
            if stat.S_ISCHR(status.st_mode) and status.st_rdev == _FUSE_DEVICE:
                found.add(int(entry.name))
    return found


@contextlib.contextmanager
def new_session() -> Iterator[list[int]]:
    """Lists, at the end of the block, the session that was opened within it.

    Raises RuntimeError unless it is exactly one.
    """
    before = fuse_descriptors()
    opened: list[int] = []
    yield opened
    opened += sorted(fuse_descriptors() - before)
    if len(opened) != 1:
        raise RuntimeError(f"mounting opened {len(opened)} FUSE sessions")


def handshake(fd: int, seconds: float = _SECONDS) -> FuseSession:
    """Answer INIT on the session's descriptor, within ``seconds`` of mounting.

    Raises FuseRefusedError where the kernel sends nothing, or what is not understood here.
    """
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
    return FuseSession(
        fd,
        opens=not offered & NO_OPEN_SUPPORT,
        opens_directories=not offered & NO_OPENDIR_SUPPORT,
    )
