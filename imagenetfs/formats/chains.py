"""The header walk with many requests under way: for sources where a read is a round trip.

A tar is one chain of headers, and over a network each hop waits for the one before. So the file
is cut into stretches. In each, a chain of its own looks for a block whose checksum holds and hops
on from there, in a thread; nothing of that is believed. The truth is the walk from the start, in
the calling thread. It takes a chain's members over from where it stands itself on a header that
the chain hopped from too, with no extended header pending: from there on both walks are the
same walk. Whatever looks like a header within an image can cost time, and never correctness.

- Chain or truth, a hop depends on nothing but its offset, unless a global pax header came before.
  So a chain that meets one that matters gives nothing, and the truth goes on alone behind one.
- Errors come from the truth alone: a chain that fails stops, and the truth goes there itself.
- The truth waits for a chain only if it is true; it never waits for one that may be false, but
  hops on meanwhile. So this is never much slower than ``scan``.

The threads are plain ones, joined before anything returns: the caller may fork afterwards. (trio
keeps its threads for ten seconds, and cannot be run within a trio that runs already.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from imagenetfs.formats.tar import MemberColumns, ReadAt, Walk, check_length
from imagenetfs.formats.tar_chain import Cancelled, Chain, Cutter
from imagenetfs.formats.tar_header import BLOCK
from imagenetfs.formats.tar_pace import Fixed, Pace

MINIMUM = 8 << 20
"""Bytes of an archive below which chains are not worth their threads."""

_PROBE = 16  # hops by which latency and the members' mean size are measured
_AGAIN = 256  # hops after which they are measured again, while chains are not worth it
_SLOW = 100e-6  # seconds a read: below that threads take longer than they save
_LARGE = 4 << 20  # bytes a member: above that looking for headers takes longer than hopping
_PATIENCE = 1.0  # seconds that an interrupt waits for reads that do not return


def scan_parallel(
    read_at: ReadAt,
    start: int,
    end: int,
    into: MemberColumns,
    *,
    in_flight: int | None = None,
    minimum: int = MINIMUM,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Do what ``tar.scan`` does, with the same result and errors, keeping many reads under way.

    ``read_at`` is called from several threads at once. ``in_flight`` is the number of reads under
    way at most; None lets it follow the latency, from 4 to 16. Archives of fewer bytes than
    ``minimum``, of few or of very large members, and sources that answer at once, are walked by
    the calling thread alone. ``progress`` is called from there, with the bytes walked so far.
    """
    check_length(start, end)
    report = progress or (lambda done: None)
    walk = Walk(read_at, end, into)
    position, ended = start, False
    alone = in_flight == 1 or end - start < minimum
    while not ended and not alone:
        probed = position
        position, ended, latency = _probe(walk, position)
        span = max(BLOCK, (position - probed) // _PROBE)
        remaining = (end - position) // span
        if ended or walk.overrides or remaining < 4 * _PROBE:
            break
        if latency > _SLOW and span < _LARGE:
            pace = Pace(latency) if in_flight is None else Fixed(in_flight)
            hops = min(256, max(16, remaining // (4 * pace.ceiling)))
            position = hop_in_chains(
                walk,
                position,
                hops=hops,
                stretch=hops * span,
                pace=pace,
                progress=lambda offset: report(offset - start),
            )
            report(position - start)
            return position
        position, ended = walk.until(position, position + _AGAIN * span)
        report(position - start)
    if not ended:
        position, _ = walk.until(position, end)
    report(position - start)
    return position


def _probe(walk: Walk, position: int) -> tuple[int, bool, float]:
    """Hop a few times; where that landed, whether the archive ended, and a hop's median seconds."""
    seconds: list[float] = []
    ended = False
    while not ended and len(seconds) < _PROBE:
        before = perf_counter()
        position, ended = walk.until(position, position + 1)
        seconds.append(perf_counter() - before)
    return position, ended, sorted(seconds)[len(seconds) // 2]


def hop_in_chains(
    walk: Walk,
    position: int,
    *,
    hops: int,
    stretch: int,
    pace: Pace,
    progress: Callable[[int], None] = lambda offset: None,
) -> int:
    """Bring ``walk`` from the header at ``position`` to the end of the archive, by chains.

    A chain is to be of about ``hops`` members; ``stretch`` is the bytes of the first ones, later
    ones follow what was found. Returns what ``tar.scan`` returns and raises what it raises.
    ``progress`` is called with the offset up to which the members are known.
    """
    crew = _Crew(walk.read_at, walk.end, pace, Cutter(position, walk.end, hops, stretch))
    try:
        crew.fill()
        landed = _stitch(walk, position, crew, progress)
    except Exception:
        crew.close(None)
        raise
    except BaseException:
        # An interrupt does not wait for a server that does not answer: the threads are daemons.
        crew.close(_PATIENCE)
        raise
    crew.close(None)
    return landed


def _stitch(walk: Walk, position: int, crew: _Crew, progress: Callable[[int], None]) -> int:
    """Walk on from ``position``, taking over what chains have, until the archive ends."""
    ended, truth = position >= walk.end, walk.into.headers
    since = len(truth)
    while not ended:
        chain = crew.next(position)
        if chain is None or walk.overrides:
            return walk.until(position, walk.end)[0]
        while position < chain.stop and not ended:
            if chain.claim():
                position, ended = walk.until(position, chain.stop)
            elif (
                not walk.overrides
                and chain.is_true(position, truth, since)
                and chain.give(position, walk.into)
            ):
                position, ended = chain.landing, chain.landing >= walk.end
            else:
                position, ended = walk.until(position, position + 1)
        chain.cancelled = True
        progress(position)
    return position


class _Crew:
    """The threads that run chains, one fewer than requests may be under way: the truth makes one."""

    def __init__(self, read_at: ReadAt, end: int, pace: Pace, cutter: Cutter) -> None:
        self._read_at, self._end, self._pace, self._cutter = read_at, end, pace, cutter
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._begun: deque[Chain] = deque()  # by offset, those that the truth has not come to
        self._closed = False

    def fill(self) -> None:
        """Start threads up to what the pace allows."""
        with self._lock:
            while not self._closed and self._working < self._pace.limit - 1:
                thread = threading.Thread(target=self._work, name="tar-chain", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: fewer will do
                    return
                self._threads.append(thread)
                self._working += 1

    def next(self, position: int) -> Chain | None:
        """The next chain by offset; one that no thread has begun is cut for the caller.

        ``position`` is where the true walk is: nothing is cut before it any more.
        """
        with self._lock:
            self._cutter.skip(position)
            return self._begun.popleft() if self._begun else self._cutter.cut()

    def close(self, patience: float | None) -> None:
        """End all chains, and wait for the threads: for each to its end, or ``patience`` for all."""
        with self._lock:
            self._closed = True
        deadline = None if patience is None else perf_counter() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - perf_counter()))
            while not thread.is_alive() and Path(f"/proc/self/task/{thread.native_id}").exists():
                sleep(0)  # Python is through with it, the kernel not quite; fork would see it

    def _work(self) -> None:
        """A thread: run chain after chain, until there are no more or the pace slows down."""
        chain: Chain | None = None
        while True:
            with self._lock:
                if chain is not None:
                    self._cutter.learn(chain)
                chain = None
                if not self._closed and self._working < self._pace.limit:
                    chain = self._cutter.cut()
                if chain is None:
                    self._working -= 1
                    return
                chain.claim()
                self._begun.append(chain)
            chain.run(self._reader(chain), self._end)

    def _reader(self, chain: Chain) -> ReadAt:
        """``read_at`` for one chain: timed, and ended when nobody needs it any more."""
        read_at, note = self._read_at, self._pace.note

        def read(offset: int, length: int) -> bytes:
            if chain.cancelled or self._closed:
                raise Cancelled
            before = perf_counter()
            data = read_at(offset, length)
            if length == BLOCK and note(perf_counter() - before):
                self.fill()
            return data

        return read
