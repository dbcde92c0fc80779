"""Chains and the true walk put together: where an archive is cut, and what of a chain is believed.

This is bookkeeping without I/O of its own. Who goes on with which walk when, tar_team.py (a thread
a walk) and tar_ring.py (one thread for all) say; the rules are those of chains.py.
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from imagenetfs.formats.tar.concurrency import AdaptiveConcurrency
from imagenetfs.formats.tar.header import BLOCK
from imagenetfs.formats.tar.speculation import LARGE, PROBE, ScanRange, SplitPolicy
from imagenetfs.formats.tar.walk import Steps, Walk, check_length

T = TypeVar("T")

Progress = Callable[[int], None]


class ScanMerger(ABC):
    """What is being walked of some archives, and may be cut in two for
    whoever has nothing to do.
    """

    def __init__(self, pace: AdaptiveConcurrency) -> None:
        self._pace = pace
        self._changed = threading.Condition(threading.Lock())  # guards all of what follows
        self._open: list[ScanRange] = []  # what is being walked and may be cut
        self._closed = False

    @abstractmethod
    def _do(self, steps: Steps[T]) -> T:
        """Do all of it, walking chains meanwhile; what it returns."""

    # --- the true walk
    # ------------------------------------------------------------------------------

    def merge(
        self,
        walk: Walk,
        position: int,
        split_policy: SplitPolicy,
        progress: Progress = lambda offset: None,
    ) -> int:
        """Walk on from ``position``, taking over what chains have, until the archive ends."""
        return self._do(self.stitching(walk, position, split_policy, progress))

    def scanning(self, walk: Walk, start: int, split_policy: SplitPolicy) -> Steps[int]:
        """What ``tar.scan`` does, step by step.

        Where it waits for a chain, it yields that chain.
        """
        check_length(start, walk.end)
        position, ended = yield from walk.steps(start, PROBE)
        span = max(BLOCK, (position - start) // PROBE)
        if ended or span >= LARGE:
            return position if ended else (yield from walk.steps(position))[0]
        split_policy.expect(span)
        return (yield from self.stitching(walk, position, split_policy))

    def stitching(
        self,
        walk: Walk,
        position: int,
        split_policy: SplitPolicy,
        progress: Progress = lambda offset: None,
    ) -> Steps[int]:
        """The same, step by step."""
        since = len(walk.into)
        own = ScanRange(position, walk.end, walk, split_policy)
        try:
            while True:
                position, ended = yield from self._walk(own, position)
                progress(position)
                chain = own.following
                if ended or walk.overrides or chain is None:
                    break
                position, ended = yield from self._take(chain, position, walk, since)
                own = self._succeed(chain, position, walk)
        finally:
            self._cancel(own)
        if ended:
            return position
        walk.stop = walk.end
        return (yield from walk.steps(position))[0]

    def _walk(self, own: ScanRange, position: int) -> Steps[tuple[int, bool]]:
        """Bring the true walk to where its own stretch stops; others may cut it meanwhile."""
        with self._changed:
            self._open.append(own)
            self._tell()
        try:
            return (yield from own.walk.steps(position))
        finally:
            with self._changed:
                self._open.remove(own)

    def _take(
        self, chain: ScanRange, position: int, walk: Walk, since: int
    ) -> Steps[tuple[int, bool]]:
        """Bring the true walk through a chain's stretch, or as far as the chain is of any use."""
        truth, ended = walk.into.headers, False
        while position < chain.walk.stop and not ended and not walk.overrides:
            is_true = chain.is_true(position, truth, since)
            if chain.done and (position >= chain.landing or not chain.count):
                break
            if is_true and not chain.done:
                yield chain
            elif is_true and chain.give(position, walk.into):
                position, ended = chain.landing, chain.landing >= walk.end
            else:
                walk.stop = min(position + 1, walk.end)
                position, ended = yield from walk.steps(position)
        return position, ended

    def _succeed(self, chain: ScanRange, position: int, walk: Walk) -> ScanRange:
        """The true walk's next stretch: what is left of the chain's, whatever that still does."""
        with self._changed:
            self._give_up(chain)
            own = ScanRange(position, chain.walk.stop, walk, chain.split_policy)
            own.following = chain.following
        return own

    def _cancel(self, stretch: ScanRange) -> None:
        """End the chains behind a stretch."""
        with self._changed:
            following = stretch.following
            while following is not None:
                self._give_up(following)
                following = following.following

    def _give_up(self, chain: ScanRange) -> None:
        chain.cancelled = True
        if chain in self._open:
            self._open.remove(chain)

    # --- chains: the lock is held
    # --------------------------------------------------------------------

    def _cut(self) -> ScanRange | None:
        """A chain cut off where most is left to walk; None where nothing is worth it."""
        longest = max(self._open, key=ScanRange.worth, default=None)
        if longest is None or longest.worth() < 2:
            return None
        chain = longest.cut()
        chain.split_policy.chains += 1
        self._open.append(chain)
        return chain

    def _end(self, chain: ScanRange) -> None:
        """Nobody walks this chain any more."""
        chain.done = True
        chain.split_policy.chains -= 1
        if chain in self._open:
            self._open.remove(chain)
        chain.split_policy.learn(chain)
        self._tell()

    def _tell(self) -> None:
        """There may be something new to cut, or to take over."""
        self._changed.notify_all()
