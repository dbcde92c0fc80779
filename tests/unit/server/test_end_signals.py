"""Signals that ask for the end: noted within, as they were afterwards."""

from __future__ import annotations

import os
import signal

import trio

from imagenetfs.server.end_signals import END_SIGNALS, end_signals_noted


class Told(BaseException):
    """A handler of the job raised."""


def test_they_are_noted_and_their_handlers_put_back() -> None:
    before = [signal.getsignal(number) for number in END_SIGNALS]
    with end_signals_noted() as noted:
        for number in END_SIGNALS:
            signal.raise_signal(number)
        assert noted == list(END_SIGNALS)
    assert [signal.getsignal(number) for number in END_SIGNALS] == before


def test_what_a_receiver_has_left_raises_nothing() -> None:
    """trio hands on the signals that were not taken, by the handlers that it found."""

    def fail(number: int, frame: object) -> None:
        raise Told

    async def program() -> None:
        with trio.open_signal_receiver(*END_SIGNALS):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, fail)
    try:
        with end_signals_noted() as noted:
            trio.run(program)
        assert noted == [signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)
