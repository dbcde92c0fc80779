"""What the supervisor says of the workers' caches: a line a minute at
most, and when they are back.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server.cache_monitor import CacheHealthReporter


class Clock:
    """A time that the test moves."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    one = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: one.now)
    monkeypatch.setattr(time, "monotonic_ns", lambda: int(one.now * 1e9))
    yield one
    monkeypatch.undo()


@pytest.mark.expects_log("what it does not have is read from the")
def test_a_line_a_minute(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stats = SharedStats()
    watch = CacheHealthReporter(stats, Path("/c"))
    for second in range(601):
        clock.now = 1000.0 + second
        if second < 300:  # three workers' disks are full; each tries again every five seconds
            for worker in range(3):
                meter = stats.cache_meter(worker)
                meter[Counter.CACHE_TROUBLE - Counter.CACHE_HITS] = errno.ENOSPC
                until = Counter.CACHE_ASIDE_UNTIL - Counter.CACHE_HITS
                meter[until] = int((clock.now + 5) * 1e9)
        watch.look()
    lines = [record.getMessage() for record in caplog.records]
    warnings = [line for line in lines if "steps aside (No space left on device)" in line]
    assert len(warnings) == 6  # in 305 seconds
    assert len(lines) == 7
    assert stats.cache_trouble(int(1303e9)) == errno.ENOSPC
    assert stats.cache_trouble(int(1700e9)) == 0


@pytest.mark.expects_log("what it does not have is read from the")
def test_a_short_trouble_and_its_end(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stats = SharedStats()
    watch = CacheHealthReporter(stats, Path("/c"))
    meter = stats.cache_meter(1)
    meter[Counter.CACHE_TROUBLE - Counter.CACHE_HITS] = errno.EROFS
    meter[Counter.CACHE_ASIDE_UNTIL - Counter.CACHE_HITS] = int((clock.now + 70) * 1e9)
    for second in range(200):
        clock.now = 1000.0 + second
        watch.look()
    lines = [record.getMessage() for record in caplog.records]
    assert sum("Read-only" in line for line in lines) == 2
    assert "keeps what is read again" in lines[-1], "the end is told, if late"
