"""The row of counters: one meaning for each word, and views that begin where it says."""

from __future__ import annotations

from imagenetfs import counters
from imagenetfs.counters import (
    CACHE_VIEW,
    CACHE_WORDS,
    LATENCY_BUCKETS,
    ROW_WORDS,
    SOURCE_WORDS,
    Counter,
)
from imagenetfs.fuse.stats import REQUESTS, SharedStats


def test_no_two_counters_share_a_word() -> None:
    requests = range(Counter.FIRST_REQUEST, Counter.FIRST_REQUEST + len(REQUESTS))
    latencies = range(Counter.FIRST_LATENCY, Counter.FIRST_LATENCY + LATENCY_BUCKETS)
    firsts = (Counter.FIRST_REQUEST, Counter.FIRST_LATENCY)
    words = [*requests, *latencies, *(cell for cell in Counter if cell not in firsts)]
    assert len(words) == len({*words})
    assert max(words) < ROW_WORDS


def test_what_the_source_counts_lies_in_its_words() -> None:
    row = SharedStats().row(5)
    view = row[:SOURCE_WORDS]
    names = (counters.SINCE, counters.REQUESTS, counters.BYTES, counters.WAITING)
    for value, name in enumerate(names, start=10):
        view[name] = value
    view[counters.LATENCY + 3], view[counters.SPENT] = 14, 15
    cells = [Counter.SOURCE_SINCE, Counter.SOURCE_REQUESTS, Counter.SOURCE_BYTES]
    assert (row[Counter.FIRST_LATENCY + 3], row[Counter.SOURCE_SPENT_NS]) == (14, 15)
    assert [row[cell] for cell in (*cells, Counter.LOCK_SINCE)] == [10, 11, 12, 13]


def test_what_the_cache_counts_lies_in_its_words() -> None:
    row = SharedStats().row(5)
    view = row[CACHE_VIEW]
    assert len(view) == CACHE_WORDS
    names = (counters.HITS, counters.MISSES, counters.SAVED)
    for value, name in enumerate((*names, counters.TROUBLE, counters.BYPASS_UNTIL), start=10):
        view[name] = value
    cells = [Counter.CACHE_HITS, Counter.CACHE_MISSES, Counter.CACHE_BYTES]
    others = [Counter.CACHE_TROUBLE, Counter.CACHE_ASIDE_UNTIL]
    assert [row[cell] for cell in (*cells, *others)] == [10, 11, 12, 13, 14]
