"""What happened between two samples, and what limits the readers: by samples of a test's own."""

from __future__ import annotations

from dataclasses import replace

import pytest

from imagenetfs.counters import LATENCY_BUCKETS
from imagenetfs.fuse.activity import (
    Activity,
    Limit,
    Limiter,
    activity_of,
    limit_of,
    origins,
    quantile,
    rates,
)
from imagenetfs.fuse.samples import Sample

SECOND = 1_000_000_000
BEFORE = Sample(at=100 * SECOND, images=1000, bytes=10**9, worker_ns=50 * SECOND)


def latency(**counts: int) -> tuple[int, ...]:
    """``b20=7``: seven requests in bucket 20."""
    found = [0] * LATENCY_BUCKETS
    for name, count in counts.items():
        found[int(name[1:])] = count
    return tuple(found)


def after(
    seconds: float = 5.0,
    *,
    images: int = 500,
    workers: float = 2.0,
    under_way: float = 0.0,
    in_source: float = 0.0,
    on_disk: float = 0.0,
    running: float = 0.0,
    queued: float = 0.0,
    most_busy: int = 1,
    source_requests: int = 500,
    histogram: tuple[int, ...] = latency(b22=500),
) -> Sample:
    """A sample behind BEFORE; what is no plain number of things is a mean over that time."""

    def total(mean: float) -> int:
        return int(mean * seconds * SECOND)

    return replace(
        BEFORE,
        at=BEFORE.at + int(seconds * SECOND),
        images=BEFORE.images + images,
        bytes=BEFORE.bytes + images * 100_000,
        requests=4 * images,
        source_requests=source_requests,
        source_bytes=images * 100_000,
        worker_ns=BEFORE.worker_ns + total(workers),
        busy_ns=total(under_way),
        source_ns=total(in_source),
        disk_ns=total(on_disk),
        run_ns=total(running),
        queued_ns=total(queued),
        most_busy=most_busy,
        latency=histogram,
    )


def limit(sample: Sample, *, cpus: int = 2, ceiling: int = 8, has_cache: bool = True) -> Limit:
    now = activity_of([BEFORE, sample])
    return limit_of(now, cpus=cpus, ceiling=ceiling, has_cache=has_cache)


def seen(sample: Sample) -> Activity:
    found = activity_of([BEFORE, sample])
    assert found is not None
    return found


# --- what happened --------------------------------------------------------------------------------


def test_rates_are_a_seconds() -> None:
    now = seen(after(4.0, images=500))
    assert (now.seconds, now.images, now.bytes) == (4.0, 125.0, 12_500_000.0)
    assert (now.workers, now.most_under_way) == (2.0, 1)


def test_nothing_can_be_said_of_no_time() -> None:
    assert activity_of([]) is activity_of([BEFORE]) is activity_of([BEFORE, BEFORE]) is None


def test_the_most_that_was_under_way_is_that_of_all_samples() -> None:
    middle = replace(BEFORE, at=BEFORE.at + SECOND, most_busy=7)
    now = activity_of([replace(BEFORE, most_busy=99), middle, after(most_busy=3)])
    assert now is not None
    assert now.most_under_way == 7


@pytest.mark.parametrize(
    ("histogram", "part", "seconds"),
    [
        (latency(), 0.5, None),
        (latency(b21=100), 0.5, 1.5 * 2**20 / 1e9),
        (latency(b21=100), 1.0, 2**21 / 1e9),
        (latency(b21=98, b31=2), 0.5, pytest.approx(1.51 * 2**20 / 1e9, rel=1e-3)),
        (latency(b21=98, b31=2), 0.99, 1.5 * 2**30 / 1e9),
        (latency(b0=10), 0.5, 0.5 / 1e9),
        (latency(b63=1), 1.0, 2**63 / 1e9),
    ],
)
def test_quantiles(histogram: tuple[int, ...], part: float, seconds: float | None) -> None:
    assert quantile(histogram, part) == seconds


def test_where_the_bytes_came_from() -> None:
    sample = replace(
        after(histogram=latency(b14=25, b22=75)),
        cache_bytes=300,
        source_bytes=100,
        bytes=BEFORE.bytes,
    )
    assert origins(seen(sample)) == {"cache": 0.75, "memory": 0.0625, "source": 0.1875}
    nothing = replace(sample, cache_bytes=0, source_bytes=0)
    assert origins(seen(nothing)) == {"cache": 0.0, "memory": 0.0, "source": 0.0}


def test_rates_of_all_the_seconds() -> None:
    samples = [Sample(at=at * SECOND, images=n) for at, n in ((0, 0), (1, 10), (1, 10), (3, 30))]
    assert rates(samples, "images") == [10.0, 10.0]


