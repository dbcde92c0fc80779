"""The kernel's first request, with a kernel that is a pair of sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

import pytest

from imagenetfs.errors import FuseRefusedError
from imagenetfs.fuse.handshake import FuseSession, handshake, new_session
from imagenetfs.fuse.protocol import BACKGROUND, NO_OPENDIR_SUPPORT, REPLY, REQUEST, WANTED, Opcode


class Kernel:
    """The kernel's end of a session: a pair of sockets."""

    def __init__(self) -> None:
        self.kernel, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.fd = self.device.fileno()

    def send(self, opcode: int, major: int = 7, minor: int = 44, flags: int = 0xFFFFFFFF) -> None:
        body = struct.pack("=IIII", major, minor, 131072, flags) + bytes(48)
        header = REQUEST.pack(REQUEST.size + len(body), opcode, 99, 0, 0, 0, 0, 0, 0)
        self.kernel.send(header + body)

    def close(self) -> None:
        self.kernel.close()
        self.device.close()


@pytest.fixture
def session() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.close()


@pytest.mark.parametrize("offered", [0xFFFFFFFF, 0, 1 << 13])
def test_it_takes_one_request(session: Kernel, offered: int) -> None:
    session.send(Opcode.INIT, flags=offered)
    session.send(Opcode.LOOKUP)
    assert handshake(session.fd).fd == session.fd
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


def test_an_older_kernel(session: Kernel) -> None:
    session.send(Opcode.INIT, minor=23)
    handshake(session.fd)
    assert struct.unpack_from("=II", session.kernel.recv(1 << 16), REPLY.size) == (7, 23)


@pytest.mark.parametrize(("opcode", "major"), [(Opcode.INIT, 8), (Opcode.LOOKUP, 7)])
def test_another_protocol(session: Kernel, opcode: int, major: int) -> None:
    session.send(opcode, major)
    with pytest.raises(FuseRefusedError, match=f"version {major}.44"):
        handshake(session.fd)


def test_nothing_comes(session: Kernel) -> None:
    with pytest.raises(FuseRefusedError, match="sent nothing"):
        handshake(session.fd, 0)


@pytest.mark.parametrize(
    ("offered", "opens", "opens_directories"),
    [
        (0xFFFFFFFF, False, False),
        (0xFFFFFFFF & ~NO_OPENDIR_SUPPORT, False, True),  # Linux 4.2 to 5.0
        (0, True, True),
    ],
)
def test_what_a_kernel_wants_to_be_answered(
    session: Kernel, offered: int, opens: bool, opens_directories: bool
) -> None:
    session.send(Opcode.INIT, flags=offered)
    assert handshake(session.fd) == FuseSession(session.fd, opens, opens_directories)


@pytest.mark.skipif(not os.access("/dev/fuse", os.R_OK | os.W_OK), reason="/dev/fuse is closed")
def test_the_session_that_was_opened() -> None:
    kept = os.open("/dev/fuse", os.O_RDWR)
    try:
        with new_session() as opened:
            fd = os.open("/dev/fuse", os.O_RDWR)
            other = os.open("/dev/null", os.O_RDWR)
        assert opened == [fd]
        os.close(fd)
        os.close(other)
        with pytest.raises(RuntimeError, match="opened 0 FUSE sessions"), new_session():
            pass
    finally:
        os.close(kept)
