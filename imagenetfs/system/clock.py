"""The time as an object to hand in: the system's by default, in a test one that the test drives."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The functions of :mod:`time` that this package waits and measures by."""

    def monotonic(self) -> float:
        """Seconds since some moment; never goes back."""

    def monotonic_ns(self) -> int:
        """The same in nanoseconds."""

    def time(self) -> float:
        """Seconds since 1970, as this node's clock has it."""

    def time_ns(self) -> int:
        """The same in nanoseconds."""

    def sleep(self, seconds: float, /) -> None:
        """Wait."""


SYSTEM_CLOCK: Clock = time
"""The module itself: a call by way of it costs what a call of ``time.monotonic()`` does."""
