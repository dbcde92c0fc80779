"""The handshake around a session loop of the test's own, with a kernel
that is a pair of sockets.
"""

from __future__ import annotations

import os
import socket
import struct
import types
from collections.abc import Iterator
from typing import Any

import pytest

from imagenetfs.errors import FuseRefusedError
from imagenetfs.fuse import handshake as module
from imagenetfs.fuse.handshake import handshake
from imagenetfs.fuse.protocol import BACKGROUND, REPLY, REQUEST, WANTED, Opcode


class Session:
    """Stands in for pyfuse3: a session loop that waits as pyfuse3's does, before it reads."""

    def __init__(self) -> None:
        self.kernel, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fd = self.device.fileno()
        self.module = types.SimpleNamespace(trio=None, _session_loop=self._session_loop)
        self.awaits: Any = None

    async def _session_loop(self, nursery: object, least: int, most: int) -> None:
        loop = self.module.trio
        async with loop.Lock():
            pass
        if self.awaits is not None:
            await self.awaits
        while True:
            try:
                await loop.lowlevel.wait_readable(self.fd)
            except loop.ClosedResourceError:
                break
            os.read(self.fd, 1)

    def send(self, opcode: int, major: int = 7, minor: int = 44, flags: int = 0xFFFFFFFF) -> None:
        body = struct.pack("=IIII", major, minor, 131072, flags) + bytes(48)
        header = REQUEST.pack(REQUEST.size + len(body), opcode, 99, 0, 0, 0, 0, 0, 0)
        self.kernel.send(header + body)

    def close(self) -> None:
        self.kernel.close()
        self.device.close()


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    one = Session()
    monkeypatch.setattr(module, "pyfuse3", one.module)
    yield one
    one.close()


@pytest.mark.parametrize("offered", [0xFFFFFFFF, 0, 1 << 13])
def test_it_takes_one_request(session: Session, offered: int) -> None:
    session.send(Opcode.INIT, flags=offered)
    session.send(Opcode.LOOKUP)
    assert handshake() == session.fd
    answer = session.kernel.recv(1 << 16)
    length, error, unique = REPLY.unpack_from(answer)
    assert (length, error, unique) == (len(answer), 0, 99)
    assert len(answer) == REPLY.size + 64  # struct fuse_init_out since 7.23
    major, minor, read_ahead, flags = struct.unpack_from("=IIII", answer, REPLY.size)
    assert (major, minor, read_ahead) == (7, 31, 131072)
    assert flags == WANTED & offered  # nothing that the kernel does not know
    assert struct.unpack_from("=HHI", answer, REPLY.size + 16) == (BACKGROUND, BACKGROUND, 4096)
    assert (
        REQUEST.unpack_from(session.device.recv(1 << 16))[1] == Opcode.LOOKUP
    )  # left to the workers


def test_an_older_kernel(session: Session) -> None:
    session.send(Opcode.INIT, minor=23)
    handshake()
    assert struct.unpack_from("=II", session.kernel.recv(1 << 16), REPLY.size) == (7, 23)


@pytest.mark.parametrize(("opcode", "major"), [(Opcode.INIT, 8), (Opcode.LOOKUP, 7)])
def test_another_protocol(session: Session, opcode: int, major: int) -> None:
    session.send(opcode, major)
    with pytest.raises(FuseRefusedError, match=f"version {major}.44"):
        handshake()


def test_nothing_comes(session: Session) -> None:
    with pytest.raises(FuseRefusedError, match="sent nothing"):
        handshake(0)


def test_a_session_loop_that_awaits_something_else(session: Session) -> None:
    @types.coroutine
    def sleep() -> Any:
        yield

    session.send(Opcode.INIT)
    session.awaits = sleep()
    with pytest.raises(RuntimeError, match="awaited"):
        handshake()
