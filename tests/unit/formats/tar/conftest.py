"""What every test of the tar scanners ends with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.helpers.bench import until
from tests.helpers.scanners import threads


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No scanner leaves a thread behind."""
    before = threads()
    yield
    assert until(lambda: threads() == before)  # a test's own timer may take its time
