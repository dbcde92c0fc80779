"""When the source is asked whether it still lets us read, and the kernel told: by a clock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.server.access_monitor import AccessMonitor
from imagenetfs.source.source import Source
from imagenetfs.system.process import ASKER, TELLER
from imagenetfs.tree.source_paths import SourcePaths
from tests.helpers.fake_children import FakeChildren, later, play

REVALIDATE = 60.0
SESSION = 77


class Shown:
    """Paths of the source that the mount shows: none."""

    def shown(self) -> Iterator[bytes]:
        return iter(())

    def names(self, paths: list[bytes]) -> Iterator[tuple[int, bytes]]:
        return iter(())


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    one = Source(tmp_path)
    yield one
    one.close()


class Monitoring:
    """A monitor at work, and its children, which end when a test says so."""

    def __init__(self, source: Source) -> None:
        self.children = FakeChildren()
        self._monitor = AccessMonitor(source, cast(SourcePaths, Shown()), REVALIDATE)

    def play(self, story: Callable[[MockClock], Awaitable[None]]) -> None:
        play(lambda: self._monitor.run(self.children.as_children(), SESSION), story)

    @property
    def names(self) -> list[str]:
        return [child.name for child in self.children.started]

    async def end(self) -> None:
        """The last child ends."""
        self.children.last.end()
        await wait_all_tasks_blocked()


def test_the_source_is_asked_twice_in_the_time(source: Source) -> None:
    one, at = Monitoring(source), list[float]()

    async def story(clock: MockClock) -> None:
        begun = trio.current_time()
        for _ in range(200):
            before = len(one.children.started)
            await later(clock, 1.0)
            if len(one.children.started) > before:
                at.append(trio.current_time() - begun)
                await one.end()

    one.play(story)
    assert at == [30.0, 60.0, 90.0, 120.0, 150.0, 180.0]
    assert set(one.names) == {ASKER}


def test_one_that_is_kept_waiting_is_not_joined_by_others(source: Source) -> None:
    one = Monitoring(source)

    async def story(clock: MockClock) -> None:
        await later(clock, 200.0)
        await later(clock, 200.0)
        assert len(one.children.started) == 1
        await one.end()
        assert len(one.children.started) == 2

    one.play(story)


def test_the_kernel_is_told_each_time_while_anything_is_refused(source: Source) -> None:
    one = Monitoring(source)
    source.known.refuse(b"a.tar")

    async def story(clock: MockClock) -> None:
        for _ in range(2):
            await later(clock, REVALIDATE / 2)
            await one.end()
            assert one.children.last.keeps_session
            await one.end()
        assert one.names == [ASKER, TELLER, ASKER, TELLER]
        source.known.permit(b"a.tar")
        await later(clock, REVALIDATE / 2)
        await one.end()
        await later(clock, REVALIDATE / 4)
        assert one.names[4:] == [ASKER]

    one.play(story)


def test_a_kernel_that_is_slow_to_forget_holds_up_no_question(source: Source) -> None:
    """What is found in between is told when it has forgotten the names of before."""
    one = Monitoring(source)
    source.known.refuse(b"a.tar")

    async def story(clock: MockClock) -> None:
        await later(clock, REVALIDATE / 2)
        await one.end()
        teller = one.children.last
        for _ in range(2):
            await later(clock, REVALIDATE / 2)
            await one.end()
        assert one.names == [ASKER, TELLER, ASKER, ASKER]
        teller.end()
        await wait_all_tasks_blocked()
        assert one.names[4:] == [TELLER]
        await one.end()
        assert len(one.names) == 5

    one.play(story)


@pytest.mark.expects_log("asking for permission could not start: Resource temporarily")
def test_a_process_that_is_not_to_be_had_is_tried_for_again(source: Source) -> None:
    one = Monitoring(source)
    one.children.refuses = True

    async def story(clock: MockClock) -> None:
        await later(clock, REVALIDATE / 2)
        one.children.refuses = False
        assert one.children.started == []
        await later(clock, REVALIDATE / 2)
        assert one.names == [ASKER]

    one.play(story)
    assert one.children.last.killed
