"""What every test of the tar scanners ends with."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from tests.helpers.scanners import threads


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """No scanner leaves a thread behind."""
    before = threads()
    yield
    deadline = time.monotonic() + 5  # a test's own timer may take its time
    while threads() != before and time.monotonic() < deadline:
        os.sched_yield()
    assert threads() == before
