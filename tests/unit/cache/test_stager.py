"""Staging: all of it is there afterwards, fetched once, at the pace asked for; and
what is held can be seen.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.inventory import clear, list_volumes, verify
from imagenetfs.cache.quota import Limits, QuotaExceededError
from imagenetfs.cache.segment import BLOCK
from imagenetfs.cache.source_pace import Delay
from imagenetfs.cache.stager import (
    WINDOW,
    RateLimiter,
    StageProgress,
    Stager,
    StageRange,
    stage_ranges,
)
from imagenetfs.cache.volume import Volume
from imagenetfs.errors import SourceReadError
from tests.helpers.block_cache import DATA, PLENTY, Bytes, Steady, fresh, read_all, volume
from tests.helpers.clocks import FakeClock
from tests.helpers.leaks import descriptors, opened_since

LARGE = DATA * 8
HANG_SECONDS = 100.0


def large() -> Volume:
    return Volume(
        volume(inode=77).key, len(LARGE), {"version": "V", "archive": "a", "size": len(LARGE)}
    )


def run(cache: BlockCache, origin: Bytes, streams: int = 4, **options: Any) -> StageProgress:
    stager = Stager(cache, streams=streams, **options)
    one = large()
    stager.run(stage_ranges(one, 0, one.size, one.size, lambda: origin))
    return stager.progress


@pytest.mark.slow
def test_all_of_it_in_large_requests(tmp_path: Path) -> None:
    cache, origin = fresh(tmp_path / "cache"), Bytes(LARGE)
    progress = run(cache, origin)
    assert (progress.done, progress.fetched) == (len(LARGE), len(LARGE))
    assert len(origin.asked) == -(-len(LARGE) // WINDOW)
    one, other = large(), Bytes(LARGE)
    for at in range(0, len(LARGE) - 110_000, 1_000_000):
        assert (
            cache.read(one, ByteRange.sized(at, 110_000), ByteRange(at, at + 110_000), other)
            == LARGE[at : at + 110_000]
        )
    assert other.asked == []


def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    cache, origin = fresh(tmp_path / "cache"), Bytes(LARGE)
    read_all(cache, large(), origin)
    again = Bytes(LARGE)
    progress = run(cache, again)
    assert progress.fetched == again.bytes <= len(LARGE) - len(DATA) + 5 * 110_000
    assert progress.done == len(LARGE)
    third = Bytes(LARGE)
    assert run(fresh(tmp_path / "cache"), third).fetched == 0
    assert third.asked == []


def test_interrupted_it_keeps_what_is_done(tmp_path: Path) -> None:
    cache = fresh(tmp_path / "cache")

    answers = threading.Semaphore(3)

    class Slow(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            answers.acquire()
            return super().read(offset, length)

    origin, one = Slow(LARGE), large()

    def interrupt(progress: StageProgress) -> None:
        if progress.done >= 3 * WINDOW:
            answers.release(4)  # two are under way, two come next
            raise KeyboardInterrupt

    stager = Stager(cache, streams=2, last_seconds=HANG_SECONDS)
    with pytest.raises(KeyboardInterrupt):
        stager.run(stage_ranges(one, 0, one.size, one.size, lambda: origin), interrupt)
    assert not stager.is_stuck
    assert 3 * WINDOW <= origin.bytes <= 7 * WINDOW
    rest = Bytes(LARGE)
    run(fresh(tmp_path / "cache"), rest)
    assert origin.bytes + rest.bytes == len(LARGE), "nothing was fetched twice"


def _giving(origin: Bytes) -> Callable[[], Bytes]:
    return lambda: origin


@pytest.mark.slow
def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    """A stretch of one archive, and all of one that was changed; the rest is brought here."""
    cache = fresh(tmp_path / "cache")
    told: list[StageProgress] = []
    volumes = [Volume(volume(inode=n).key, len(LARGE), {"archive": f"{n}.tar"}) for n in range(4)]

    class Broken(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            if offset == 2 * WINDOW:
                raise SourceReadError("a broken sector.")
            return super().read(offset, length)

    origins = [Bytes(LARGE), Broken(LARGE), Bytes(LARGE), Bytes(LARGE)]
    origins[2].same = False
    work = [
        stretch
        for one, origin in zip(volumes, origins, strict=True)
        for stretch in stage_ranges(one, 0, one.size, one.size, _giving(origin))
    ]
    stager = Stager(cache, streams=2)
    stager.run(work, told.append)
    assert {name: str(error) for name, error in stager.left_out.items()} == {
        "1.tar": "a broken sector.",
        "2.tar": "it was changed while it was read.",
    }
    assert origins[0].bytes == origins[3].bytes == len(LARGE)
    assert stager.progress.fetched == 3 * len(LARGE) - WINDOW
    assert origins[2].asked == []
    assert told


def test_a_source_that_fails_altogether_ends_it(tmp_path: Path) -> None:
    asked: list[int] = []

    class Dead(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            asked.append(offset)
            raise SourceReadError("no route to host.")

    work = (
        StageRange(Volume(volume(inode=n).key, 1000, {"archive": f"{n}.tar"}), 0, 1000, 1000, Dead)
        for n in range(10_000)
    )
    with pytest.raises(SourceReadError, match="no route"):
        Stager(fresh(tmp_path / "cache"), streams=4).run(work)
    assert 16 <= len(asked) <= 40


def test_a_bug_ends_it_and_a_full_cache_too(tmp_path: Path) -> None:
    class Broken(Bytes):
        def read(self, offset: int, length: int) -> bytes:
            raise ValueError("bug")

    with pytest.raises(ValueError, match="bug"):
        run(fresh(tmp_path / "a"), Broken(LARGE))
    small = fresh(tmp_path / "b", Limits(10 * WINDOW // 4, 0))
    with pytest.raises(QuotaExceededError):
        run(small, Bytes(LARGE))
    held = sum(segment.allocated for segment in small._directory.segments())
    assert 0 < held <= 10 * WINDOW // 4


@pytest.mark.parametrize("kept", [True, False])
def test_it_leaves_no_descriptor(tmp_path: Path, kept: bool) -> None:
    """Where the disk fails it is begun anew every few seconds, for hours."""
    cache = fresh(tmp_path / "cache", Limits(1 << 40 if kept else WINDOW, 0))
    before = descriptors()
    with contextlib.nullcontext() if kept else pytest.raises(QuotaExceededError):
        run(cache, Bytes(LARGE))
    assert opened_since(before) == {}


def test_an_interrupt_does_not_wait_for_the_pace(tmp_path: Path) -> None:
    """At a byte a second a stream's next turn is 18 hours away."""
    one, origin = large(), Bytes(LARGE)

    def interrupt(progress: StageProgress) -> None:
        if progress.done:
            raise KeyboardInterrupt

    cache, pace = fresh(tmp_path / "cache"), RateLimiter(1.0)
    stager = Stager(cache, streams=4, rate_limiter=pace, last_seconds=HANG_SECONDS)
    with pytest.raises(KeyboardInterrupt):
        stager.run(stage_ranges(one, 0, one.size, one.size, lambda: origin), interrupt)
    assert not stager.is_stuck
    assert stager.progress.done == stager.progress.fetched == origin.bytes == BLOCK


