"""Ask a file system that may never answer: in a child process, under a time-out.

A child that is stuck in the kernel cannot always be killed; it is left behind and ends when the
file system answers or is unmounted. So nothing here waits for one.
"""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable
from typing import Any

from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.process import close_inherited


class NoAnswerError(Exception):
    """The time was over before the question was answered; ``seconds``: how long that was, where
    the caller did not choose it.
    """

    seconds: float = 0.0


def reason_of(error: OSError | NoAnswerError) -> str:
    """Why ``call_in_child`` raised, as part of a sentence."""
    return "no answer" if isinstance(error, NoAnswerError) else error.strerror or str(error)


class ChildCall:
    """A question that a child is at; several can be under way at once.

    ``question``'s answer is what JSON can carry. Each must be asked for its answer, once.
    """

    def __init__(self, question: Callable[[], Any], clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._reader, writer = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            _answer(question, writer)
        os.close(writer)

    def answer(self, deadline: float) -> Any:
        """What the question returned.

        Raises OSError as the question did, and NoAnswerError at the ``deadline``, a time of the
        clock's, or when the child died.
        """
        try:
            text = _read_all(self._reader, deadline, self._clock)
        finally:
            os.close(self._reader)
            _bury(self._pid, self._clock)
        answer = json.loads(text) if text else {}
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        if "value" not in answer:
            raise NoAnswerError
        return answer["value"]


def call_in_child(question: Callable[[], Any], seconds: float, clock: Clock = SYSTEM_CLOCK) -> Any:
    """``question()``'s answer within ``seconds``; raises as :meth:`ChildCall.answer` does."""
    deadline = clock.monotonic() + seconds
    return ChildCall(question, clock).answer(deadline)


def _answer(question: Callable[[], Any], writer: int) -> None:
    """The child's whole life."""
    try:
        signal.set_wakeup_fd(-1)
        close_inherited((writer,))
        _leave_streams(writer)
        try:
            answer = {"value": question()}
        except OSError as error:
            answer = {"errno": error.errno}
        view = memoryview(json.dumps(answer).encode())
        while view:
            view = view[os.write(writer, view) :]
    finally:
        os._exit(0)


def _leave_streams(writer: int) -> None:
    """Let go of the standard streams: a child that is left behind would keep those waiting who read
    what this program says to its end.
    """
    nothing = os.open(os.devnull, os.O_RDWR)
    for fd in {0, 1, 2} - {writer}:
        os.dup2(nothing, fd)
    if nothing > 2:
        os.close(nothing)


def _read_all(reader: int, deadline: float, clock: Clock) -> bytes:
    """All until the end of the pipe; raises NoAnswerError where there is none by the deadline."""
    poller = select.poll()
    poller.register(reader, select.POLLIN)
    pieces: list[bytes] = []
    while True:
        # What has come is taken, though other answers took all the time.
        if not poller.poll(max(0.0, deadline - clock.monotonic()) * 1000):
            raise NoAnswerError
        piece = os.read(reader, 1 << 16)
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)


def _bury(pid: int, clock: Clock) -> None:
    """Reap the child if it is over, kill it if it is not, and wait for neither."""
    for pause in (0.0, 0.001, 0.01, 0.05):
        clock.sleep(pause)
        try:
            if os.waitpid(pid, os.WNOHANG)[0] == pid:
                return
            os.kill(pid, signal.SIGKILL)
        except (ChildProcessError, ProcessLookupError):
            return
