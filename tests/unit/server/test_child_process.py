"""A child of the supervisor: what it holds, how it ends, and what is said of it."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.server import child_process
from imagenetfs.server.child_process import NOT_YET, Child
from imagenetfs.system.process import INDEXER
from tests.helpers.forked import read_to_end, wait_until


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
    with pytest.raises(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    assert child.ended()
    child.kill()
    assert caplog.text == ""


@pytest.mark.expects_log("staging is left to end by itself")
def test_one_that_cannot_die_is_left(
    session: tuple[int, int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It waits for a server in uninterruptible sleep."""
    child = Child(session[1], signal.pause, "staging", INDEXER)
    pid = child.pid
    with monkeypatch.context() as patch:
        patch.setattr(child_process, "DEATH_SECONDS", -1.0)
        patch.setattr(os, "waitpid", lambda pid, options: (0, 0))
        child.kill()
    assert "staging is left to end by itself" in caplog.text
    assert child.ended()
    assert os.waitpid(pid, 0)[0] == pid


def test_no_process_to_be_had(session: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(BlockingIOError):
        Child(session[1], lambda: None, "work", INDEXER)
    os.fstat(session[1])