def test_a_disk_that_fails_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than fetch what cannot be kept."""
    from imagenetfs.cache import segment as segments

    cache, origin = fresh(tmp_path / "cache"), Bytes(LARGE)
    read_all(cache, large(), Bytes(LARGE))
    real = segments.Segment.write

    def full(self: segments.Segment, first: int, data: bytes) -> None:
        if first > 200:
            raise OSError(28, "No space left on device")
        real(self, first, data)

    monkeypatch.setattr(segments.Segment, "write", full)
    with pytest.raises(OSError, match="No space"):
        run(cache, origin, streams=1)
    assert origin.bytes < 0.75 * len(LARGE)


def test_the_pace() -> None:
    clock = FakeClock()
    pace = RateLimiter(100e6, clock)
    assert [pace.reserve(4_000_000) for _ in range(3)] == pytest.approx([0.0, 0.04, 0.08])
    clock.advance(0.1)
    assert pace.reserve(4_000_000) == pytest.approx(0.02)
    clock.advance(10)  # time that was not used is not kept
    assert [pace.reserve(4_000_000) for _ in range(2)] == pytest.approx([0.0, 0.04])
    assert RateLimiter(None, clock).reserve(1 << 40) == 0


def test_each_request_takes_its_turn(tmp_path: Path) -> None:
    turns: list[int] = []

    class Counted(RateLimiter):
        def reserve(self, length: int) -> float:
            turns.append(length)
            return 0.0

    origin, pace = Bytes(LARGE), Counted(1e6)
    run(fresh(tmp_path / "cache"), origin, rate_limiter=pace)
    assert sorted(turns) == sorted(length for _, length in origin.asked)
    assert sum(turns) == len(LARGE)
    assert max(turns) == pace.window < 1e6


class Watched(Bytes):
    """Of LARGE; how many requests were under way at once, at most. ``others``: wait for so many."""

    def __init__(self, clock: FakeClock, others: int) -> None:
        super().__init__(LARGE)
        self.most = self._under_way = 0
        self._clock, self._others = clock, others
        self._lock, self._there = threading.Lock(), threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        with self._lock:
            self._under_way += 1
            self.most = max(self.most, self._under_way)
            if self.most > self._others:
                self._there.set()
        if self._others and self.asked:  # the first one is alone: nothing is known yet
            assert self._there.wait(HANG_SECONDS), "one at a time, though there is room for more"
        with self._lock:
            self._clock.advance(0.005)
            self._under_way -= 1
            return super().read(offset, length)


class Pace(Steady):
    """Requests that take so much longer than alone, as part of that."""

    def __init__(self, delay: float) -> None:
        super().__init__()
        self._delay = delay

    def delays_since(self, then_ns: int) -> Delay:
        return Delay(self._delay, self._delay, 1)


def beside_readers(directory: Path, delay: float, others: int) -> tuple[Watched, list[float]]:
    prepare(directory)
    clock = FakeClock()
    cache = BlockCache(CacheDirectory(directory), PLENTY, pace=Pace(delay))
    origin = Watched(clock, others)
    progress = run(cache, origin, others_read=lambda: True, clock=clock)
    assert progress.fetched == len(LARGE)
    return origin, clock.pauses


def test_it_makes_way_for_readers_on_a_source_that_is_full(tmp_path: Path) -> None:
    """One request at a time, smaller ones, and longer and longer pauses between them."""
    origin, pauses = beside_readers(tmp_path / "cache", 1.0, others=0)
    assert origin.most == 1
    assert max(length for _, length in origin.asked) == 1 << 20
    assert len(pauses) == len(origin.asked)
    assert pauses[:3] == pytest.approx([0.005, 0.015, 0.035])
    assert pauses[-1] == pytest.approx(0.005 * 31)


def test_it_runs_beside_readers_on_a_source_that_has_room_for_both(tmp_path: Path) -> None:
    origin, pauses = beside_readers(tmp_path / "cache", 0.0, others=1)
    assert origin.most > 1
    assert max(length for _, length in origin.asked) == 1 << 20
    assert pauses == []


def test_without_readers_it_has_all_streams_under_way(tmp_path: Path) -> None:
    origin = Watched(FakeClock(), others=3)
    run(fresh(tmp_path / "cache"), origin)
    assert origin.most == 4


# --- looking at it --------------------------------------------------------------------------------


@pytest.mark.slow
def test_what_is_held_can_be_seen_verified_and_cleared(tmp_path: Path) -> None:
    began = time.time()
    cache = fresh(tmp_path / "cache")
    run(cache, Bytes(LARGE))
    one = large()
    for at in (0, 500_000):
        cache.read(one, ByteRange.sized(at, 1000), ByteRange(at, at + 1000), Bytes(LARGE))
    read_all(cache, volume(), Bytes())
    cache.close()
    directory = cache._directory
    first, second = list_volumes(directory)
    assert (first.version, first.archive) == ("?", "a/b.tar")
    assert (second.version, second.archive, second.bytes, second.size) == (
        *("V", "a"),
        *(len(LARGE), len(LARGE)),
    )
    assert (second.hits, second.misses, second.saved) == (2, 0, 2000)
    assert began - 1 < second.used <= time.time() + 1
    told: list[tuple[int, int]] = []
    verdict = verify(directory, lambda done, whole: told.append((done, whole)))
    assert (verdict.wrong, verdict.files) == (0, 0)
    assert verdict.right == -(-len(LARGE) // (1 << 16)) + -(-first.bytes // (1 << 16))
    assert told[-1][0] == told[-1][1]
    path = tmp_path / "cache" / second.names[0]
    with path.open("r+b") as file:
        file.seek(266_240 + 100)
        file.write(b"damage")
    (tmp_path / "cache" / first.names[0]).write_bytes(b"no segment")
    verdict = verify(directory, lambda done, whole: None)
    assert (verdict.wrong, verdict.files) == (1, 1)
    assert verify(directory, lambda done, whole: None).wrong == 0
    origin = Bytes(LARGE)
    read_all(fresh(tmp_path / "cache"), large(), origin)
    assert origin.bytes == 1 << 16, "what was damaged alone"
    assert clear(directory, lambda one: one.version == "other") == 0
    assert clear(directory, lambda one: one.version == "V") > len(LARGE)
    assert list_volumes(directory) == []
