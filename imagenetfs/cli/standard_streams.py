"""Standard streams that are closed when the command starts (daemons, ``<&-``).

The next files that are opened would get their numbers: a pipe to a server as standard output. So
they are opened on /dev/null before anything else is done.
"""

from __future__ import annotations

import os
import sys


def open_missing() -> None:
    """Open each of descriptors 0, 1 and 2 that is closed on /dev/null, for started programs too."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            # The lowest free number is given out: it is this one.
            os.set_inheritable(os.open(os.devnull, os.O_RDONLY if fd == 0 else os.O_WRONLY), True)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
