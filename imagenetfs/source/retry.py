"""Which errors of a file server are transient, how long they are retried, and what is said of the
others.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from imagenetfs.errors import SourceReadError, SourceUnreadableError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

PAUSES = (0.05, 0.2, 0.8)
"""Seconds before the second, third and fourth attempt.

A mount's deadline is for all of them together.
"""

GIVE_UP_AFTER = 3.0
"""Seconds after which nothing is tried again: a soft mount that says EIO so late
has tried enough itself.
"""

TRANSIENT_ERRNOS = frozenset({errno.EIO, errno.ESTALE, errno.ETIMEDOUT})
"""A server that restarts, a handle that it forgot, a soft mount that gave up."""

Answer = TypeVar("Answer")


def retry_transient(work: Callable[[], Answer], clock: Clock = SYSTEM_CLOCK) -> Answer:
    """``work()``, tried again with growing pauses while its errors are transient; OSError as it
    raised.
    """
    start = clock.monotonic()
    try:
        return work()
    except OSError as error:
        first = error
    return retry_after(first, start, work, clock)


def retry_after(
    error: OSError, start: float, work: Callable[[], Answer], clock: Clock = SYSTEM_CLOCK
) -> Answer:
    """``work()`` as :func:`retry_transient` goes on with it after a first attempt, begun at the
    monotonic time ``start``, that failed with ``error``.
    """
    for pause in PAUSES:
        if error.errno not in TRANSIENT_ERRNOS or clock.monotonic() - start > GIVE_UP_AFTER:
            break
        clock.sleep(pause)
        try:
            return work()
        except OSError as again:
            error = again
    raise error


def _own_mode(where: Path, path: bytes, fd: int) -> str:
    """What to do about a file that its owner, this user, has closed to himself; else nothing."""
    with contextlib.suppress(OSError):
        status = os.stat(path or b".", dir_fd=fd)
        needed = stat.S_IRUSR | (stat.S_IXUSR if stat.S_ISDIR(status.st_mode) else 0)
        if status.st_uid == os.geteuid() and status.st_mode & needed != needed:
            bits = "rx" if stat.S_ISDIR(status.st_mode) else "r"
            return (
                f", which is yours and closed by its mode: chmod u+{bits} {shlex.quote(str(where))}"
            )
    return ""


def _broken_link(where: Path, path: bytes, fd: int) -> str:
    """Of a link to nothing: where it leads, and what mends it; else nothing."""
    with contextlib.suppress(OSError):
        target = os.fsdecode(os.readlink(path, dir_fd=fd))
        return (
            f"it is a link to {target}, which is not there on this node; link it to where the "
            f"file is: ln -sfn FILE {shlex.quote(str(where))}"
        )
    return ""


def gone_at(fd: int, path: bytes) -> bytes:
    """The outermost directory of a path below ``fd`` that is there no more, else the path itself:
    what went away as one is told as one.
    """
    gone, above = path, path.rpartition(b"/")[0]
    while above:
        try:
            os.stat(above, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            gone, above = above, above.rpartition(b"/")[0]
            continue
        except OSError:
            pass  # what it says is not that it has gone
        break
    return gone


def to_source_error(
    root: Path, fd: int, path: bytes, error: OSError
) -> SourceReadError | SourceUnreadableError:
    """The project's own error for one of the system's about ``path`` below ``root``.

    More is asked by ``fd`` alone, the root's descriptor: our own mount may lie over its path.
    """
    where = root / os.fsdecode(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        closed = _own_mode(where, path, fd)
        return SourceUnreadableError(f"you may not read {where}{closed}.", path)
    link = ""
    if error.errno == errno.ENOENT and path:
        link, path = _broken_link(where, path, fd), gone_at(fd, path)
        where = root / os.fsdecode(path)
    return SourceReadError(f"cannot read {where}: {link or error.strerror}.", path)
