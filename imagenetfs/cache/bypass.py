"""What the cache does about its disk's errors: for some seconds it is bypassed, and the source is
read instead. A reader never sees an error of the cache's disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Protocol

from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

BYPASS_SECONDS = 5.0
"""How long nothing is written after the disk refused to."""

TROUBLE, BYPASS_UNTIL = 3, 4


class CacheMeter(Protocol):
    """Five integers to count in: a list, a part of a row of shared memory.

    HITS, reads that needed no origin, MISSES, those that did, and SAVED, bytes that came from the
    cache (see segment_handles.py); then the errno for which the cache was bypassed last (TROUBLE),
    and until when (BYPASS_UNTIL, monotonic nanoseconds).
    """

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


class Bypass:
    """Whether the cache is bypassed now, and for which error."""

    def __init__(self, find_disk: Callable[[], None], clock: Clock = SYSTEM_CLOCK) -> None:
        """``find_disk()`` is called when the directory itself has gone; it may raise OSError."""
        self._find_disk = find_disk
        self._monotonic = clock.monotonic
        self._until = 0.0
        self.meter: CacheMeter = [0] * 5

    @property
    def is_on(self) -> bool:
        """Whether nothing is to be written now."""
        return self._monotonic() < self._until

    def begin(self, error: OSError) -> None:
        """The disk answered with this error: bypass the cache from now on."""
        self._until = self._monotonic() + BYPASS_SECONDS
        self.meter[TROUBLE] = error.errno or errno.EIO
        self.meter[BYPASS_UNTIL] = int(self._until * 1e9)
        if error.errno == errno.ENOENT:
            self._find_disk()

    def check(self) -> None:
        """Raise the OSError for which the cache is bypassed now, if it is."""
        if self.is_on:
            raise OSError(self.meter[TROUBLE], os.strerror(self.meter[TROUBLE]))
