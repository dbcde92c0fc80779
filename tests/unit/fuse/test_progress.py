"""How far a background process is: what it wrote, as another process reads it."""

from __future__ import annotations

from imagenetfs.counters import ROW_WORDS
from imagenetfs.fuse.progress import Progress, ProgressRow
from tests.helpers.clocks import FakeClock


def row_of(clock: FakeClock) -> ProgressRow:
    return ProgressRow([0] * ROW_WORDS, clock.monotonic_ns)


def test_nothing_is_said_before_it_is_known() -> None:
    row = row_of(FakeClock())
    numbers = [row.of]
    row.begin(7)
    numbers.append(row.of)
    assert numbers == [None, 7]
    assert row.read("indexing", "v/s", "archives") is None


def test_what_was_there_before_is_no_speed() -> None:
    clock = FakeClock()
    row = row_of(clock)
    row.begin()
    clock.advance(10)
    row.update(900, 1000, 20)
    found = row.read("staging", "v/s", "bytes")
    assert found == Progress("staging", "v/s", "bytes", 900, 1000, 20, 10.0)
    assert (found.per_second, found.seconds_left) == (2.0, 50.0)
    assert found.as_json() == {
        "what": "staging",
        "of": "v/s",
        "unit": "bytes",
        "done": 900,
        "total": 1000,
        "running": True,
        "per_second": 2.0,
        "seconds_left": 50.0,
    }


def test_no_time_is_left_where_nothing_was_done_yet() -> None:
    clock = FakeClock()
    row = row_of(clock)
    row.begin()
    clock.advance(10)
    row.update(900, 1000, 0)
    found = row.read("staging", "v/s", "bytes")
    assert found is not None
    assert (found.per_second, found.seconds_left) == (0.0, None)


def test_the_end_and_the_next_beginning() -> None:
    clock = FakeClock()
    row = row_of(clock)
    row.begin(1)
    row.update(5, 10, 5)
    row.stop()
    found = row.read("staging", "v/s", "bytes")
    assert found is not None
    assert (found.done, found.running, found.seconds_left) == (5, False, None)
    row.begin(2)
    assert (row.of, row.read("staging", "v/s", "bytes")) == (2, None)
    row.clear()
    assert row.of is None
