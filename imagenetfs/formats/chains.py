"""The header walk with many requests under way: for sources where a read is a round trip.

A tar is one chain of headers, and over a network each hop waits for the one before. So whoever has
nothing to do takes the second half of what is left of the longest stretch that somebody walks. There
he looks for a block whose checksum holds and hops on from it, a chain of its own; nothing of that is
believed. The truth is the walk from the start. It takes a chain's members over from where it
stands itself on a header that the chain hopped from too, with no extended header pending: from
there on both walks are the same walk. Whatever looks like a header within an image can cost time,
and never correctness.

- Chain or truth, a hop depends on nothing but its offset, unless a global pax header came before.
  So a chain that meets one that matters gives nothing, and the truth goes on alone behind one.
- Errors come from the truth alone: a chain that fails stops, and the truth goes there itself.
- The truth waits for a chain only if it is true, and walks other stretches meanwhile; it never
  waits for one that may be false, but hops on. So this is never much slower than ``scan``.

The threads are plain ones, joined before anything returns: the caller may fork afterwards. (trio
keeps its threads for ten seconds, and cannot be run within a trio that runs already.)
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from imagenetfs.formats.tar import MemberColumns, ReadAt, Walk, check_length
from imagenetfs.formats.tar_chain import Cancelled, Cutter, Stretch
from imagenetfs.formats.tar_header import BLOCK
from imagenetfs.formats.tar_pace import Fixed, Pace

MINIMUM = 8 << 20
"""Bytes of an archive below which chains are not worth their threads."""

_PROBE = 16  # hops by which latency and the members' mean size are measured
_AGAIN = 256  # hops after which they are measured again, while chains are not worth it
_SLOW = 100e-6  # seconds a read: below that threads take longer than they save
_LARGE = 4 << 20  # bytes a member: above that looking for headers takes longer than hopping
_PATIENCE = 1.0  # seconds that an interrupt waits for reads that do not return

Progress = Callable[[int], None]


def scan_parallel(
    read_at: ReadAt,
    start: int,
    end: int,
    into: MemberColumns,
    *,
    in_flight: int | None = None,
    minimum: int = MINIMUM,
    progress: Progress | None = None,
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
            position = hop_in_chains(
                walk, position, Cutter(span), pace, lambda offset: report(offset - start)
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
    cutter: Cutter,
    pace: Pace,
    progress: Progress = lambda offset: None,
) -> int:
    """Bring ``walk`` from the header at ``position`` to the end of the archive, by chains.

    Returns what ``tar.scan`` returns and raises what it raises. ``progress`` is called with the
    offset up to which the members are known.
    """
    team = Team(pace)
    try:
        team.fill()
        landed = team.stitch(walk, position, cutter, progress)
    except Exception:
        team.close(None)
        raise
    except BaseException:
        # An interrupt does not wait for a server that does not answer: the threads are daemons.
        team.close(_PATIENCE)
        raise
    team.close(None)
    return landed


class Team:
    """Threads that walk tars together, whoever has nothing to do helping where most is left.

    Those who call :meth:`stitch` or :meth:`scan` are of the team; :meth:`fill` starts others. In
    all they are no more than ``pace.limit``, and each has one read under way.
    """

    def __init__(self, pace: Pace) -> None:
        self._pace = pace
        self._changed = threading.Condition(threading.Lock())  # guards all of what follows
        self._threads: list[threading.Thread] = []
        self._working = 0
        self._open: list[Stretch] = []  # what is being walked and may be cut
        self._closed = False

    def scan(self, read_at: ReadAt, start: int, end: int, into: MemberColumns) -> int:
        """What ``tar.scan`` does, for one of the team; the others help when they have time."""
        check_length(start, end)
        walk = Walk(read_at, end, into)
        position, ended, _ = _probe(walk, start)
        span = max(BLOCK, (position - start) // _PROBE)
        if ended or span >= _LARGE:
            return position if ended else walk.until(position, end)[0]
        cutter = Cutter(span)
        try:
            return self.stitch(walk, position, cutter)
        finally:
            with self._changed:  # whoever opened the file will close it now
                self._changed.wait_for(lambda: not cutter.chains)

    def stitch(
        self,
        walk: Walk,
        position: int,
        cutter: Cutter,
        progress: Progress = lambda offset: None,
    ) -> int:
        """Walk on from ``position``, taking over what chains have, until the archive ends."""
        since = len(walk.into)
        own = Stretch(position, walk.end, walk, cutter)
        try:
            while True:
                position, ended = self._walk(own, position)
                progress(position)
                chain = own.following
                if ended or walk.overrides or chain is None:
                    break
                position, ended = self._take(chain, position, walk, since)
                own = self._succeed(chain, position, walk)
        finally:
            self._cancel(own)
        return position if ended else walk.until(position, walk.end)[0]

    def _take(self, chain: Stretch, position: int, walk: Walk, since: int) -> tuple[int, bool]:
        """Bring the true walk through a chain's stretch, or as far as the chain is of any use."""
        truth, ended = walk.into.headers, False
        while position < chain.walk.stop and not ended and not walk.overrides:
            is_true = chain.is_true(position, truth, since)
            if chain.done and (position >= chain.landing or not chain.count):
                break
            if is_true and not chain.done:
                self._help_until_done(chain)
            elif is_true and chain.give(position, walk.into):
                position, ended = chain.landing, chain.landing >= walk.end
            else:
                position, ended = walk.until(position, position + 1)
        return position, ended

    def _walk(self, own: Stretch, position: int) -> tuple[int, bool]:
        """Bring the true walk to where its own stretch stops; others may cut it meanwhile."""
        with self._changed:
            self._open.append(own)
            self._changed.notify_all()
        try:
            return own.walk.go_on(position)
        finally:
            with self._changed:
                self._open.remove(own)

    def _succeed(self, chain: Stretch, position: int, walk: Walk) -> Stretch:
        """The true walk's next stretch: what is left of the chain's, whatever that still does."""
        with self._changed:
            chain.cancelled = True
            if chain in self._open:
                self._open.remove(chain)
            own = Stretch(position, chain.walk.stop, walk, chain.cutter)
            own.following = chain.following
        return own

    def _cancel(self, stretch: Stretch) -> None:
        """End the chains behind a stretch."""
        with self._changed:
            following = stretch.following
            while following is not None:
                following.cancelled = True
                if following in self._open:
                    self._open.remove(following)
                following = following.following

    # --- those who help ---------------------------------------------------------------------------

    def fill(self) -> None:
        """Start threads up to what the pace allows."""
        with self._changed:
            while not self._closed and self._working < self._pace.limit - 1:
                thread = threading.Thread(target=self._work, name="tar-chain", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # no more threads to be had: fewer will do
                    return
                self._threads.append(thread)
                self._working += 1

    def help(self) -> None:
        """Walk chains until the team is closed; for a thread that has nothing else to do."""
        while (chain := self._cut(lambda: self._closed)) is not None:
            self._run(chain)

    def close(self, patience: float | None = None) -> None:
        """End all chains, and wait for the threads: for each to its end, or ``patience`` for all."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = None if patience is None else perf_counter() + patience
        for thread in self._threads:
            thread.join(None if deadline is None else max(0.0, deadline - perf_counter()))
            while not thread.is_alive() and Path(f"/proc/self/task/{thread.native_id}").exists():
                sleep(0)  # Python is through with it, the kernel not quite; fork would see it

    def _work(self) -> None:
        """A thread: walk chain after chain, until the team is closed or the pace slows down."""
        while (chain := self._cut(self._leaves)) is not None:
            self._run(chain)

    def _leaves(self) -> bool:
        """Whether a thread is to end, which is then no longer counted; the lock is held."""
        if self._closed or self._working >= self._pace.limit:
            self._working -= 1
            return True
        return False

    def _help_until_done(self, chain: Stretch) -> None:
        while (other := self._cut(lambda: chain.done)) is not None:
            self._run(other)

    def _cut(self, enough: Callable[[], bool]) -> Stretch | None:
        """A chain cut off where most is left to walk, as soon as there is one; None if ``enough()``."""
        with self._changed:
            while not enough():
                longest = max(self._open, key=Stretch.worth, default=None)
                if longest is not None and longest.worth() >= 2:
                    chain = longest.cut()
                    chain.cutter.chains += 1
                    self._open.append(chain)
                    return chain
                self._changed.wait()
        return None

    def _run(self, chain: Stretch) -> None:
        try:
            chain.run(self._reader(chain))
        finally:
            with self._changed:
                chain.done = True
                chain.cutter.chains -= 1
                if chain in self._open:
                    self._open.remove(chain)
                chain.cutter.learn(chain)
                self._changed.notify_all()

    def _reader(self, chain: Stretch) -> ReadAt:
        """``read_at`` for one chain: timed, and ended when nobody needs it any more."""
        read_at, note = chain.read_at, self._pace.note

        def read(offset: int, length: int) -> bytes:
            if chain.cancelled or self._closed:
                raise Cancelled
            before = perf_counter()
            data = read_at(offset, length)
            if length == BLOCK and note(perf_counter() - before):
                self.fill()
            return data

        return read
