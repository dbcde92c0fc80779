"""Threads that walk tars together; what they are to make of what they find, chains.py says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, sleep

from imagenetfs.formats.tar import MemberColumns, ReadAt, Walk, check_length
from imagenetfs.formats.tar_chain import LARGE, PROBE, Cancelled, Cutter, Stretch, probe
from imagenetfs.formats.tar_header import BLOCK
from imagenetfs.formats.tar_pace import Pace

Progress = Callable[[int], None]


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
        position, ended, _ = probe(walk, start)
        span = max(BLOCK, (position - start) // PROBE)
        if ended or span >= LARGE:
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
