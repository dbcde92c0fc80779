"""Staging: ranges of volumes are fetched into the cache ahead of need, by several streams, in large
requests.

Beside readers it takes what they leave of the source (:mod:`imagenetfs.cache.scavenger`). What is
there already is not read again, so that a stage that was interrupted goes on where it was;
everything that was fetched is kept whenever it ends. Threads wait for the source; each has
descriptors of its own, for locks belong to an opening of the file.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.fetcher import BlocksBusyError, ChangedError, WantedBytes
from imagenetfs.cache.scavenger import Scavenger
from imagenetfs.cache.segment import BLOCK, SEGMENT
from imagenetfs.cache.source_pace import SMALLEST_RANGE
from imagenetfs.cache.volume import Origin, Volume
from imagenetfs.errors import ImagenetfsError, SourceChangedError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

WINDOW = 1 << 22
"""Bytes of one request."""

_POLL_SECONDS = 0.1
_LAST_SECONDS = 1.0

_MOST_FAILURES = 16
"""Ranges that fail one after the other before the source itself is given up."""


@dataclass(frozen=True, slots=True)
class StageRange:
    """Bytes [start, end) of a volume, at most :data:`WINDOW` and of one segment; ``limit``: where
    its last block ends at the latest. ``origin`` is called by the thread that fetches. ``brought``:
    it has been fetched just now, and is counted as such.
    """

    volume: Volume
    start: int
    end: int
    limit: int
    origin: Callable[[], Origin]
    brought: bool = False


def stage_ranges(
    volume: Volume,
    start: int,
    end: int,
    limit: int,
    origin: Callable[[], Origin],
    brought: bool = False,
) -> Iterable[StageRange]:
    """[start, end) in pieces that are read by one request each."""
    while start < end:
        stop = min(end, start - start % WINDOW + WINDOW)
        yield StageRange(volume, start, stop, limit, origin, brought)
        start = stop


class RateLimiter:
    """At most ``rate`` bytes a second, for all streams together; None: as fast as can be."""

    def __init__(self, rate: float | None, clock: Clock = SYSTEM_CLOCK) -> None:
        self._rate = rate
        self._clock = clock
        self._free_at = 0.0
        self._lock = threading.Lock()
        self.window = (
            WINDOW if rate is None else min(WINDOW, max(BLOCK, int(rate) // BLOCK * BLOCK))
        )
        """Bytes of one request at most: what is let through in a second, in whole blocks."""

    def wait(self, length: int, stopping: threading.Event) -> bool:
        """Wait until so many bytes more may be read; False where it shall stop."""
        pause = self.reserve(length)
        return not (stopping.wait(pause) if pause > 0 else stopping.is_set())

    def reserve(self, length: int) -> float:
        """Take the next turn for so many bytes: in how many seconds it begins."""
        if self._rate is None:
            return 0.0
        with self._lock:
            now = self._clock.monotonic()
            begin = max(self._free_at, now)
            self._free_at = begin + length / self._rate
        return begin - now


@dataclass(slots=True)
class StageProgress:
    """Bytes that are here now of all that were looked at, and those of them that were fetched."""

    done: int = 0
    fetched: int = 0


class Stager:
    """Fills a cache; :meth:`run` does so."""

    def __init__(
        self,
        cache: BlockCache,
        *,
        streams: int,
        rate_limiter: RateLimiter | None = None,
        others_read: Callable[[], bool] | None = None,
        last_seconds: float = _LAST_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``others_read()``: whether another process reads the source now, which comes first.
        ``last_seconds``: how long what is under way may go on after an interrupt.
        """
        self._cache = cache
        self._streams = streams
        self._rate_limiter = rate_limiter or RateLimiter(None)
        self._others_read = others_read or (lambda: False)
        self._last_seconds = last_seconds
        self._clock = clock
        self._stopping = threading.Event()
        self._scavenger = Scavenger(streams, cache.pace.delays_since, self._stopping, clock)
        self._own = threading.local()
        self._twins: list[BlockCache] = []
        self._is_yielding = False
        self._counting = threading.Lock()
        self._failures = 0
        self._changed: set[bytes] = set()
        self.progress = StageProgress()
        self.is_stuck = False
        self.left_out: dict[str, Exception] = {}
        """The archives that could not be brought here whole, and why."""

    def run(
        self, work: Iterable[StageRange], tell: Callable[[StageProgress], None] | None = None
    ) -> None:
        """Bring all of it here but what cannot be read (:attr:`left_out`).
        ``tell`` is called now and then.

        Raises QuotaExceededError where the cache is full, OSError where its disk fails, and what
        the source raises where it fails again and again; what was fetched by then stays. An
        interrupt does not wait for the source: where that still has requests, :attr:`is_stuck`,
        and the process has to end by force.
        """
        pool, pending = ThreadPoolExecutor(self._streams), dict[Future[None], StageRange]()
        patience: float | None = None
        try:
            self._work(iter(work), pool, pending, tell)
        except KeyboardInterrupt:
            patience = self._last_seconds
            raise
        finally:
            self._stopping.set()  # what has begun is finished and kept
            pool.shutdown(wait=False)
            self.is_stuck = bool(wait(pending, patience).not_done)
            if not self.is_stuck:
                for twin in self._twins:
                    twin.close()

    def _work(
        self,
        queue: Iterator[StageRange],
        pool: ThreadPoolExecutor,
        pending: dict[Future[None], StageRange],
        tell: Callable[[StageProgress], None] | None,
    ) -> None:
        while True:
            for staged in queue:
                pending[pool.submit(self._fill, staged)] = staged
                if len(pending) >= 2 * self._streams:
                    break
            if not pending:
                return
            for future in wait(pending, _POLL_SECONDS, FIRST_COMPLETED).done:
                self._settle(future, pending.pop(future))
            if tell is not None:
                tell(self.progress)

    def _settle(self, future: Future[None], staged: StageRange) -> None:
        """Take note of how it went."""
        try:
            future.result()
        except (ChangedError, SourceChangedError) as error:  # nothing of it will be had any more
            self.left_out[_title(staged.volume)] = error
            self._changed.add(staged.volume.key)
        except ImagenetfsError as error:
            self.left_out.setdefault(_title(staged.volume), error)
            self._failures += 1
            if self._failures >= _MOST_FAILURES:
                raise
        else:
            self._failures = 0

    def _fill(self, staged: StageRange) -> None:
        if staged.volume.key in self._changed:
            return
        cache, volume = self._mine(staged.volume)
        at = staged.start
        while at < staged.end and not self._stopping.is_set():
            is_yielding = self._yields()
            window = min(self._rate_limiter.window, self._small if is_yielding else WINDOW)
            stop = min(staged.end, at - at % window + window)
            fetched = stop - at if staged.brought else 0
            for missing in cache.missing_ranges(volume, ByteRange(at, stop)):
                with self._scavenger.turn() if is_yielding else contextlib.nullcontext(True) as go:
                    if not (go and self._rate_limiter.wait(missing.length, self._stopping)):
                        return
                    fetched += self._fetch(cache, volume, missing, staged)
            with self._counting:
                self.progress.done += stop - at
                self.progress.fetched += fetched
            at = stop

    def _fetch(
        self, cache: BlockCache, volume: Volume, missing: ByteRange, staged: StageRange
    ) -> int:
        """Fetch these bytes, of one segment; how many it were."""
        number, fetched = missing.start // SEGMENT, 0
        with contextlib.suppress(BlocksBusyError):  # a reader is at it, and will have it
            wanted = WantedBytes(missing, staged.limit)
            fetched = len(cache.fill(volume, number, wanted, staged.origin()).data)
        cache.check_disk()
        return fetched

    def _yields(self) -> bool:
        """Whether readers are to be made way for now."""
        yielded, self._is_yielding = self._is_yielding, self._others_read()
        if self._is_yielding and not yielded:
            self._scavenger.restart()
        return self._is_yielding

    @property
    def _small(self) -> int:
        """Bytes of a request beside readers: who comes next waits for it, so no more than pays."""
        return max(SMALLEST_RANGE, self._cache.pace.range_size)

    def _mine(self, volume: Volume) -> tuple[BlockCache, Volume]:
        """This thread's own cache, and the volume as it has it open."""
        own = self._own
        if not hasattr(own, "cache"):
            own.cache, own.volumes = self._cache.twin(), {}
            self._twins.append(own.cache)
        mine = own.volumes.get(volume.key)
        if mine is None:
            mine = Volume(volume.key, volume.size, volume.about, volume.apart)
            own.volumes = {volume.key: mine}  # the last one only: there may be thousands
            own.cache.close()
        return own.cache, mine


def _title(volume: Volume) -> str:
    return str(volume.about.get("archive", "?"))
