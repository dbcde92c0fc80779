"""A process for each array that is asked for, and no more than there are cores."""

from __future__ import annotations

import os
from typing import cast

import pytest

from imagenetfs.cache.inflated_arrays import InflatedArrays
from imagenetfs.index.index import Index
from imagenetfs.server.background_inflater import BackgroundInflater
from imagenetfs.system.process import UNPACKER
from tests.helpers.fake_children import Nursery

SESSION = 77


class Arrays:
    """What is asked for, and what was done with it."""

    def __init__(self) -> None:
        self.wanted: list[object] = []
        self.done: list[tuple[str, object]] = []
        self.by_others = False

    def asked(self) -> list[object]:
        return self.wanted

    def give_up(self, job: object) -> None:
        self.done.append(("given up", job))

    def after_fork(self) -> None:
        self.done.append(("after fork", None))

    def unpack(self, job: object) -> None:
        self.done.append(("unpacked", job))


class Forking:
    def __init__(self, arrays: Arrays) -> None:
        self.arrays = arrays

    def after_fork(self) -> None:
        self.arrays.done.append(("index after fork", None))


@pytest.fixture
def nursery(monkeypatch: pytest.MonkeyPatch) -> Nursery:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    return Nursery(monkeypatch, "imagenetfs.server.background_inflater")


@pytest.fixture
def arrays() -> Arrays:
    return Arrays()


@pytest.fixture
def inflater(nursery: Nursery, arrays: Arrays) -> BackgroundInflater:
    return BackgroundInflater(cast(Index, Forking(arrays)), cast(InflatedArrays, arrays))


def test_workers_leave_it_to_others_then(inflater: BackgroundInflater, arrays: Arrays) -> None:
    assert arrays.by_others


def test_nothing_is_started_where_nothing_is_asked(
    inflater: BackgroundInflater, nursery: Nursery
) -> None:
    inflater.tick(SESSION)
    assert nursery.started == []
    assert not inflater.busy


def test_an_array_is_unpacked_by_a_process_of_its_own(
    inflater: BackgroundInflater, nursery: Nursery, arrays: Arrays
) -> None:
    arrays.wanted = ["one"]
    inflater.tick(SESSION)
    inflater.tick(SESSION)  # it is asked for until it is there
    (child,) = nursery.started
    assert (child.session_fd, child.name) == (SESSION, UNPACKER)
    assert inflater.busy
    child.work()
    assert arrays.done == [("index after fork", None), ("after fork", None), ("unpacked", "one")]


def test_no_more_at_a_time_than_cores(
    inflater: BackgroundInflater, nursery: Nursery, arrays: Arrays
) -> None:
    arrays.wanted = ["one", "two", "three", "four"]
    inflater.tick(SESSION)
    assert len(nursery.started) == 2
    arrays.wanted = ["two", "three", "four"]
    nursery.started[0].end()
    inflater.tick(SESSION)
    assert len(nursery.started) == 3
    nursery.last.work()
    assert arrays.done[-1] == ("unpacked", "three")


def test_one_that_ends_is_given_up_so_that_nobody_waits_for_it(
    inflater: BackgroundInflater, nursery: Nursery, arrays: Arrays
) -> None:
    """What it settled stays settled; what it did not is refused."""
    arrays.wanted = ["one"]
    inflater.tick(SESSION)
    arrays.wanted = []
    nursery.last.end(succeeded=False)
    inflater.tick(SESSION)
    assert arrays.done == [("given up", "one")]
    assert not inflater.busy


@pytest.mark.expects_log("unpacking could not start: Resource temporarily unavailable")
def test_one_that_cannot_be_started_is_given_up(
    inflater: BackgroundInflater,
    nursery: Nursery,
    arrays: Arrays,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nursery.refuses = True
    arrays.wanted = ["one"]
    inflater.tick(SESSION)
    assert arrays.done == [("given up", "one")]
    assert "unpacking could not start: Resource temporarily unavailable" in caplog.text
    assert not inflater.busy


def test_the_end_ends_all(inflater: BackgroundInflater, nursery: Nursery, arrays: Arrays) -> None:
    arrays.wanted = ["one", "two"]
    inflater.tick(SESSION)
    inflater.kill()
    assert [child.killed for child in nursery.started] == [True, True]
    assert not inflater.busy
