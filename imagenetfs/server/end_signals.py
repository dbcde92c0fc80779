"""The signals that ask a mount to end, for as long as the supervisor is a trio program.

trio's receiver sets its own handlers and puts back those that it found. Handlers that raise must
not be among them: the exception would come up within trio's loop, before the receiver is there or
when it hands on what it has left. So for that time the signals are noted only.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator

END_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def end_signals_noted() -> Iterator[list[int]]:
    """Have no signal end this process within the block; yields those that came so far."""
    noted: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: noted.append(number))
        for number in END_SIGNALS
    }
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
