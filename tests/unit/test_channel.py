"""The three lent loops, around a session loop of the test's own."""

from __future__ import annotations

import os
import types
from collections.abc import Callable
from typing import Any

import pytest

from imagenetfs.serve import channel


class Session:
    """Stands in for pyfuse3: a session loop that waits as pyfuse3's does, and reads a pipe."""

    def __init__(self) -> None:
        self.fd, self.writer = os.pipe()
        self.served: list[bytes] = []
        self.serve: Callable[[bytes], Any] | None = None
        self.module = types.SimpleNamespace(trio=None, _session_loop=self._session_loop)

    async def _session_loop(self, nursery: object, least: int, most: int) -> None:
        loop = self.module.trio
        async with loop.Lock():
            pass
        while True:
            try:
                await loop.lowlevel.wait_readable(self.fd)
            except loop.ClosedResourceError:
                break
            request = os.read(self.fd, 1)
            if not request:
                break
            self.served.append(request)
            if self.serve is not None:
                answer = self.serve(request)
                if answer is not None:
                    await answer

    def close(self) -> None:
        os.close(self.fd)
        os.close(self.writer)


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Any:
    one = Session()
    monkeypatch.setattr(channel, "pyfuse3", one.module)
    yield one
    one.close()


def test_the_handshake_takes_exactly_one_request(session: Session) -> None:
    os.write(session.writer, b"abc")
    assert channel.handshake() == session.fd
    assert session.served == [b"a"]


def test_a_handshake_that_does_not_come(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel, "_HANDSHAKE_SECONDS", 0)
    with pytest.raises(Exception):  # noqa: B017 - which one is not decided yet
        channel.handshake()


def test_requests_are_served_one_after_the_other(session: Session) -> None:
    os.write(session.writer, b"abcdef")
    channel.serve_requests(lambda: len(session.served) == 4)
    assert session.served == [b"a", b"b", b"c", b"d"]


def test_the_end_of_the_session(session: Session) -> None:
    os.write(session.writer, b"ab")
    os.dup2(os.open(os.devnull, os.O_WRONLY), session.writer)
    channel.serve_requests(lambda: False)
    assert session.served == [b"a", b"b"]


def test_a_handler_that_awaits_is_a_bug(session: Session) -> None:
    @types.coroutine
    def sleep() -> Any:
        yield

    os.write(session.writer, b"a")
    session.serve = lambda request: sleep()
    with pytest.raises(RuntimeError, match="plain functions"):
        channel.serve_requests(lambda: False)


def test_what_a_handler_raises_comes_out(session: Session) -> None:
    def fail(request: bytes) -> None:
        raise ZeroDivisionError

    os.write(session.writer, b"a")
    session.serve = fail
    with pytest.raises(ZeroDivisionError):
        channel.serve_requests(lambda: False)


def test_a_clone_of_what_is_no_session(session: Session) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError):
        channel.clone(session.fd)
    assert len(os.listdir("/proc/self/fd")) == before
    os.write(session.writer, b"x")
    assert os.read(session.fd, 1) == b"x"  # untouched
