"""A context whose end closes it."""

from __future__ import annotations

import pytest

from imagenetfs.library.closable import Closable


class One(Closable):
    closed = 0

    def close(self) -> None:
        self.closed += 1


def test_it_is_closed_at_the_contexts_end() -> None:
    with One() as one:
        assert one.closed == 0
    assert one.closed == 1


def test_an_exception_goes_on() -> None:
    one = One()
    with pytest.raises(ZeroDivisionError), one:
        raise ZeroDivisionError
    assert one.closed == 1


def test_what_cannot_be_closed_is_none() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Closable()  # type: ignore[abstract]  # that is the test
