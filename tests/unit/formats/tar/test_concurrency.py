"""How many requests may be in flight, by how long they took."""

from __future__ import annotations

import threading

from imagenetfs.formats.tar.concurrency import CEILING, FIRST, AdaptiveConcurrency, FixedConcurrency


def told(concurrency: AdaptiveConcurrency, seconds: float, count: int) -> list[int]:
    limits = []
    for _ in range(count):
        concurrency.note(seconds)
        limits.append(concurrency.limit)
    return limits


def test_the_pace_doubles_while_latency_is_flat_up_to_the_ceiling() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    limits = told(concurrency, 0.0011, 1000)
    assert sorted(set(limits)) == [4, 8, 16, 32, 64]
    assert limits == sorted(limits)
    assert limits[31] == 8
    assert limits[30] == 4
    assert limits[31 + 64] == 16


def test_the_pace_stays_where_latency_rises_and_halves_where_requests_queue() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    told(concurrency, 0.001, 1000)
    assert set(told(concurrency, 0.002, 1000)) == {64}
    assert sorted(set(told(concurrency, 0.004, 1000))) == [4, 8, 16, 32, 64]
    assert concurrency.limit == 4
    assert told(concurrency, 0.001, 1000)[-1] == 64


def test_the_pace_says_when_there_is_room_for_more() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    assert [concurrency.note(0.001) for _ in range(32)] == [False] * 31 + [True]


def test_low_ceilings_and_fixed_paces() -> None:
    assert set(told(AdaptiveConcurrency(0.001, ceiling=2), 0.001, 500)) == {2}
    assert set(told(AdaptiveConcurrency(0.001, ceiling=2), 1.0, 500)) == {2}
    assert set(told(FixedConcurrency(64), 1.0, 5000)) == {64}


def test_one_slow_request_does_not_count_against_many_fast_ones() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    told(concurrency, 0.001, 31)
    assert concurrency.limit == 4
    concurrency.note(10.0)
    assert concurrency.limit == 8


def test_a_batch_counts_as_many_requests() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    assert not concurrency.note(0.001, 31)
    assert concurrency.note(0.001)
    assert not concurrency.note(0.001, 63)
    assert concurrency.note(0.001, 1)
    assert concurrency.limit == 16


def test_what_was_noted_before_a_change_is_forgotten() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    told(concurrency, 0.001, 32)
    told(concurrency, 1.0, 63)
    assert concurrency.limit == 8
    concurrency.note(1.0)
    assert concurrency.limit == 4


def test_between_the_two_thresholds_nothing_changes() -> None:
    concurrency = AdaptiveConcurrency(0.001)
    told(concurrency, 0.001, 32)
    assert set(told(concurrency, 0.0015, 512)) == {8}
    assert set(told(concurrency, 0.003, 512)) == {8}
    assert 4 in told(concurrency, 0.0031, 64)


def test_it_starts_at_four_and_ends_at_the_projects_limit() -> None:
    assert AdaptiveConcurrency(0.001).limit == FIRST == 4
    assert told(AdaptiveConcurrency(1.0), 0.5, 2000)[-1] == CEILING


def test_any_thread_may_note() -> None:
    concurrency = AdaptiveConcurrency(0.001, 1 << 20)
    threads = [threading.Thread(target=told, args=(concurrency, 0.001, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # 32 + 64 + ... + 2048 = 4064 notes double it seven times; 4000 do so six times.
    assert concurrency.limit == 4 << 6
