"""Signals that end a process, as an exception: so that what was begun is tidied up."""

from __future__ import annotations

import signal
from contextlib import AbstractContextManager
from types import FrameType

from imagenetfs.system.process import signals_blocked

ENDING = (signal.SIGTERM, signal.SIGHUP)

_told: list[int] = []


class StopSignal(BaseException):
    """A signal asked this process to end; no error, so nothing that handles errors catches it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_when_told_to_end() -> None:
    """Raise StopSignal in the main thread; what is ignored (nohup) stays ignored."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _raise)


def check() -> None:
    """Raise what was raised before and got lost: in a destructor or a callback nothing passes."""
    if _told:
        raise StopSignal(_told[-1])


def blocked() -> AbstractContextManager[None]:
    """Put off signals that ask for the end until the block is left: for what
    must not be done by half.
    """
    return signals_blocked(*ENDING, signal.SIGINT)


def ignore() -> None:
    """Do not listen any more: what is going on is the end already."""
    for number in (*ENDING, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _raise(number: int, frame: FrameType | None) -> None:
    _told.append(number)
    raise StopSignal(number)
