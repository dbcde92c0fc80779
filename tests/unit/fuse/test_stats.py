"""The board: rows, sums, facts and the texts of status.json, shared with forked processes."""

from __future__ import annotations

import os
from functools import partial

import pytest

from imagenetfs.counters import BYTES as METER_BYTES
from imagenetfs.counters import REQUESTS as METER_REQUESTS
from imagenetfs.counters import ROW_WORDS, Counter
from imagenetfs.counters import SINCE as METER_SINCE
from imagenetfs.errors import SourceChangedError
from imagenetfs.fuse.stats import MAX_SPLITS, REQUESTS, SharedStats
from imagenetfs.limits import MAX_WORKERS
from tests.helpers.children import ended, in_child


def test_a_row_begins_with_the_sources_meter() -> None:
    assert (Counter.SOURCE_SINCE, Counter.SOURCE_REQUESTS, Counter.SOURCE_BYTES) == (
        METER_SINCE,
        METER_REQUESTS,
        METER_BYTES,
    )


def test_rows_do_not_overlap() -> None:
    stats = SharedStats()
    for worker in range(MAX_WORKERS):
        row = stats.row(worker)
        assert len(row) == ROW_WORDS
        for cell in range(ROW_WORDS):
            assert row[cell] == 0
            row[cell] = worker * ROW_WORDS + cell
    stats.touch(0)
    stats.publish({"a": "b"})
    stats.keep_text(0, b"x" * 1000)
    for worker in range(MAX_WORKERS):
        expected = [worker * ROW_WORDS + cell for cell in range(ROW_WORDS)]
        expected[Counter.TEXTS] += worker == 0  # the text that was kept
        assert stats.row(worker).tolist() == expected


def test_children_write_sums() -> None:
    stats = SharedStats()

    def work(worker: int) -> None:
        row = stats.row(worker)
        for _ in range(1000):
            row[Counter.BYTES] += 3
            row[Counter.FIRST_REQUEST + REQUESTS.index("read")] += 1

    children = [in_child(partial(work, worker)) for worker in (0, 7, 63)]
    assert [ended(pid) for pid in children] == [0, 0, 0]
    counters = stats.counters()
    assert counters["bytes_served"] == 9000
    assert counters["requests"]["read"] == 3000
    assert set(counters["requests"]) == set(REQUESTS)
    assert stats.total_requests() == 3000


def test_touched_splits() -> None:
    stats = SharedStats()
    for split in (5, 0, MAX_SPLITS - 1, MAX_SPLITS, 10**6):
        stats.touch(split)
    assert stats.touched() == [0, 5, MAX_SPLITS - 1]


def test_the_first_touch_of_a_split_wakes_the_supervisor() -> None:
    stats = SharedStats()
    woken: list[list[int]] = []
    stats.alarm = lambda: woken.append(stats.touched())
    for split in (3, 3, 7, 3):
        stats.touch(split)
    assert woken == [[3], [3, 7]]


def test_facts() -> None:
    stats = SharedStats()
    assert stats.facts() == {}
    stats.publish({"warnings": ["ä" * 100], "n": 1})
    assert stats.facts() == {"warnings": ["ä" * 100], "n": 1}
    stats.publish({})
    assert stats.facts() == {}
    stats.publish({"n": "x" * 1000})
    stats._facts[20] = 0  # in the middle of being written
    assert stats.facts() == {}


def test_facts_that_are_too_long_are_not_lost_altogether() -> None:
    stats = SharedStats()
    stats.publish({"pid": 7, "warnings": ["w" * 1000] * 300})
    assert stats.facts()["pid"] == 7


def test_texts_are_kept() -> None:
    stats = SharedStats()
    text = os.urandom(100_000)
    assert stats.text(stats.keep_text(0, text)) == text


def test_a_shorter_text_after_a_longer_one() -> None:
    stats = SharedStats()
    for _ in range(16):
        stats.keep_text(0, b"long" * 1000)
    assert stats.text(stats.keep_text(0, b"short")) == b"short"


def test_readers_side_by_side() -> None:
    stats = SharedStats()
    handles = [stats.keep_text(worker, b"text %d" % worker) for worker in range(MAX_WORKERS)]
    texts = [stats.text(handle) for handle in handles]
    assert texts == [b"text %d" % worker for worker in range(MAX_WORKERS)]
    assert len(set(handles)) == MAX_WORKERS


def test_a_reader_never_gets_somebody_elses_text() -> None:
    stats = SharedStats()
    handle = stats.keep_text(3, b"{" + b"a" * 300 + b"}")
    assert stats.text(handle) == b"{" + b"a" * 300 + b"}"
    for _ in range(300):
        stats.keep_text(3, b"log line\n" * 50)
    assert stats.text(handle) == b"{" + b"a" * 300 + b"}"  # others' readings do not take it away
    for _ in range(300):
        stats.keep_text(3, b"log line\n" * 50)
    with pytest.raises(SourceChangedError):
        stats.text(handle)
