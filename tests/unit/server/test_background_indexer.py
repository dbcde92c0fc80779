"""Indexing ahead: which splits, one after the other, and when one is tried again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.fuse.progress import ProgressRow
from imagenetfs.fuse.stats import INDEXER as INDEXER_ROW
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.index.bulk_build import BuildProgress, Outcome
from imagenetfs.index.leases import HeldElsewhereError, Holder
from imagenetfs.server import background_indexer
from imagenetfs.server.background_indexer import BackgroundIndexer
from imagenetfs.server.child_process import NOT_YET
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import INDEXER
from tests.helpers.fake_children import FakeChildren, later, play

SPLITS = ([0, 1], [1, 2], [3])
"""The archives of each split; two share one."""

DONE = Outcome(1, 2, (), ())


class Everything:
    """The context of a mount: its catalogue, its tree, and where its index files are."""

    def __init__(self) -> None:
        self.split_directories = list(range(len(SPLITS)))
        self.catalogue = self.tree = self.index_path = self.index = self
        self.stats = SharedStats()
        self.places: dict[str, Path | None] = {"a": Path("/i/a"), "b": None}
        self.done: list[str] = []

    def take_stock(self, split: int) -> None:
        self.done.append(f"stock of {split}")

    def groups(self, archives: Sequence[int]) -> dict[str, list[int]]:
        found = {"a": [n for n in archives if n < 2], "b": [n for n in archives if n >= 2]}
        return {group: numbers for group, numbers in found.items() if numbers}

    def file(self, group: str) -> Path | None:
        return self.places[group]


class Indexing:
    """An indexer at work, its children, and what wakes it."""

    def __init__(self) -> None:
        self.everything, self.children, self.wakeup = Everything(), FakeChildren(), Wakeup()
        self.indexer = BackgroundIndexer(cast(MountContext, self.everything), 7)

    async def run(self) -> None:
        await self.indexer.run(self.children.as_children(), self.wakeup)

    def play(self, story: Callable[[MockClock], Awaitable[None]]) -> None:
        play(self.run, story)

    async def touch(self, *splits: int) -> None:
        for split in splits:
            self.everything.stats.touch(split)
        await self.settled()

    async def settled(self) -> None:
        """What is woken by a child's end or by a touch has done what it can."""
        self.wakeup.wake()
        await wait_all_tasks_blocked()

    def works(self) -> int | None:
        """What the last child returns."""
        return self.children.last.work()


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Indexing:
    def archives_of(splits: Sequence[int]) -> list[int]:
        return [archive for split in splits for archive in SPLITS[split]]

    monkeypatch.setattr(background_indexer, "archives_of", archives_of)
    return Indexing()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object, object]]:
    """What is indexed: how, which archives, into which file; and with what outcome."""
    found: list[tuple[str, object, object]] = []

    def index_group(index: object, archives: object, file: object, **more: object) -> Outcome:
        assert more.pop("progress")
        assert more == {"in_flight": 7, "processes": 1}
        found.append(("group", archives, file))
        return DONE

    def build_all(index: object, archives: object, **more: object) -> Outcome:
        assert more.pop("progress")
        assert more == {"in_flight": 7, "processes": 1}
        found.append(("all", archives, None))
        return DONE

    monkeypatch.setattr(background_indexer, "index_group", index_group)
    monkeypatch.setattr(background_indexer, "build_all", build_all)
    return found


Asked = list[tuple[str, object, object]]


def indexed(one: Indexing, asked: Asked) -> list[int]:
    """The archives that the last child indexes."""
    before = len(asked)
    one.works()
    return sorted(n for _, archives, _ in asked[before:] for n in cast(list[int], archives))


def test_nothing_is_indexed_before_it_is_touched(one: Indexing) -> None:
    async def story(clock: MockClock) -> None:
        await later(clock, 3600)
        assert one.children.started == []

    one.play(story)


def test_a_split_that_is_touched_is_indexed_once(one: Indexing, asked: Asked) -> None:
    async def story(clock: MockClock) -> None:
        await one.touch(0)
        await one.settled()
        (child,) = one.children.started
        assert (child.name, child.row, child.keeps_session) == (INDEXER, INDEXER_ROW, False)
        assert indexed(one, asked) == [0, 1]
        child.end()
        await one.settled()
        await later(clock, 3600)
        assert len(one.children.started) == 1

    one.play(story)


