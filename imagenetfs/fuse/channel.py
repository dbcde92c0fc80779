"""The FUSE session, shared by processes: what pyfuse3 does not offer, and
how it is had all the same.

pyfuse3 mounts; the requests are read and answered here, the first one in
:mod:`imagenetfs.fuse.handshake`.

* :func:`clone` gives a process a descriptor of its own for the session
  (FUSE_DEV_IOC_CLONE, Linux 4.2). The request in the hands of a process that dies is then
  ended by the kernel, and only that one.
* :class:`Channel` reads requests from it, one at a time, inside the
  kernel's own read of the device.

See docs/decisions/0001 for the reasons.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import signal
import struct
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType

from imagenetfs.fuse.protocol import REPLY, REQUEST, REQUEST_BYTES, REQUEST_HEAD, reply_header
from imagenetfs.read.backend import SpliceSource

log = logging.getLogger(__name__)

Buffer = bytes | memoryview


@dataclass(slots=True)
class SplicedReply:
    """An answer of ``length`` bytes that stands in the channel's pipe,
    and is sent next or never.
    """

    length: int


Answer = Callable[[int, int, memoryview], Buffer | SplicedReply | int | None]
"""``answer(opcode, nodeid, arguments)``: the answer, an errno, or None
where no reply is expected.
"""

_FUSE_DEV_IOC_CLONE = 0x8004E500
_PIPE_BYTES = 512 * 1024
"""Twice what the kernel asks for at once (see connection.py): a pipe's pages need not be full."""

_NO_LENGTH = bytes(4)


def clone(session_fd: int) -> None:
    """Put a clone of the session in the place of the inherited descriptor.

    OSError if that fails.
    """
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _FUSE_DEV_IOC_CLONE, struct.pack("=I", session_fd))
        os.dup2(device, session_fd, inheritable=False)
    finally:
        os.close(device)


# --- requests and replies -------------------------------------------------------------------------


class StopRequested(BaseException):
    """SIGTERM came while the process waited for a request."""


class Channel:
    """Reads requests and writes replies, one at a time."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self.request = memoryview(bytearray(REQUEST_BYTES))
        """The request that is being answered, from its first byte."""
        self._into = (self.request,)
        self.unique = 0
        """Which request that is."""
        self._waiting = False
        self.leaving = False
        self._pipe: tuple[int, int] | None = None
        self._front: tuple[int, int] | None = None
        self._piped = SplicedReply(0)
        self._room = _PIPE_BYTES - 4 * os.sysconf("SC_PAGE_SIZE")  # heads, first and last page

    def leave_when_told(self) -> None:
        """Let SIGTERM end :meth:`next`: at once where no request is in
        hand, else after its reply.
        """
        signal.signal(signal.SIGTERM, self._told)

    def _told(self, number: int, frame: FrameType | None) -> None:
        self.leaving = True
        # Python takes up an interrupted read again, unless a handler raises.
        if self._waiting:
            self._waiting = False
            raise StopRequested

    def next(self) -> int:
        """Wait for a request; its length in bytes. 0 when told to leave;
        OSError ENODEV at the end.
        """
        request = self.request
        request[:4] = _NO_LENGTH
        try:
            self._waiting = True
            length = self._read() if not self.leaving else 0
            self._waiting = False
        except StopRequested:
            # The signal may have come just behind the kernel's answer: that request is not lost.
            return int(REQUEST.unpack_from(request)[0])
        return length

    def _read(self) -> int:
        while True:
            try:
                return os.readv(self._fd, self._into)
            except OSError as error:
                # ENOENT: the request was taken back before it could be read.
                if error.errno not in (errno.ENOENT, errno.EAGAIN):
                    self._waiting = False
                    raise

    def reply(self, answer: Buffer | SplicedReply | int) -> None:
        """Answer the request; a number is an errno."""
        try:
            if isinstance(answer, SplicedReply):
                self._send_pipe(answer.length)
            elif isinstance(answer, int):
                os.write(self._fd, reply_header(self.unique, 0, answer))
            else:
                os.writev(self._fd, (reply_header(self.unique, len(answer)), answer))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                return  # the caller has gone
            log.error("the kernel does not take the reply: %s", error)
            if answer != errno.EIO:
                self.reply(errno.EIO)

    # --- answers that need not be copied into this process ----------------------------------------

    def pipe_in(
        self,
        file: SpliceSource,
        offset: int,
        length: int,
        look: Callable[[bytes], None] | None = None,
        head: int = 0,
    ) -> SplicedReply | None:
        """Have an answer's bytes put into a pipe, from which the kernel takes them without another
        copy (splice). None where that does not work: answer with a buffer then.

        With ``look``, ``head`` bytes more are asked for, those before ``offset``, in the same
        request; they are taken off for it to look at; what it raises comes out.
        """
        if length > self._room or not self._has_pipes(look is not None):
            return None
        assert self._pipe is not None
        poured = False
        try:
            if look is None:
                os.write(self._pipe[1], REPLY.pack(REPLY.size + length, 0, self.unique))
                poured = file.splice_to(self._pipe[1], offset, length)
            else:
                poured = self._pour_behind(file, offset, length, look, head)
        finally:
            if not poured:
                self._drop_pipes()
        if not poured:
            return None
        piped = self._piped  # one for all answers: there is one pipe
        piped.length = length
        return piped

    def _pour_behind(
        self,
        file: SpliceSource,
        offset: int,
        length: int,
        look: Callable[[bytes], None],
        head: int,
    ) -> bool:
        """By way of another pipe, from which the head is read."""
        assert self._pipe is not None and self._front is not None
        pipe, (front, into_front) = self._pipe[1], self._front
        if not file.splice_to(into_front, offset - head, head + length):
            return False
        look(os.read(front, head))
        os.write(pipe, REPLY.pack(REPLY.size + length, 0, self.unique))
        return os.splice(front, pipe, length) == length

    def _has_pipes(self, two: bool) -> bool:
        if self._pipe is None:
            self._pipe = _make_pipe()
            if self._pipe is None:
                self._room = 0
        if two and self._front is None:
            self._front = _make_pipe()
        return self._pipe is not None and (self._front is not None or not two)

    def _send_pipe(self, length: int) -> None:
        assert self._pipe is not None
        try:
            os.splice(self._pipe[0], self._fd, REPLY.size + length)
        except OSError:
            self._drop_pipes()  # what the kernel did not take must not come before the next answer
            raise

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self._drop_pipes()

    def _drop_pipes(self) -> None:
        for end in (*(self._pipe or ()), *(self._front or ())):
            os.close(end)
        self._pipe = self._front = None


def _make_pipe() -> tuple[int, int] | None:
    """A pipe of _PIPE_BYTES; None where there is none to be had (a user's
    pipes may fill 64 MB in all).
    """
    try:
        pipe = os.pipe2(os.O_CLOEXEC)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        if fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, _PIPE_BYTES) >= _PIPE_BYTES:
            return pipe
    for end in pipe:
        os.close(end)
    return None


def serve_requests(channel: Channel, answer: Answer) -> None:
    """Answer requests until the session is over, or the process is told to leave."""
    request, unpack, head = channel.request, REQUEST_HEAD.unpack_from, REQUEST.size
    while True:
        try:
            length = channel.next()
        except OSError as error:
            if error.errno == errno.ENODEV:
                return
            raise
        if not length:
            return
        _, opcode, channel.unique, nodeid = unpack(request)
        result = answer(opcode, nodeid, request[head:length])
        if result is not None:
            channel.reply(result)
