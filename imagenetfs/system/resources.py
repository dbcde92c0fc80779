"""Limits of this process (setrlimit(2)) and of the node: staying below them, and what to say at
one.
"""

from __future__ import annotations

import contextlib
import errno
import resource

from imagenetfs.errors import LimitTooLowError

ENOUGH_FILES = 1024
"""Open files with which nothing here is cut down."""

_FEWEST_FILES = 64

_OTHER_FILES = 80
"""What a process has open beside what it keeps open for speed: pipes, sockets, shared memory,
libraries.
"""

_KEPT_FILES = 448
"""What it keeps open at most: archives, pinned archives, segments of the cache."""


def raise_open_files() -> None:
    """Raise the limit of open files as far as it may be, up to what is enough. Raises
    LimitTooLowError where no mount could be served, or taken away, with so few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH_FILES if hard == resource.RLIM_INFINITY else min(hard, ENOUGH_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < _FEWEST_FILES:
        raise _too_few_files()


def files_to_keep(most: int) -> int:
    """How many of ``most`` files may be kept open for speed: fewer where the limit is low, and 2 at
    least.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _OTHER_FILES + _KEPT_FILES:
        return most
    return max(2, most * (soft - _OTHER_FILES) // _KEPT_FILES)


def shortage(error: BaseException) -> LimitTooLowError | None:
    """The error to tell where another one comes from a limit; None where it does not."""
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EMFILE:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        may = (
            "" if hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES else " (an administrator)"
        )
        return LimitTooLowError(
            f"A process may have {soft} files open here, and that is too few: `ulimit -n "
            f"{ENOUGH_FILES}`{may}, and try again."
        )
    if number == errno.ENFILE:
        return LimitTooLowError("All of this node's files are open (fs.file-max): try again later.")
    if number == errno.ENOMEM or isinstance(error, MemoryError):
        return LimitTooLowError(
            "There is not enough memory: raise the limit (`ulimit -v`, the job's --mem) or use "
            "another node."
        )
    return None


def _too_few_files() -> LimitTooLowError:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    is_users = hard == resource.RLIM_INFINITY or hard >= ENOUGH_FILES
    whose = (
        ""
        if is_users
        else " (the hard limit is an administrator's, or your job script's, to raise)"
    )
    return LimitTooLowError(
        f"A process may have {soft} files open here, and that is too few: `ulimit -n "
        f"{ENOUGH_FILES}` and try again{whose}."
    )
