"""Handing a file's pages on without copying them into this process."""

from __future__ import annotations

import contextlib
import fcntl
import os

PIPE_BYTES = 512 * 1024
"""What a pipe for splicing holds: twice what the kernel asks for in one request (see
fuse/connection.py), because a pipe's pages need not be full.
"""

MAX_SPLICE_BYTES = PIPE_BYTES - 4 * os.sysconf("SC_PAGE_SIZE")
"""Bytes that fit into such a pipe with a header before them, wherever their pages begin."""


def splice_exactly(fd: int, pipe: int, offset: int, length: int) -> int:
    """Put ``length`` bytes at ``offset`` of a file into a pipe that has room for them (splice).

    Returns how many it were: fewer where the file ends there, or cannot be read; the reason is
    lost, and the pipe then is of no use.
    """
    done = 0
    try:
        while done < length:
            more = os.splice(fd, pipe, length - done, offset + done)
            if not more:
                break
            done += more
    except OSError:
        pass
    return done


def make_pipe() -> tuple[int, int] | None:
    """(reading end, writing end) of a pipe that holds :data:`PIPE_BYTES`; None if there is none to
    be had: the pipes of a user may hold 64 MB in all.
    """
    try:
        pipe = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, PIPE_BYTES) >= PIPE_BYTES:
            return pipe
    for end in pipe:
        os.close(end)
    return None
