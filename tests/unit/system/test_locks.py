"""Byte-range locks of open file descriptions: who excludes whom, and when they go."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.system.locks import SharedLock, held, lock, reopen, share, try_lock, unlock
from imagenetfs.system.process import is_waiting
from tests.helpers.children import ended, in_child
from tests.helpers.forked import answer, wait_until

Open = Callable[[], int]


@pytest.fixture
def opening(tmp_path: Path) -> Iterator[Open]:
    """Opens one file anew each time."""
    path, fds = tmp_path / "file", []
    path.write_bytes(b"")

    def make() -> int:
        fds.append(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        return fds[-1]

    yield make
    for fd in fds:
        os.close(fd)


def test_bytes_that_overlap_exclude_each_other(opening: Open) -> None:
    first, second = opening(), opening()
    assert try_lock(first, 100, 10)
    assert not try_lock(second, 90, 11)
    assert not try_lock(second, 109, 1)
    assert try_lock(second, 90, 10)
    assert try_lock(second, 110, 1)


def test_one_opening_has_its_own_lock_again(opening: Open) -> None:
    fd = opening()
    assert try_lock(fd, 0, 10)
    assert try_lock(fd, 5, 10)
    assert not try_lock(opening(), 14, 1)


def test_a_part_can_be_released(opening: Open) -> None:
    first, second = opening(), opening()
    assert try_lock(first, 0, 10)
    unlock(first, 0, 5)
    assert not try_lock(second, 4, 2)
    assert try_lock(second, 0, 5)


def test_closing_another_descriptor_of_the_file_releases_nothing(
    opening: Open, tmp_path: Path
) -> None:
    """As POSIX's own locks would."""
    assert try_lock(opening(), 0, 10)
    os.close(os.open(tmp_path / "file", os.O_RDWR))
    assert not try_lock(opening(), 0, 1)


def test_the_last_descriptor_of_an_opening_releases(opening: Open, tmp_path: Path) -> None:
    first = os.open(tmp_path / "file", os.O_RDWR)
    copy, other = os.dup(first), opening()
    assert try_lock(first, 0, 1)
    os.close(first)
    assert not try_lock(other, 0, 1)
    os.close(copy)
    assert try_lock(other, 0, 1)


def test_sharers_exclude_those_who_want_it_alone(opening: Open) -> None:
    first, second, third = opening(), opening(), opening()
    share(first, 0, 10)
    share(second, 5, 10)
    assert not try_lock(third, 0, 1)
    unlock(first, 0, 10)
    assert try_lock(third, 0, 5)
    assert not try_lock(third, 5, 1)


def test_a_forked_child_shares_its_parents_lock_until_it_opens_anew(
    opening: Open, tmp_path: Path
) -> None:
    fd = opening()
    assert try_lock(fd, 0, 1)

    def child() -> list[bool]:
        return [try_lock(fd, 0, 1), try_lock(os.open(tmp_path / "file", os.O_RDWR), 0, 1)]

    assert answer(child) == [True, False]


@pytest.mark.parametrize("wait", [lock, share])
def test_a_lock_is_waited_for(opening: Open, wait: Callable[[int, int, int], None]) -> None:
    first, second, events = opening(), opening(), []
    assert try_lock(first, 0, 10)

    def take() -> None:
        wait(second, 9, 1)
        events.append("taken")

    thread = threading.Thread(target=take)
    thread.start()
    wait_until(lambda: not thread.is_alive() or is_waiting(thread.native_id or 0))
    events.append("released")
    unlock(first, 0, 10)
    thread.join()
    assert events == ["released", "taken"]
    assert not try_lock(first, 9, 1)


def test_other_errors_are_not_taken_for_a_lock_that_is_held(opening: Open) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        try_lock(opening(), -1, 1)


def test_a_lock_for_forks_and_threads() -> None:
    """Each holds it alone, whether it was forked or is a thread."""
    count = mmap.mmap(-1, 8)
    lock = SharedLock("imagenetfs-test")

    def work() -> None:
        for _ in range(200):
            with lock.held():
                count[:8] = (int.from_bytes(count[:8], "little") + 1).to_bytes(8, "little")

    children = [in_child(work) for _ in range(3)]
    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [ended(child) for child in children] == [0, 0, 0]
    assert int.from_bytes(count[:8], "little") == 6 * 200
    lock.close()
    lock.close()
    count.close()


def test_a_lock_that_is_held_for_a_block(opening: Open) -> None:
    fd, other = opening(), opening()
    with held(fd, 0, 8):
        assert not try_lock(other, 4, 1)
        assert try_lock(other, 8, 1)
    with pytest.raises(ValueError, match="in the block"), held(fd, 0, 8):
        raise ValueError("in the block")
    assert try_lock(other, 0, 8)


def test_who_waits_for_a_lock_is_told(opening: Open) -> None:
    fd, other = opening(), opening()
    lock(other, 0, 8)
    told = list[bool]()

    def on_wait(waits: bool) -> None:
        told.append(waits)
        if waits:
            unlock(other, 0, 8)

    with held(fd, 0, 8, on_wait):
        assert told == [True, False]


def test_a_forked_child_that_reopens_has_locks_of_its_own(opening: Open) -> None:
    fd = opening()

    def child() -> None:
        assert try_lock(fd, 0, 8), "the parent's opening is shared"
        reopen(fd)
        assert not try_lock(fd, 0, 8)

    lock(fd, 0, 8)
    assert ended(in_child(child)) == 0


def test_a_child_does_not_wait_for_a_thread_of_its_parent() -> None:
    lock = SharedLock("test")
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with lock._threads:
            held.set()
            over.wait()

    def take() -> bool:
        with lock.held():
            return True

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        assert answer(take) is True
    finally:
        over.set()
        thread.join()
        lock.close()