# --- the limit ------------------------------------------------------------------------------------


def test_each_limit_says_what_helps() -> None:
    idle = {Limiter.UNKNOWN, Limiter.NOTHING}
    assert {one for one in Limiter if not Limit(one, "").advice} == idle


def test_not_known_at_the_start() -> None:
    assert limit_of(None, cpus=2, ceiling=8, has_cache=True).by is Limiter.UNKNOWN


def test_nothing_is_read() -> None:
    assert limit(after(images=0, histogram=latency())).by is Limiter.NOTHING


def test_a_reader_that_waits_for_the_source() -> None:
    found = limit(after(under_way=0.97, in_source=0.95, running=0.03))
    assert found == Limit(
        Limiter.SOURCE,
        "the source: workers wait for it 98 % of the time that a reader waits",
    )


def test_a_source_that_answers_nothing() -> None:
    sample = after(images=0, under_way=1.0, in_source=1.0, source_requests=0, histogram=latency())
    found = limit(sample)
    assert found.by is Limiter.SOURCE
    assert found.sentence.endswith("and it answers nothing")


def test_many_readers_that_wait_for_the_source() -> None:
    """Eight that decode for a third of their time."""
    found = limit(
        after(workers=8, under_way=5.4, in_source=5.2, running=0.2, most_busy=8), ceiling=32
    )
    assert found.by is Limiter.SOURCE


def test_more_readers_than_workers_is_said() -> None:
    sample = after(workers=8, under_way=7.9, in_source=7.8, running=0.1, most_busy=8)
    assert "all 8 workers do (--workers allows more)" in limit(sample).sentence
    assert "--workers" not in limit(sample, ceiling=9).sentence


def test_a_reader_with_work_of_its_own() -> None:
    found = limit(after(under_way=0.3, in_source=0.28, running=0.03))
    assert found == Limit(
        Limiter.READERS,
        "not the mount: the readers ask for less than it can (its workers are 16 % busy)",
    )


def test_readers_that_leave_the_mount_no_cpu() -> None:
    """They decode on all of them: each request waits for its turn."""
    found = limit(after(under_way=0.4, running=0.1, queued=0.9, most_busy=2))
    assert found.by is Limiter.READERS
    assert found.sentence.endswith("50 % busy, and wait for a CPU that other processes have)")


def test_many_readers_that_decode_most_of_the_time() -> None:
    """Requests are under way all the time, and still each reader waits a quarter of its time."""
    sample = after(workers=4, under_way=2.1, in_source=2.0, running=0.1, most_busy=8)
    assert limit(sample).by is Limiter.READERS


def test_a_single_reader_from_memory_could_have_company() -> None:
    sample = after(under_way=0.55, running=0.6, source_requests=0, histogram=latency())
    assert limit(sample).by is Limiter.READERS


def test_workers_that_never_rest() -> None:
    found = limit(after(workers=3, under_way=2.1, running=1.9, queued=0.3, most_busy=3))
    assert found == Limit(Limiter.MOUNT, "the mount: 2.2 of 3.0 workers are busy all the time")


def test_workers_that_cannot_get_a_cpu() -> None:
    found = limit(after(workers=2, under_way=1.5, running=0.9, queued=1.1, most_busy=2))
    assert found.by is Limiter.MOUNT
    assert "55 % of it waiting for a CPU that other processes have" in found.sentence


def test_more_workers_wait_for_the_source_than_for_a_cpu() -> None:
    """On a node that others fill: what would help most is named."""
    sample = after(workers=6, under_way=4.0, in_source=3.5, running=0.2, queued=2.6, most_busy=4)
    assert limit(sample).by is Limiter.SOURCE
    sample = after(workers=6, under_way=4.0, in_source=2.5, running=0.2, queued=2.6, most_busy=4)
    assert limit(sample).by is Limiter.MOUNT


def test_a_slow_disk_of_the_cache() -> None:
    sample = after(under_way=0.95, on_disk=0.8, in_source=0.1, running=0.05)
    found = limit(sample)
    assert found == Limit(
        Limiter.CACHE_DISK,
        "the cache's disk: workers wait for it 84 % of the time that a reader waits",
    )
    assert limit(sample, has_cache=False).by is Limiter.MOUNT


def test_the_slower_of_source_and_disk() -> None:
    assert limit(after(under_way=0.95, on_disk=0.5, in_source=0.4)).by is Limiter.CACHE_DISK
    assert limit(after(under_way=0.95, on_disk=0.4, in_source=0.5)).by is Limiter.SOURCE
