"""How tasks are woken: all at once, and by a byte from any process."""

from __future__ import annotations

import os

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.server.wakeup import Wakeup, alarm, answer_alarms
from tests.helpers.children import ended
from tests.helpers.leaks import descriptors, opened_since


def test_all_that_wait_are_woken() -> None:
    woken = list[int]()

    async def program() -> None:
        wakeup = Wakeup()

        async def one(number: int) -> None:
            await wakeup.wait()
            woken.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(3):
                nursery.start_soon(one, number)
            await wait_all_tasks_blocked()
            assert woken == []
            wakeup.wake()

    trio.run(program)
    assert sorted(woken) == [0, 1, 2]


def test_a_wait_ends_by_itself() -> None:
    async def program() -> None:
        await Wakeup().wait(5.0)
        assert trio.current_time() - begun == 5.0

    clock = MockClock(autojump_threshold=0)
    begun = clock.current_time()
    trio.run(program, clock=clock)


def test_an_alarm_in_a_child_wakes_the_tasks_of_its_parent() -> None:
    async def program() -> None:
        with alarm() as (reader, ring):
            wakeup = Wakeup()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer_alarms, reader, wakeup)
                pid = os.fork()
                if pid == 0:
                    ring()
                    os._exit(0)
                await wakeup.wait()
                nursery.cancel_scope.cancel()
            assert ended(pid) == 0

    trio.run(program)


@pytest.mark.slow
def test_an_alarm_never_blocks_and_leaves_no_descriptor() -> None:
    opened = descriptors()
    with alarm() as (reader, ring):
        for _ in range(70_000):  # more than a pipe holds
            ring()
        assert os.read(reader, 1) == b"\0"
    assert opened_since(opened) == {}
