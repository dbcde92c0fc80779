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

import errno
import fcntl
import logging
import os
import signal
import struct
from collections.abc import Callable
from types import FrameType

from imagenetfs.fuse.protocol import REPLY, REQUEST, REQUEST_BYTES, REQUEST_HEAD, reply_header
from imagenetfs.fuse.reply_pipe import ReplyPipe, SplicedReply

log = logging.getLogger(__name__)

Buffer = bytes | memoryview


Answer = Callable[[int, int, memoryview], Buffer | SplicedReply | int | None]
"""``answer(opcode, nodeid, arguments)``: the answer, an errno, or None
where no reply is expected.
"""

_FUSE_DEV_IOC_CLONE = 0x8004E500
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
        self.reply_pipe = ReplyPipe()

    def leave_when_told(self) -> None:
        """Let SIGTERM end :meth:`next`: at once where no request is in
        hand, else after its reply. One that was blocked until now comes now.
        """
        signal.signal(signal.SIGTERM, self._told)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGTERM,))

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
                self._send_pipe(answer)
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

    def _send_pipe(self, answer: SplicedReply) -> None:
        try:
            os.splice(answer.pipe, self._fd, REPLY.size + answer.length)
        except OSError:
            self.reply_pipe.drop()  # what is left in it must not come before the next answer
            raise


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
