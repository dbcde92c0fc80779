"""Handing a file's pages on without copying them into this process."""

from __future__ import annotations

import os


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
