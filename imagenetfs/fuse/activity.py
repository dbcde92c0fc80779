"""What a mount did between two samples of its counters, and what limits its readers.

Pure functions of samples: nothing here looks at a clock or at another process.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from imagenetfs.fuse.samples import Sample

FROM_MEMORY_BUCKETS = 17
"""Requests of the first buckets, below 66 microseconds, are answered by this node's memory: no
server and no disk is as quick.
"""

_IDLE_UNDER_WAY = 0.02
_IDLE_REQUESTS = 20.0
"""A mount that has no more under way than this, and is asked for no more a second, is not in use;
asking for its status is a few requests.
"""

_WAITING_READERS = 0.5
"""Readers that wait for so much of their time would be quicker if the mount were."""

_BUSY_WORKERS = 0.8
_SHORT_OF_CPU = 0.4
_MUCH_QUEUED = 0.2


@dataclass(frozen=True, slots=True)
class Activity:
    """What happened in ``seconds``.

    Rates are a second's. ``under_way``: how many requests were in the workers' hands on average,
    ``most_under_way``: of reads of images, and of others that waited, at most. ``in_source``,
    ``on_disk``: how many waited for the source, or for another disk. ``running``, ``queued``: how
    many workers had a CPU, or waited for one. ``median`` and ``p99`` of a source's request are in
    seconds, None without any. ``from_memory``: the part of the source's requests that this node's
    memory answered.
    """

    seconds: float
    images: float
    bytes: float
    requests: float
    errors: float
    source_requests: float
    source_bytes: float
    cache_hits: float
    cache_misses: float
    cache_bytes: float
    workers: float
    under_way: float
    most_under_way: int
    in_source: float
    on_disk: float
    running: float
    queued: float
    median: float | None
    p99: float | None
    from_memory: float

    @property
    def busy(self) -> float:
        """The part of their time in which workers were at work or waited for something, 0 to 1."""
        at_work = self.running + self.queued + self.in_source + self.on_disk
        return min(1.0, at_work / self.workers) if self.workers else 0.0


def origins(now: Activity) -> dict[str, float]:
    """Which part of the bytes came from where: the read cache, this node's memory, the source.

    What the kernel itself still has of the mount is not asked for, and not in it.
    """
    whole = now.cache_bytes + now.source_bytes
    if not whole:
        return {"cache": 0.0, "memory": 0.0, "source": 0.0}
    cache, source = now.cache_bytes / whole, now.source_bytes / whole
    memory = source * now.from_memory
    return {"cache": cache, "memory": memory, "source": source - memory}


def rates(samples: Sequence[Sample], name: str) -> list[float]:
    """What a counter went up by, a second, between each sample and the next."""
    return [
        1e9 * (getattr(after, name) - getattr(before, name)) / (after.at - before.at)
        for before, after in itertools.pairwise(samples)
        if after.at > before.at
    ]


class Limiter(StrEnum):
    """What keeps the readers from more."""

    UNKNOWN = "unknown"
    NOTHING = "nothing"
    READERS = "readers"
    SOURCE = "source"
    CACHE_DISK = "cache_disk"
    MOUNT = "mount"


@dataclass(frozen=True, slots=True)
class Limit:
    """What the limit is, and the sentence that says so, with what was measured."""

    by: Limiter
    sentence: str

    @property
    def advice(self) -> str:
        """What helps; empty where nothing is to be done."""
        return _ADVICE.get(self.by, "")


_ADVICE = {
    Limiter.READERS: (
        "more DataLoader workers, more CPUs for them or faster decoding: a quicker source or "
        "cache gains nothing"
    ),
    Limiter.SOURCE: (
        "a read cache (--cache-dir, --stage) keeps what was read; more DataLoader workers ask for "
        "more at a time"
    ),
    Limiter.CACHE_DISK: "put the read cache on a faster disk of this node (--cache-dir)",
    Limiter.MOUNT: "more CPUs for the job, or fewer other processes on those that it has",
}


NOT_YET = Limit(Limiter.UNKNOWN, "not known yet: the mount has just started")


def activity_of(samples: Sequence[Sample]) -> Activity | None:
    """From the first of these samples to the last; None where there is no time between them."""
    if len(samples) < 2 or samples[-1].at <= samples[0].at:
        return None
    first, last = samples[0], samples[-1]
    nanoseconds = last.at - first.at
    latency = [b - a for a, b in zip(first.latency, last.latency, strict=True)]
    timed = sum(latency)

    def rate(name: str) -> float:
        return float(1e9 * (getattr(last, name) - getattr(first, name)) / nanoseconds)

    def mean(name: str) -> float:
        return rate(f"{name}_ns") / 1e9

    return Activity(
        seconds=nanoseconds / 1e9,
        images=rate("images"),
        bytes=rate("bytes"),
        requests=rate("requests"),
        errors=rate("errors"),
        source_requests=rate("source_requests"),
        source_bytes=rate("source_bytes"),
        cache_hits=rate("cache_hits"),
        cache_misses=rate("cache_misses"),
        cache_bytes=rate("cache_bytes"),
        workers=mean("worker"),
        under_way=mean("busy"),
        most_under_way=max(sample.most_busy for sample in samples[1:]),
        in_source=mean("source"),
        on_disk=mean("disk"),
        running=mean("run"),
        queued=mean("queued"),
        median=quantile(latency, 0.5),
        p99=quantile(latency, 0.99),
        from_memory=sum(latency[:FROM_MEMORY_BUCKETS]) / timed if timed else 0.0,
    )


def quantile(histogram: Sequence[int], part: float) -> float | None:
    """In seconds, the time that ``part`` of the requests took at most; None where there are none.

    Within a bucket times are taken to lie evenly.
    """
    wanted, before = part * sum(histogram), 0
    for bucket, count in enumerate(histogram):
        if count and before + count >= wanted:
            low = (1 << bucket) // 2
            return (low + ((1 << bucket) - low) * (wanted - before) / count) / 1e9
        before += count
    return None


# --- the limit ------------------------------------------------------------------------------------


def limit_of(now: Activity | None, *, cpus: int, ceiling: int, has_cache: bool) -> Limit:
    """What limits the readers. ``cpus``: those that the mount may use; ``ceiling``: the most
    workers that there may be.

    Readers wait for the mount while a request of theirs is under way. As many as were at most under
    way at one time are there at least: where on average half of these wait, the mount's part is the
    larger one, and what the workers spend that time on is the limit. Where fewer wait, readers
    would gain less by a quicker mount than by doing their own work more quickly.
    """
    if now is None:
        return NOT_YET
    if not now.images and now.under_way < _IDLE_UNDER_WAY and now.requests < _IDLE_REQUESTS:
        return Limit(Limiter.NOTHING, "nothing is read now")
    at_work, waiting = now.running + now.queued, now.in_source + now.on_disk
    if at_work >= max(_BUSY_WORKERS * min(cpus, max(now.workers, 1.0)), waiting):
        return Limit(Limiter.MOUNT, _of_mount(now))
    if now.under_way < _WAITING_READERS * max(1, now.most_under_way):
        return Limit(Limiter.READERS, _of_readers(now))
    if waiting < now.under_way / 2:
        return Limit(Limiter.READERS, _of_readers(now))
    if now.in_source >= now.on_disk:
        return Limit(Limiter.SOURCE, _of_source(now, ceiling))
    if has_cache:
        part = f"{percent(now.on_disk / now.under_way)} of the time that a reader waits"
        return Limit(Limiter.CACHE_DISK, f"the cache's disk: workers wait for it {part}")
    return Limit(Limiter.MOUNT, "the mount: its workers wait for a local disk (index, log)")


def _of_source(now: Activity, ceiling: int) -> str:
    part = f"{percent(now.in_source / now.under_way)} of the time that a reader waits"
    text = f"the source: workers wait for it {part}"
    if now.source_requests == 0:
        return f"{text}, and it answers nothing"
    if now.workers > 0.95 * ceiling and now.busy > _BUSY_WORKERS:
        return f"{text}; all {ceiling} workers do (--workers allows more)"
    return text


def _of_mount(now: Activity) -> str:
    at_work = now.running + now.queued
    text = f"the mount: {at_work:.1f} of {now.workers:.1f} workers are busy all the time"
    if now.queued > _SHORT_OF_CPU * at_work:
        part = percent(now.queued / at_work)
        return f"{text}, {part} of it waiting for a CPU that other processes have"
    return text


def _of_readers(now: Activity) -> str:
    text = f"its workers are {percent(now.busy)} busy"
    if now.queued > _MUCH_QUEUED * now.workers and now.queued > now.running:
        text = f"{text}, and wait for a CPU that other processes have"
    return f"not the mount: the readers ask for less than it can ({text})"


def percent(part: float) -> str:
    """``0.123`` -> ``12 %``."""
    return f"{100 * part:.0f} %"
