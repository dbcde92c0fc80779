"""A child of the supervisor: what it holds, how it ends, and what is said of it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from imagenetfs.server import child_process
from imagenetfs.server.child_process import NOT_YET, Child, Children
from imagenetfs.server.wakeup import Wakeup
from imagenetfs.system.process import INDEXER
from tests.helpers.children import children_of
from tests.helpers.forked import read_to_end, wait_until
from tests.helpers.leaks import descriptors, opened_since


@pytest.fixture
def session() -> Iterator[tuple[int, int]]:
    """A pipe in the session's place: its reader sees when nobody holds the other end."""
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError as error:
            assert error.errno == errno.EBADF


def wait_for(child: Child) -> None:
    wait_until(child.ended)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "succeeded", "not_yet"),
    [(None, True, False), (0, True, False), (NOT_YET, False, True)],
)
def test_what_its_work_returns_is_how_it_ends(
    session: tuple[int, int],
    code: int | None,
    succeeded: bool,
    not_yet: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    child = Child(session[1], lambda: code, "work", INDEXER)
    wait_for(child)
    assert (child.succeeded, child.not_yet, child.pid) == (succeeded, not_yet, 0)
    assert caplog.text == ""
    assert child.ended()
    child.kill()


@pytest.mark.expects_log("indexing ahead ended early", "indexing ahead failed")
def test_work_that_fails_is_told(
    session: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ZeroDivisionError

    child = Child(session[1], fail, "indexing ahead", INDEXER)
    wait_for(child)
    assert not (child.succeeded or child.not_yet)
    assert "indexing ahead ended early (status 256)" in caplog.text


def test_it_lets_go_of_the_session(session: tuple[int, int]) -> None:
    """A stray holder would keep the readers of a mount that has ended waiting."""
    ready, tell = os.pipe()

    def work() -> None:
        os.write(tell, b"!")
        signal.pause()

    child = Child(session[1], work, "work", INDEXER)
    os.close(session[1])
    assert os.read(ready, 1) == b"!"
    assert read_to_end(os.dup(session[0])) == b""
    child.kill()
    wait_for(child)
    os.close(ready)
    os.close(tell)


def test_it_may_keep_the_session(session: tuple[int, int]) -> None:
    child = Child(
        session[1], lambda: os.write(session[1], b"!") - 1, "work", INDEXER, keep_session=True
    )
    wait_for(child)
    assert child.succeeded
    assert os.read(session[0], 10) == b"!"


def test_it_has_its_name_its_signals_and_less_of_the_cpu(session: tuple[int, int]) -> None:
    reader, writer = os.pipe()

    def work() -> None:
        name = Path("/proc/self/comm").read_text().strip()
        ignores = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        ends = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        os.write(writer, f"{name} {ignores} {ends} {os.nice(0)}".encode())

    before = os.nice(0)
    child = Child(session[1], work, "work", INDEXER)
    os.close(writer)
    expected = f"{INDEXER[:15]} True True {min(before + 5, 19)}"
    assert read_to_end(reader).decode() == expected
    wait_for(child)


def test_one_that_is_killed_is_reaped(
    session: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(session[1], signal.pause, "work", INDEXER)
    pid = child.pid
    assert not child.ended()
    child.kill()
    wait_for(child)
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    child.kill()
    assert caplog.text == ""


def test_no_process_to_be_had(session: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        Child(session[1], lambda: None, "work", INDEXER)
    os.fstat(session[1])


# --- as tasks wait for them -----------------------------------------------------------------------


@pytest.fixture
def prepared() -> Iterator[tuple[int, Callable[[int], None]]]:
    """A pipe, and what writes into it for which row a child was prepared."""
    reader, writer = os.pipe()

    def after_fork(row: int) -> None:
        os.write(writer, bytes([row]))

    yield reader, after_fork
    os.close(reader)
    os.close(writer)


def run(session_fd: int, after_fork: Callable[[int], object], main: Callable[..., object]) -> None:
    """Run ``main(children)`` in trio, with children whose ends wake those that wait."""

    async def program() -> None:
        wakeup = Wakeup()
        children = Children(session_fd, wakeup, after_fork)
        with trio.open_signal_receiver(signal.SIGCHLD) as signals:
            async with trio.open_nursery() as nursery:

                async def wake() -> None:
                    async for _ in signals:
                        wakeup.wake()

                nursery.start_soon(wake)
                await main(children)  # type: ignore[misc]  # any awaitable
                nursery.cancel_scope.cancel()

    trio.run(program)


def test_a_task_waits_for_a_child_that_was_prepared(
    session: tuple[int, int], prepared: tuple[int, Callable[[int], None]]
) -> None:
    reader, after_fork = prepared

    async def main(children: Children) -> None:
        child = await children.run(lambda: NOT_YET, "work", INDEXER, row=7)
        assert (child.not_yet, child.pid) == (True, 0)

    run(session[1], after_fork, main)
    assert os.read(reader, 10) == b"\x07"


@pytest.mark.slow
def test_many_children_begin_and_end_beside_each_other(session: tuple[int, int]) -> None:
    """None of them comes back into the program that forked it, and nothing of them is left."""
    ended = list[int]()
    tasks, opened, before = threads(), descriptors(), children_of(os.getpid())

    async def main(children: Children) -> None:
        async def one(number: int) -> None:
            child = await children.run(lambda: NOT_YET if number % 2 else None, "work", INDEXER)
            assert child.not_yet is bool(number % 2)
            ended.append(number)

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(one, number)

    run(session[1], lambda row: None, main)
    assert sorted(ended) == list(range(50))
    assert (threads(), opened_since(opened)) == (tasks, {})
    assert children_of(os.getpid()) == before


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_a_task_that_is_cancelled_ends_its_child(
    session: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = os.pipe()
    before = children_of(os.getpid())

    def work() -> None:
        os.write(writer, b"!")
        signal.pause()

    async def main(children: Children) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(children.run, work, "work", INDEXER)
            await trio.lowlevel.wait_readable(reader)
            nursery.cancel_scope.cancel()

    run(session[1], lambda row: None, main)
    assert children_of(os.getpid()) == before
    assert caplog.text == ""
    os.close(reader)
    os.close(writer)


@pytest.mark.expects_log("staging is left to end when the source answers")
def test_one_that_cannot_die_is_left(
    session: tuple[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for a server in uninterruptible sleep."""
    pids, real = list[int](), os.waitpid
    monkeypatch.setattr(child_process, "DEATH_SECONDS", 0.1)

    def reap(pid: int, options: int) -> tuple[int, int]:
        pids.append(pid)
        return 0, 0

    async def main(children: Children) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(children.run, signal.pause, "staging", INDEXER)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    with monkeypatch.context() as patch:
        patch.setattr(os, "waitpid", reap)
        run(session[1], lambda row: None, main)
    assert "staging is left to end when the source answers" in caplog.text
    assert real(pids[-1], 0)[0] == pids[-1]
