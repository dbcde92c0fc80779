"""What the cache does about its disk's errors: for some seconds it is bypassed, and the source is
read instead. A reader never sees an error of the cache's disk.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from imagenetfs.counters import BYPASS_UNTIL, CACHE_WORDS, TROUBLE, CounterView
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

BYPASS_SECONDS = 5.0
"""How long nothing is written after the disk refused to."""

CacheMeter = CounterView
"""The cache's view of a row: HITS, MISSES, SAVED, TROUBLE, BYPASS_UNTIL of imagenetfs.counters."""


class Bypass:
    """Whether the cache is bypassed now, and for which error."""

    def __init__(self, find_disk: Callable[[], None], clock: Clock = SYSTEM_CLOCK) -> None:
        """``find_disk()`` is called when the directory itself has gone; it may raise OSError."""
        self._find_disk = find_disk
        self._monotonic = clock.monotonic
        self._until = 0.0
        self.meter: CacheMeter = [0] * CACHE_WORDS

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
