"""Indexing ahead: which splits, one after the other, and when one is tried again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest

from imagenetfs.fuse.stats import INDEXER as INDEXER_ROW
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.index.bulk_build import Outcome
from imagenetfs.index.leases import HeldElsewhereError, Holder
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.server import background_indexer
from imagenetfs.server.background_indexer import BackgroundIndexer
from imagenetfs.server.child_process import NOT_YET
from imagenetfs.system.process import INDEXER
from imagenetfs.tree.catalogue import Catalogue
from imagenetfs.tree.tree import Tree
from tests.helpers.fake_children import Nursery

SESSION = 77
SPLITS = ([0, 1], [1, 2], [3])
"""The archives of each split; two share one."""

DONE = Outcome(1, 2, (), ())


class Everything:
    """The catalogue, its index and its source, the tree, and the places of index files."""

    def __init__(self) -> None:
        self.split_directories = list(range(len(SPLITS)))
        self.index = self.source = self
        self.places: dict[str, Path | None] = {"a": Path("/i/a"), "b": None}
        self.done: list[str] = []
        self.meter: object = None

    def after_fork(self) -> None:
        self.done.append("after fork")

    def count_on(self, meter: object) -> None:
        self.meter = meter

    def take_stock(self, split: int) -> None:
        self.done.append(f"stock of {split}")

    def groups(self, archives: Sequence[int]) -> dict[str, list[int]]:
        found = {"a": [n for n in archives if n < 2], "b": [n for n in archives if n >= 2]}
        return {group: numbers for group, numbers in found.items() if numbers}

    def file(self, group: str) -> Path | None:
        return self.places[group]


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    one = Nursery(monkeypatch, "imagenetfs.server.background_indexer")
    monkeypatch.setattr(time, "monotonic", lambda: one.now)

    def archives_of(splits: Sequence[int]) -> list[int]:
        return [archive for split in splits for archive in SPLITS[split]]

    monkeypatch.setattr(background_indexer, "archives_of", archives_of)
    return one


@pytest.fixture
def everything() -> Everything:
    return Everything()


@pytest.fixture
def board() -> SharedStats:
    return SharedStats()


@pytest.fixture
def indexer(nursery: Nursery, everything: Everything, board: SharedStats) -> BackgroundIndexer:
    return BackgroundIndexer(
        cast(Catalogue, everything),
        cast(Tree, everything),
        board,
        cast(IndexSearchPath, everything),
        7,
    )


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object, object]]:
    """What is indexed: how, which archives, into which file; and with what outcome."""
    found: list[tuple[str, object, object]] = []

    def index_group(index: object, archives: object, file: object, **more: object) -> Outcome:
        assert more == {"in_flight": 7, "processes": 1}
        found.append(("group", archives, file))
        return DONE

    def build_all(index: object, archives: object, **more: object) -> Outcome:
        assert more == {"in_flight": 7, "processes": 1}
        found.append(("all", archives, None))
        return DONE

    monkeypatch.setattr(background_indexer, "index_group", index_group)
    monkeypatch.setattr(background_indexer, "build_all", build_all)
    return found


Asked = list[tuple[str, object, object]]


def indexed(nursery: Nursery, asked: Asked) -> list[int]:
    """The archives that the last child indexes."""
    before = len(asked)
    nursery.last.work()
    return sorted(n for _, archives, _ in asked[before:] for n in cast(list[int], archives))


def test_nothing_is_indexed_before_it_is_touched(
    indexer: BackgroundIndexer, nursery: Nursery
) -> None:
    indexer.tick(SESSION)
    assert nursery.started == []
    assert not indexer.busy


def test_a_split_that_is_touched_is_indexed_once(
    indexer: BackgroundIndexer, nursery: Nursery, board: SharedStats, asked: Asked
) -> None:
    board.touch(0)
    indexer.tick(SESSION)
    indexer.tick(SESSION)
    (child,) = nursery.started
    assert (child.session_fd, child.name, indexer.busy) == (SESSION, INDEXER, True)
    assert indexed(nursery, asked) == [0, 1]
    child.end()
    indexer.tick(SESSION)
    assert len(nursery.started) == 1
    assert not indexer.busy


def test_one_after_the_other_and_no_archive_twice(
    indexer: BackgroundIndexer, nursery: Nursery, board: SharedStats, asked: Asked
) -> None:
    for split in (0, 1, 2):
        board.touch(split)
    found: list[list[int]] = []
    for _ in range(4):
        indexer.tick(SESSION)
        assert indexer.busy is (len(found) < 3)
        if indexer.busy:
            found.append(indexed(nursery, asked))
            nursery.last.end()
    assert found == [[0, 1], [2], [3]]


def test_what_failed_is_not_tried_again(
    indexer: BackgroundIndexer, nursery: Nursery, board: SharedStats
) -> None:
    """Its tables are made when they are asked for; the log has the reason."""
    board.touch(2)
    indexer.tick(SESSION)
    nursery.last.end(succeeded=False)
    nursery.now += 3600
    indexer.tick(SESSION)
    assert len(nursery.started) == 1


def test_what_another_node_indexes_is_tried_again_after_a_while(
    indexer: BackgroundIndexer, nursery: Nursery, board: SharedStats, asked: Asked
) -> None:
    board.touch(0)
    board.touch(2)
    indexer.tick(SESSION)
    nursery.last.end(succeeded=False, not_yet=True)
    indexer.tick(SESSION)
    assert indexed(nursery, asked) == [3]  # another split has not to wait
    nursery.last.end()
    nursery.now += 4.9
    indexer.tick(SESSION)
    assert len(nursery.started) == 2
    nursery.now += 0.2
    indexer.tick(SESSION)
    assert len(nursery.started) == 3
    assert indexed(nursery, asked) == [0, 1]


@pytest.mark.expects_log("indexing ahead could not start: Resource temporarily unavailable")
def test_a_process_that_is_not_to_be_had_is_tried_for_again(
    indexer: BackgroundIndexer,
    nursery: Nursery,
    board: SharedStats,
    caplog: pytest.LogCaptureFixture,
) -> None:
    board.touch(0)
    nursery.refuses = True
    for _ in range(3):
        indexer.tick(SESSION)
    assert caplog.text.count("indexing ahead could not start") == 1
    nursery.refuses = False
    indexer.tick(SESSION)
    assert nursery.started == []
    nursery.now += 5.1
    indexer.tick(SESSION)
    assert len(nursery.started) == 1


def test_the_end_ends_it(indexer: BackgroundIndexer, nursery: Nursery, board: SharedStats) -> None:
    indexer.kill()
    board.touch(0)
    indexer.tick(SESSION)
    indexer.kill()
    assert nursery.last.killed
    assert not indexer.busy


# --- in the child ---------------------------------------------------------------------------------


def test_a_group_with_a_file_is_shared_one_without_is_not(
    indexer: BackgroundIndexer,
    nursery: Nursery,
    board: SharedStats,
    everything: Everything,
    asked: Asked,
) -> None:
    board.touch(1)
    indexer.tick(SESSION)
    assert nursery.last.work() == 0
    assert asked == [("group", [1], Path("/i/a")), ("all", [2], None)]
    assert everything.done == ["after fork", "stock of 1"]
    meter = cast(memoryview, everything.meter)
    meter[5] = 99
    assert board.row(INDEXER_ROW)[5] == 99


@pytest.mark.expects_log("cannot be written: Read-only file system")
def test_a_file_that_cannot_be_written_costs_the_others_nothing(
    indexer: BackgroundIndexer,
    nursery: Nursery,
    board: SharedStats,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: object, **more: object) -> Outcome:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(background_indexer, "index_group", refuse)
    board.touch(0)
    indexer.tick(SESSION)
    assert nursery.last.work() == 0
    assert asked == [("all", [0, 1], None)]
    assert "the index file /i/a cannot be written: Read-only file system" in caplog.text


def test_what_is_being_indexed_by_another_is_left_and_said(
    indexer: BackgroundIndexer,
    nursery: Nursery,
    board: SharedStats,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def index_group(*what: object, **more: object) -> Outcome:
        raise HeldElsewhereError(Holder("a mount", "token", None))

    monkeypatch.setattr(background_indexer, "index_group", index_group)
    board.touch(1)
    indexer.tick(SESSION)
    with caplog.at_level("INFO"):
        assert nursery.last.work() == NOT_YET
    assert "a is being indexed by another node" in caplog.text
    assert asked == [("all", [2], None)]  # the other group all the same
