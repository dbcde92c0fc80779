"""Indexing ahead: when a class is touched, a process of its own indexes the rest of that split."""

from __future__ import annotations

import logging
import time

from imagenetfs.fuse.stats import INDEXER as INDEXER_ROW
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.index.bulk_build import Outcome, build_all
from imagenetfs.index.group_build import index_group
from imagenetfs.index.leases import HeldElsewhereError
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.server.child_process import NOT_YET, Child
from imagenetfs.system.process import INDEXER
from imagenetfs.tree.catalogue import Catalogue, archives_of
from imagenetfs.tree.tree import Tree

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
"""How long to wait where no process could be forked, or where another node is indexing."""


class BackgroundIndexer:
    """Starts one indexing process after the other, for the splits that have been touched."""

    def __init__(
        self,
        catalogue: Catalogue,
        tree: Tree,
        stats: SharedStats,
        places: IndexSearchPath,
        in_flight: int | None,
    ) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._stats = stats
        self._places = places
        self._in_flight = in_flight
        self._done: set[int] = set()
        self._child: Child | None = None
        self._at_work: tuple[int, list[int]] = (0, [])
        self._not_before: dict[int, float] = {}

    @property
    def busy(self) -> bool:
        """Whether an indexing process is at work."""
        return self._child is not None

    def tick(self, session_fd: int) -> None:
        """Reap, and start the next one."""
        if self._child is not None and self._child.ended():
            if self._child.not_yet:
                self._try_again(*self._at_work)
            self._child = None
        if self._child is not None:
            return
        splits = self._tree.split_directories
        for number in self._stats.touched():
            if time.monotonic() < self._not_before.get(number, 0.0):
                continue
            archives = [a for a in archives_of([splits[number]]) if a not in self._done]
            if archives:
                self._start(number, archives, session_fd)
                return

    def _try_again(self, split: int, archives: list[int]) -> None:
        self._done.difference_update(archives)
        self._not_before[split] = time.monotonic() + _PAUSE_SECONDS

    def _start(self, split: int, archives: list[int], session_fd: int) -> None:
        self._at_work = split, archives
        self._done.update(archives)
        try:
            self._child = Child(
                session_fd, lambda: self._index(split, archives), "indexing ahead", INDEXER
            )
        except OSError as error:
            log.warning("indexing ahead could not start: %s", error.strerror)
            self._try_again(split, archives)

    def _index(self, split: int, archives: list[int]) -> int:
        """In the child: index what no other process is indexing, and take stock of the split;
        NOT_YET where one is.
        """
        index = self._catalogue.index
        index.after_fork()
        self._catalogue.source.count_on(self._stats.row(INDEXER_ROW))
        code = 0
        for group, numbers in self._catalogue.groups(archives).items():
            start = time.monotonic()
            try:
                outcome = self._index_group(group, numbers)
            except HeldElsewhereError as held:
                log.info("%s is being indexed by %s", group, held.holder)
                code = NOT_YET
                continue
            log.info(
                "indexed %d containers, %d members, in %.1f s",
                outcome.containers,
                outcome.members,
                time.monotonic() - start,
            )
        if code == 0:
            self._tree.take_stock(split)
        return code

    def _index_group(self, group: str, archives: list[int]) -> Outcome:
        index, file = self._catalogue.index, self._places.file(group)
        if file is not None:
            try:
                return index_group(index, archives, file, in_flight=self._in_flight, processes=1)
            except OSError as error:
                log.warning("the index file %s cannot be written: %s", file, error.strerror)
        return build_all(index, archives, in_flight=self._in_flight, processes=1)

    def kill(self) -> None:
        """End the indexing process, if there is one; what it built stays in the arena."""
        if self._child is not None:
            self._child.kill()
            self._child = None
