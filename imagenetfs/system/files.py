"""Opening files by names that a user has given, where others may have laid something else.

A FIFO would make the opener wait without end, and a symbolic link in a directory for all may lead
into this user's own files.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from pathlib import Path

_FLAGS = os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_MOST_LINKS = 40

_MEMORY_FILE_SYSTEMS = frozenset({0x01021994, 0x858458F6})
"""What statfs says of tmpfs and of ramfs."""


def directory_problem(status: os.stat_result) -> str | None:
    """Why what stat (links not followed) says of is no directory of ours; None where it is."""
    if stat.S_ISLNK(status.st_mode):
        return "is a symbolic link"
    if not stat.S_ISDIR(status.st_mode):
        return "is no directory"
    if status.st_uid != os.geteuid():
        return "belongs to another user"
    return None


def open_regular(path: Path) -> int:
    """A descriptor for reading a regular file, of whatever user. Raises OSError; never waits for a
    writer.
    """
    fd = os.open(path, os.O_RDONLY | _FLAGS)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
    except OSError:
        os.close(fd)
        raise
    return fd


def is_in_memory(fd: int) -> bool:
    """Whether a file lies in a file system that is memory (tmpfs, ramfs), and costs no request."""
    # Of struct statfs only the first member is looked at, a long; no architecture's is larger.
    answer = (ctypes.c_long * 64)()
    done = ctypes.CDLL(None).fstatfs(ctypes.c_int(fd), ctypes.byref(answer))
    return bool(done == 0) and answer[0] in _MEMORY_FILE_SYSTEMS


def write_all(fd: int, data: bytes | memoryview, offset: int) -> None:
    """Write all of ``data`` at ``offset``. Raises OSError; some of it may be written then."""
    view = memoryview(data)
    while view:
        written = os.pwrite(fd, view, offset)
        view, offset = view[written:], offset + written


def open_to_append(path: Path, *, truncate: bool = False) -> int:
    """A descriptor for appending to a file, made 0600 where there is none.

    It must be a regular file of this user's or a device (/dev/null); links are followed if root or
    this user has made them. Raises OSError; never waits for a reader.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | _FLAGS
    current = path
    for _ in range(_MOST_LINKS):
        try:
            fd = os.open(current, flags, 0o600)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise OSError(errno.EINVAL, "it is no regular file", str(path)) from None
            if error.errno != errno.ELOOP:
                raise
            current = _target(current)
            continue
        try:
            _refuse_unless_ours(os.fstat(fd), path)
            if truncate:
                os.ftruncate(fd, 0)
        except OSError:
            os.close(fd)
            raise
        return fd
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))


def _target(link: Path) -> Path:
    if link.lstat().st_uid not in (0, os.geteuid()):
        raise OSError(errno.EPERM, "it is a symbolic link of another user's", str(link))
    return link.parent / link.readlink()


def _refuse_unless_ours(status: os.stat_result, path: Path) -> None:
    if stat.S_ISCHR(status.st_mode):
        return  # root alone makes devices
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    if status.st_uid != os.geteuid():
        raise OSError(errno.EPERM, "it belongs to another user", str(path))
