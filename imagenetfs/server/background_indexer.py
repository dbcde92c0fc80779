"""Indexing ahead: when a class is touched, a process of its own indexes the rest of that split."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from functools import partial

import trio

from imagenetfs.errors import (
    ImagenetfsError,
    SourceGoneError,
    SourceReplacedError,
    SourceUnreadableError,
)
from imagenetfs.fuse.progress import ProgressRow
from imagenetfs.fuse.stats import INDEXER as INDEXER_ROW
from imagenetfs.index.bulk_build import BuildProgress, Outcome, build_all
from imagenetfs.index.bulk_workers import Work
from imagenetfs.index.group_build import index_group
from imagenetfs.index.leases import HeldElsewhereError
from imagenetfs.server.child_process import NOT_YET, Children
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import INDEXER
from imagenetfs.tree.catalogue import archives_of

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
"""How long to wait where no process could be forked, where another node is indexing, or where the
source does not answer; twice as long each time, at most ``_LONGEST_PAUSE_SECONDS``.
"""

_LONGEST_PAUSE_SECONDS = 60.0


class BackgroundIndexer:
    """Runs one indexing process after the other, for the splits that have been touched."""

    def __init__(self, context: MountContext, in_flight: int | None) -> None:
        self._context = context
        self._in_flight = in_flight
        self._progress = ProgressRow(context.stats.row(INDEXER_ROW))
        self._done: set[int] = set()
        self._not_before: dict[int, float] = {}
        self._pauses: dict[int, float] = {}

    async def run(self, children: Children, wakeup: Wakeup) -> None:
        """Index what is touched; never returns."""
        while True:
            due, pause = self._next()
            if due is None:
                await wakeup.wait(pause)
            else:
                await self._index_in_child(*due, children)

    def _next(self) -> tuple[tuple[int, list[int]] | None, float]:
        """A split with the archives of it that are to be indexed now; or None, and how long it may
        be, in seconds, until there is one that was put off.
        """
        pause = math.inf
        splits = self._context.tree.split_directories
        for number in self._context.stats.touched():
            archives = [a for a in archives_of([splits[number]]) if a not in self._done]
            if not archives:
                continue
            left = self._not_before.get(number, -math.inf) - trio.current_time()
            if left <= 0:
                return (number, archives), 0.0
            pause = min(pause, left)
        return None, pause

    async def _index_in_child(self, split: int, archives: list[int], children: Children) -> None:
        self._done.update(archives)
        work = partial(self._index, split, archives)
        try:
            child = await children.run(work, "indexing ahead", INDEXER, row=INDEXER_ROW)
        except OSError as error:
            log.warning("indexing ahead could not start: %s", error.strerror)
        else:
            if not child.not_yet:
                return
        finally:
            self._progress.clear()
        self._done.difference_update(archives)
        pause = self._pauses.get(split, _PAUSE_SECONDS)
        self._pauses[split] = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        self._not_before[split] = trio.current_time() + pause

    def _index(self, split: int, archives: list[int]) -> int:
        """In the child: index what no other process is indexing, and take stock of the split;
        NOT_YET where one is, or where the source was away.
        """
        code = 0
        for group, numbers in self._context.catalogue.groups(archives).items():
            start = time.monotonic()
            self._progress.begin(split)
            try:
                outcome = self._index_group(group, numbers)
            except HeldElsewhereError as held:
                log.info("%s is being indexed by %s", group, held.holder)
                code = NOT_YET
                continue
            if any(map(self._is_away, outcome.left)):
                code = NOT_YET
            log.info(
                "indexed %d containers, %d members, in %.1f s",
                outcome.containers,
                outcome.members,
                time.monotonic() - start,
            )
        if code == 0:
            self._context.tree.take_stock(split)
        return code

    def _is_away(self, item: Work) -> bool:
        """Whether a container was left because the source did not answer, which may pass; not where
        it is another file for good, or may not be read.
        """
        index = self._context.index
        try:
            index.source.open(index.archives[item[0]].path)
        except SourceGoneError:
            return True
        except ImagenetfsError as error:
            return not isinstance(error, (SourceReplacedError, SourceUnreadableError))
        return True

    def _index_group(self, group: str, archives: list[int]) -> Outcome:
        index, file = self._context.index, self._context.index_path.file(group)
        if file is not None:
            try:
                return index_group(
                    index,
                    archives,
                    file,
                    in_flight=self._in_flight,
                    processes=1,
                    progress=self._teller(),
                )
            except OSError as error:
                log.warning("the index file %s cannot be written: %s", file, error.strerror)
        tell = self._teller()
        return build_all(index, archives, in_flight=self._in_flight, processes=1, progress=tell)

    def _teller(self) -> Callable[[BuildProgress], None]:
        """Says in the shared counters how far it is; what was there before is not counted as
        done now.
        """
        before: int | None = None

        def tell(now: BuildProgress) -> None:
            nonlocal before
            if before is None:
                before = now.done
            self._progress.update(now.done, now.total, now.done - before)

        return tell
