"""A process for each array that is asked for, and no more than there are cores."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.server.background_inflater import BackgroundInflater
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import UNPACKER
from tests.helpers.fake_children import FakeChildren, later, play


class Arrays:
    """What is asked for, and what was done with it."""

    def __init__(self) -> None:
        self.wanted: list[object] = []
        self.done: list[tuple[str, object]] = []

    def asked(self) -> list[object]:
        return self.wanted

    def give_up(self, job: object) -> None:
        self.done.append(("given up", job))

    def unpack(self, job: object) -> None:
        self.done.append(("unpacked", job))


class Inflating:
    """An inflater at work, its children, and what wakes it."""

    def __init__(self) -> None:
        self.arrays, self.children, self.wakeup = Arrays(), FakeChildren(), Wakeup()
        self.inflater = BackgroundInflater(cast(InflatedArrays, self.arrays))

    async def run(self) -> None:
        await self.inflater.run(self.children.as_children(), self.wakeup)

    def play(self, story: Callable[[MockClock], Awaitable[None]]) -> None:
        play(self.run, story)

    async def ask(self, *jobs: object) -> None:
        """Workers ask for these, and for nothing else any more."""
        self.arrays.wanted = list(jobs)
        self.wakeup.wake()
        await wait_all_tasks_blocked()


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Inflating:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    return Inflating()


def test_nothing_is_started_where_nothing_is_asked(one: Inflating) -> None:
    async def story(clock: MockClock) -> None:
        await one.ask()
        await later(clock, 3600)

    one.play(story)
    assert one.children.started == []


def test_an_array_is_unpacked_by_a_process_of_its_own(one: Inflating) -> None:
    async def story(clock: MockClock) -> None:
        await one.ask("one")
        await one.ask("one")  # it is asked for until it is there
        (child,) = one.children.started
        assert child.name == UNPACKER
        child.work()
        assert one.arrays.done == [("unpacked", "one")]

    one.play(story)


def test_no_more_at_a_time_than_cores(one: Inflating) -> None:
    async def story(clock: MockClock) -> None:
        arrays = ["one", "two", "three", "four"]
        await one.ask(*arrays)
        first, second = one.children.started  # of trio's tasks any may be the first
        first.work()
        arrays.remove(str(one.arrays.done[-1][1]))
        first.end()
        await one.ask(*arrays)
        third = one.children.last
        assert one.children.started == [first, second, third]
        second.work()
        third.work()
        assert len({array for _, array in one.arrays.done}) == 3

    one.play(story)


def test_one_that_ends_is_given_up_so_that_no_reader_waits_for_it(one: Inflating) -> None:
    """What it settled stays settled; what it did not is refused."""

    async def story(clock: MockClock) -> None:
        await one.ask("one")
        one.children.last.end(succeeded=False)
        await one.ask()
        assert one.arrays.done == [("given up", "one")]
        await one.ask("one")
        assert len(one.children.started) == 2, "and it may be asked for again"

    one.play(story)


@pytest.mark.expects_log("unpacking could not start: Resource temporarily unavailable")
def test_one_that_cannot_be_started_is_given_up(
    one: Inflating, caplog: pytest.LogCaptureFixture
) -> None:
    one.children.refuses = True
    one.arrays.wanted = ["one"]

    def give_up(job: object) -> None:
        one.arrays.done.append(("given up", job))
        one.arrays.wanted = []

    one.arrays.give_up = give_up  # type: ignore[method-assign]  # what is refused waits no more

    async def story(clock: MockClock) -> None:
        await wait_all_tasks_blocked()

    one.play(story)
    assert one.arrays.done == [("given up", "one")]
    assert "unpacking could not start: Resource temporarily unavailable" in caplog.text


def test_the_end_ends_all(one: Inflating) -> None:
    async def story(clock: MockClock) -> None:
        await one.ask("one", "two")

    one.play(story)
    assert [child.killed for child in one.children.started] == [True, True]
