"""A worker's life, in a child of the test: what it sets, what it serves, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from typing import cast

import pytest

from imagenetfs.counters import Counter
from imagenetfs.fuse.channel import Channel
from imagenetfs.fuse.operations import Operations
from imagenetfs.fuse.protocol import REPLY, REQUEST
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.server import worker
from imagenetfs.server.mount_context import MountContext
from imagenetfs.server.worker import RETIRED, SESSION_OVER, work
from tests.helpers.children import ended
from tests.helpers.forked import DEADLINE_SECONDS, read_to_end

NUMBER = 3


class Told:
    """Stands for all that a worker tells of the fork: it writes that into a pipe, line by line."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.stats = SharedStats()

    def _say(self, what: str) -> None:
        os.write(self.writer, what.encode() + b"\n")

    def after_fork(self, row: int) -> None:
        self._say(f"after fork as {row}")

    def tell_what_is_read(self) -> None:
        self._say("tells what is read")

    def close(self) -> None:
        self._say("closed")

    def serve_as(self, number: int, channel: Channel) -> None:
        self._say(f"serves as {number}")

    def answer(self, opcode: int, inode: int, arguments: memoryview) -> bytes | int | None:
        if opcode == 99:
            raise ZeroDivisionError
        return b"answer to %d" % inode


class Mount:
    """A worker that serves a pair of sockets in the device's place."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told = Told()
        self.board = self.told.stats
        self.kernel, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.kernel.settimeout(DEADLINE_SECONDS)
        monkeypatch.setattr(worker, "clone", lambda fd: self.told._say("cloned"))

    def start(self, parent: int | None = None) -> int:
        expected = os.getpid() if parent is None else parent
        pid = os.fork()
        if pid == 0:
            self.kernel.close()
            work(
                NUMBER,
                expected,
                self.device.fileno(),
                cast(Operations, self.told),
                cast(MountContext, self.told),
            )
        self.device.close()
        os.close(self.told.writer)
        return pid

    def ask(self, opcode: int, inode: int = 1, unique: int = 5) -> None:
        self.kernel.send(REQUEST.pack(REQUEST.size, opcode, unique, inode, 0, 0, 0, 0, 0))

    has_said = False

    def said(self) -> list[str]:
        self.has_said = True
        return read_to_end(self.told.reader).decode().splitlines()


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mount]:
    one = Mount(monkeypatch)
    yield one
    one.kernel.close()
    if not one.has_said:
        one.said()


def end_session(mount: Mount) -> None:
    mount.kernel.shutdown(socket.SHUT_WR)


def test_it_serves_until_the_session_is_over(mount: Mount) -> None:
    pid = mount.start()
    for inode in (7, 8):
        mount.ask(1, inode, unique=inode)
        answer = b"answer to %d" % inode
        assert mount.kernel.recv(4096) == REPLY.pack(16 + len(answer), 0, inode) + answer
    assert mount.board.row(NUMBER)[Counter.PID] == pid
    end_session(mount)
    assert ended(pid) == SESSION_OVER
    assert mount.said() == [
        *(f"after fork as {NUMBER}", "tells what is read", "cloned"),
        *(f"serves as {NUMBER}", "closed"),
    ]


def test_its_row_begins_clean(mount: Mount) -> None:
    """Another worker of this number may have died in the source; what it counted stays."""
    row = mount.board.row(NUMBER)
    since = (Counter.SOURCE_SINCE, Counter.BUSY_SINCE, Counter.READ_SINCE)
    for cell in since:
        row[cell] = 1
    row[Counter.BYTES] = 1000
    pid = mount.start()
    end_session(mount)
    assert ended(pid) == SESSION_OVER
    assert [row[cell] for cell in since] == [0, 0, 0]
    assert row[Counter.BYTES] == 1000


def test_asked_to_leave_it_closes_its_cache_first(mount: Mount) -> None:
    pid = mount.start()
    mount.ask(1)
    assert mount.kernel.recv(4096)  # it serves
    os.kill(pid, signal.SIGTERM)
    assert ended(pid) == RETIRED
    assert mount.said()[-1] == "closed"


def test_asked_to_leave_before_it_serves_it_leaves_as_one_that_serves(
    mount: Mount, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor forks it with SIGTERM blocked: it would die of that before it has a handler,
    and be taken for one that crashed.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM,))
    try:
        monkeypatch.setattr(
            mount.told, "after_fork", lambda row: os.kill(os.getpid(), signal.SIGTERM)
        )
        pid = mount.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert ended(pid) == RETIRED
    assert mount.said()[-1] == "closed"


@pytest.mark.parametrize("how", ["a handler raises", "the session cannot be cloned"])
def test_a_failure_is_its_exit_code_and_in_the_log(
    mount: Mount, how: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(fd: int) -> None:
        raise OSError(1, "Operation not permitted")

    def logged(text: str, *what: object) -> None:
        os.write(2, f"{text % what}\n".encode())

    monkeypatch.setattr(worker.log, "exception", logged)
    if how == "the session cannot be cloned":
        monkeypatch.setattr(worker, "clone", refuse)
    pid = mount.start()
    mount.ask(99)
    assert ended(pid) == 1
    assert f"worker {pid} failed" in capfd.readouterr().err


def test_one_whose_supervisor_is_gone_serves_nothing(mount: Mount) -> None:
    assert ended(mount.start(parent=1 << 22)) == 1
    assert mount.said() == []
