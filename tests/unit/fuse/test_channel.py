"""Requests and replies over a pair of sockets."""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from imagenetfs.fuse.channel import Channel, clone, serve_requests
from imagenetfs.fuse.protocol import REPLY, REQUEST
from imagenetfs.system.process import is_waiting
from tests.helpers.bench import until
from tests.helpers.leaks import descriptors, opened_since

HANG_SECONDS = 100


def test_a_clone_of_what_is_no_session() -> None:
    reader, writer = os.pipe()
    before = descriptors()
    with pytest.raises(OSError):
        clone(reader)
    assert opened_since(before) == {}
    os.write(writer, b"x")
    assert os.read(reader, 1) == b"x"  # untouched
    os.close(reader)
    os.close(writer)


# --- requests and replies -------------------------------------------------------------------------


def request(opcode: int, unique: int, nodeid: int = 1, arguments: bytes = b"") -> bytes:
    length = REQUEST.size + len(arguments)
    return REQUEST.pack(length, opcode, unique, nodeid, 0, 0, 0, 0, 0) + arguments


def is_ready(fd: int) -> bool:
    poller = select.poll()  # select() does not know descriptors beyond 1,023
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(0))


class Kernel:
    """The other end: one message is one request, or one reply, as on the device."""

    def __init__(self) -> None:
        self.socket, self.device = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(HANG_SECONDS)

    def replies(self) -> list[tuple[int, int, bytes]]:
        """(unique, errno, answer) of all replies that are there."""
        found = []
        while is_ready(self.socket.fileno()):
            message = self.socket.recv(1 << 20)
            length, error, unique = REPLY.unpack_from(message)
            assert length == len(message)
            found.append((unique, -error, message[REPLY.size :]))
        return found


class Ended(Channel):
    """The session is over when there is nothing more to read."""

    def _read(self) -> int:
        if not is_ready(self._fd):
            raise OSError(errno.ENODEV, "the end")
        return super()._read()


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    one = Kernel()
    yield one
    one.socket.close()
    one.device.close()


def test_requests_are_answered_one_after_the_other(kernel: Kernel) -> None:
    for unique in range(1, 5):
        kernel.socket.send(request(unique * 10, unique, unique * 100, b"x" * unique))
    seen = []
    answers: dict[int, memoryview | bytes | int | None] = {
        1: b"yes",
        2: errno.ENOENT,
        3: None,
        4: memoryview(b"no"),
    }

    def answer(opcode: int, nodeid: int, arguments: memoryview) -> memoryview | bytes | int | None:
        seen.append((opcode, nodeid, bytes(arguments)))
        return answers[opcode // 10]

    serve_requests(Ended(kernel.device.fileno()), answer)
    assert seen == [(k * 10, k * 100, b"x" * k) for k in range(1, 5)]
    assert kernel.replies() == [(1, 0, b"yes"), (2, errno.ENOENT, b""), (4, 0, b"no")]


def test_what_a_handler_raises_comes_out(kernel: Kernel) -> None:
    def fail(opcode: int, nodeid: int, arguments: memoryview) -> bytes:
        raise ZeroDivisionError

    kernel.socket.send(request(1, 1))
    with pytest.raises(ZeroDivisionError):
        serve_requests(Ended(kernel.device.fileno()), fail)


def test_a_reply_that_nobody_waits_for(kernel: Kernel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel says ENOENT where the request was given up meanwhile."""
    one = Channel(kernel.device.fileno())

    def refuse(fd: int, parts: object) -> int:
        raise OSError(errno.ENOENT, "no such request")

    monkeypatch.setattr(os, "writev", refuse)
    one.reply(b"answer")
    assert kernel.replies() == []


@pytest.mark.expects_log(r"the kernel does not take the reply: \[Errno")
def test_a_reply_that_the_kernel_does_not_take(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Channel(kernel.device.fileno())
    one.unique = 7

    def refuse(fd: int, parts: object) -> int:
        raise OSError(errno.EINVAL, "nonsense")

    monkeypatch.setattr(os, "writev", refuse)
    one.reply(b"answer")
    assert kernel.replies() == [(7, errno.EIO, b"")]


# --- being told to leave --------------------------------------------------------------------------

LEAVER = """
import os, sys
from imagenetfs.fuse.channel import Channel, serve_requests

def answer(opcode, nodeid, arguments):
    if opcode:  # it is in hand until the test says so
        os.write(int(sys.argv[2]), b"!")
        os.read(int(sys.argv[3]), 1)
    return b"done"

one = Channel(int(sys.argv[1]))
one.leave_when_told()
os.write(int(sys.argv[2]), b"!")
serve_requests(one, answer)
sys.exit(50 if one.leaving else 51)
"""


class Leaver:
    """A process that serves; requests but those of opcode 0 wait for :meth:`answer`."""

    def __init__(self, kernel: Kernel) -> None:
        self._told, said = os.pipe()
        waits, self._go_on = os.pipe()
        fds = (kernel.device.fileno(), said, waits)
        command = [sys.executable, "-c", LEAVER, *map(str, fds)]
        self.process = subprocess.Popen(command, pass_fds=fds, stderr=subprocess.PIPE)
        os.close(said)
        os.close(waits)
        self.await_word()

    def await_word(self) -> None:
        """That it serves, then that it has a request in hand."""
        assert os.read(self._told, 1) == b"!"

    def answer(self) -> None:
        os.write(self._go_on, b"x")

    def tell_to_leave(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> int:
        os.close(self._told)
        os.close(self._go_on)
        return self.process.wait(HANG_SECONDS)


@pytest.mark.slow
def test_sigterm_while_it_waits(kernel: Kernel) -> None:
    leaver = Leaver(kernel)
    assert until(lambda: is_waiting(leaver.process.pid))
    leaver.tell_to_leave()
    assert leaver.end() == 50


@pytest.mark.slow
def test_sigterm_with_a_request_in_hand(kernel: Kernel) -> None:
    leaver = Leaver(kernel)
    kernel.socket.send(request(300, 9))
    leaver.await_word()
    leaver.tell_to_leave()
    leaver.answer()
    assert leaver.end() == 50
    assert kernel.replies() == [(9, 0, b"done")]


@pytest.mark.slow
def test_no_request_is_lost_to_sigterm() -> None:
    """Whatever was read is answered; what was not is still there for the next worker."""
    for at in range(0, 60, 5):
        one = Kernel()
        leaver = Leaver(one)
        for unique in range(60):
            one.socket.send(request(0, unique))
            if unique == at:
                leaver.tell_to_leave()
        assert leaver.end() == 50
        answered = [unique for unique, _, _ in one.replies()]
        left = 0
        while is_ready(one.device.fileno()):
            one.device.recv(1 << 16)
            left += 1
        assert answered == list(range(60 - left))
        one.socket.close()
        one.device.close()