def test_one_after_the_other_and_no_archive_twice(one: Indexing, asked: Asked) -> None:
    found: list[list[int]] = []

    async def story(clock: MockClock) -> None:
        await one.touch(0, 1, 2)
        for _ in range(4):
            assert len(one.children.running) == (len(found) < 3)
            if one.children.running:
                found.append(indexed(one, asked))
                one.children.last.end()
            await one.settled()

    one.play(story)
    assert found == [[0, 1], [2], [3]]


def test_what_failed_is_not_tried_again(one: Indexing) -> None:
    """Its tables are made when they are asked for; the log has the reason."""

    async def story(clock: MockClock) -> None:
        await one.touch(2)
        one.children.last.end(succeeded=False)
        await later(clock, 3600)
        await one.settled()
        assert len(one.children.started) == 1

    one.play(story)


def test_what_another_node_indexes_is_tried_again_after_a_while(
    one: Indexing, asked: Asked
) -> None:
    async def story(clock: MockClock) -> None:
        await one.touch(0, 2)
        one.children.last.end(succeeded=False, not_yet=True)
        await one.settled()
        assert indexed(one, asked) == [3]  # another split has not to wait
        one.children.last.end()
        await later(clock, 4.9)
        assert len(one.children.started) == 2
        await later(clock, 0.2)
        assert len(one.children.started) == 3
        assert indexed(one, asked) == [0, 1]

    one.play(story)


@pytest.mark.expects_log("indexing ahead could not start: Resource temporarily unavailable")
def test_a_process_that_is_not_to_be_had_is_tried_for_again(
    one: Indexing, caplog: pytest.LogCaptureFixture
) -> None:
    one.children.refuses = True

    async def story(clock: MockClock) -> None:
        await one.touch(0)
        for _ in range(3):
            await one.settled()
        assert caplog.text.count("indexing ahead could not start") == 1
        one.children.refuses = False
        await one.settled()
        assert one.children.started == []
        await later(clock, 5.1)
        assert len(one.children.started) == 1

    one.play(story)


def test_the_end_ends_it(one: Indexing) -> None:
    async def story(clock: MockClock) -> None:
        await one.touch(0)

    one.play(story)
    assert one.children.last.killed


# --- in the child ---------------------------------------------------------------------------------


def touched(one: Indexing, split: int) -> None:
    """Its child is started, and may work afterwards."""

    async def story(clock: MockClock) -> None:
        await one.touch(split)

    one.play(story)


def test_a_group_with_a_file_is_shared_one_without_is_not(one: Indexing, asked: Asked) -> None:
    touched(one, 1)
    assert one.works() == 0
    assert asked == [("group", [1], Path("/i/a")), ("all", [2], None)]
    assert one.everything.done == ["stock of 1"]


@pytest.mark.expects_log("cannot be written: Read-only file system")
def test_a_file_that_cannot_be_written_costs_the_others_nothing(
    one: Indexing,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def refuse(*arguments: object, **more: object) -> Outcome:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(background_indexer, "index_group", refuse)
    touched(one, 0)
    assert one.works() == 0
    assert asked == [("all", [0, 1], None)]
    assert "the index file /i/a cannot be written: Read-only file system" in caplog.text


def test_what_is_being_indexed_by_another_is_left_and_said(
    one: Indexing,
    asked: Asked,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def index_group(*what: object, **more: object) -> Outcome:
        raise HeldElsewhereError(Holder("a mount", "token", None))

    monkeypatch.setattr(background_indexer, "index_group", index_group)
    touched(one, 1)
    with caplog.at_level("INFO"):
        assert one.works() == NOT_YET
    assert "a is being indexed by another node" in caplog.text
    assert asked == [("all", [2], None)]  # the other group all the same


def test_how_far_it_is_can_be_read_while_it_works(
    one: Indexing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of that, what was there at the beginning is not counted as done now."""
    row = ProgressRow(one.everything.stats.row(INDEXER_ROW))
    seen: list[object] = []

    def build_all(
        *what: object, progress: Callable[[BuildProgress], None], **more: object
    ) -> Outcome:
        for done in (20, 25):
            progress(BuildProgress(done, 100, 7))
            found = row.read("indexing", "v/s", "archives")
            assert found is not None
            seen.append((row.of, found.done, found.total, found.brought))
        return DONE

    monkeypatch.setattr(background_indexer, "build_all", build_all)

    async def story(clock: MockClock) -> None:
        await one.touch(2)
        one.works()
        one.children.last.end()
        await one.settled()
        assert row.of is None

    one.play(story)
    assert seen == [(2, 20, 100, 0), (2, 25, 100, 5)]
