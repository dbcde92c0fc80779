"""Signals that end a process: raised where that is safe, put off where it is not, never lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from imagenetfs.job import signals
from imagenetfs.job.signals import StopSignal


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """This process's own dispositions come back."""
    numbers = (*signals.ENDING, signal.SIGINT)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        signals._told.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_raised(number: signal.Signals) -> None:
    signals.raise_when_told_to_end()
    with pytest.raises(StopSignal) as caught:
        signal.raise_signal(number)
    assert caught.value.number == number
    assert str(caught.value) == number.name


def test_nothing_that_handles_errors_catches_it() -> None:
    assert not issubclass(StopSignal, Exception)


def test_what_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    signals.raise_when_told_to_end()
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


def test_a_signal_that_was_lost_is_raised_again() -> None:
    signals.raise_when_told_to_end()
    signals.check()
    with pytest.raises(StopSignal):
        signal.raise_signal(signal.SIGTERM)
    with pytest.raises(StopSignal) as caught:
        signals.check()
    assert caught.value.number == signal.SIGTERM


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_put_off_until_a_block_is_left(number: signal.Signals) -> None:
    signals.raise_when_told_to_end()
    steps = []
    with pytest.raises(StopSignal):
        with signals.blocked():
            with signals.blocked():
                signal.raise_signal(number)
                steps.append("inner")
            steps.append("outer")
        steps.append("too late")
    assert steps == ["inner", "outer"]
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_ctrl_c_is_put_off_too() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    reached = False
    with pytest.raises(KeyboardInterrupt):
        with signals.blocked():
            signal.raise_signal(signal.SIGINT)
            reached = True
    assert reached


def test_an_error_within_a_block_leaves_it() -> None:
    with pytest.raises(ValueError, match="odd"), signals.blocked():
        raise ValueError("odd")
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()


def test_at_the_end_nothing_is_listened_to() -> None:
    signals.raise_when_told_to_end()
    signals.ignore()
    for number in (*signals.ENDING, signal.SIGINT):
        signal.raise_signal(number)
    signals.check()
