"""Indexing ahead: when a class is touched, a process of its own indexes the rest of that split."""

from __future__ import annotations

import logging
import time

from imagenetfs.index.places import IndexPlaces
from imagenetfs.index.warm import save, warm
from imagenetfs.serve.board import INDEXER as INDEXER_ROW
from imagenetfs.serve.board import Board
from imagenetfs.serve.child import Child
from imagenetfs.system.process import INDEXER
from imagenetfs.tree.catalogue import Catalogue, archives_of
from imagenetfs.tree.tree import Tree

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 5.0
"""How long to wait where no process could be forked."""


class IndexAhead:
    """Starts one indexing process after the other, for the splits that have been touched."""

    def __init__(
        self, catalogue: Catalogue, tree: Tree, board: Board, places: IndexPlaces, in_flight: int
    ) -> None:
        self._catalogue = catalogue
        self._tree = tree
        self._board = board
        self._places = places
        self._in_flight = in_flight
        self._done: set[int] = set()
        self._child: Child | None = None
        self._not_before = 0.0

    @property
    def busy(self) -> bool:
        """Whether an indexing process is at work."""
        return self._child is not None

    def tick(self, session_fd: int) -> None:
        """Reap, and start the next one."""
        if self._child is not None and self._child.ended():
            self._child = None
        if self._child is not None:
            return
        splits = self._tree.split_directories
        for number in self._board.touched():
            archives = [a for a in archives_of([splits[number]]) if a not in self._done]
            if archives:
                self._start(archives, session_fd)
                return

    def _start(self, archives: list[int], session_fd: int) -> None:
        if time.monotonic() < self._not_before:
            return
        try:
            self._child = Child(
                session_fd, lambda: self._index(archives), "indexing ahead", INDEXER
            )
        except OSError as error:
            log.warning("indexing ahead could not start: %s", error.strerror)
            self._not_before = time.monotonic() + _PAUSE_SECONDS
        else:
            self._done.update(archives)

    def _index(self, archives: list[int]) -> None:
        index = self._catalogue.index
        index.after_fork()
        self._catalogue.source.count_on(self._board.row(INDEXER_ROW))
        start = time.monotonic()
        outcome = warm(index, archives, in_flight=self._in_flight, processes=1)
        log.info(
            "indexed %d containers, %d members, in %.1f s",
            outcome.containers,
            outcome.members,
            time.monotonic() - start,
        )
        for group, numbers in self._catalogue.groups(archives).items():
            path = self._places.file(group)
            if path is not None:
                try:
                    save(index, numbers, path)
                except OSError as error:
                    log.warning("the index file %s cannot be written: %s", path, error.strerror)

    def kill(self) -> None:
        """End the indexing process, if there is one; what it built stays in the arena."""
        if self._child is not None:
            self._child.kill()
            self._child = None
