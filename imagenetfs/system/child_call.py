"""Ask a file system that may never answer: in a child process, under a time-out.

A child that is stuck in the kernel cannot always be killed; it is left behind and ends when the
file system answers or is unmounted. So nothing here waits for one.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
from collections.abc import Callable
from typing import Any

from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.process import close_inherited


class NoAnswerError(Exception):
    """The time was over before the question was answered; ``seconds``: how long that was, where
    the caller did not choose it. ``is_asked``: False where root had waited for others too long.
    """

    seconds: float = 0.0
    is_asked: bool = True


def reason_of(error: OSError | NoAnswerError) -> str:
    """Why ``call_in_child`` raised, as part of a sentence."""
    if isinstance(error, NoAnswerError):
        return "no answer" if error.is_asked else "not asked, for root has waited long enough"
    return error.strerror or str(error)


class ChildCall:
    """A question that a child is at; several can be under way at once.

    ``question``'s answer is what JSON can carry. Each must be asked for its answer, once.
    """

    def __init__(self, question: Callable[[], Any], clock: Clock = SYSTEM_CLOCK) -> None:
        self._clock = clock
        self._reader, writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            _answer(question, writer)
        os.close(writer)

    def answer(
        self,
        deadline: float,
        give_up: Callable[[], bool] = lambda: False,
        look_seconds: float = math.inf,
    ) -> Any:
        """What the question returned.

        Raises OSError as the question did, and NoAnswerError at the ``deadline``, a time of the
        clock's, when the child died, or when ``give_up``, asked every ``look_seconds``, says so.
        """
        try:
            text = self._read_all(deadline, give_up, look_seconds)
        finally:
            os.close(self._reader)
            _bury(self.pid, self._clock)
        answer = json.loads(text) if text else {}
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        if "value" not in answer:
            raise NoAnswerError
        return answer["value"]

    def _read_all(self, deadline: float, give_up: Callable[[], bool], look: float) -> bytes:
        """All until the end of the pipe; raises NoAnswerError where there is none in time."""
        poller = select.poll()
        poller.register(self._reader, select.POLLIN)
        pieces: list[bytes] = []
        while True:
            left = max(0.0, deadline - self._clock.monotonic())
            # What has come is taken, though other answers took all the time.
            if poller.poll(min(left, look) * 1000):
                piece = os.read(self._reader, 1 << 16)
                if not piece:
                    return b"".join(pieces)
                pieces.append(piece)
            elif left <= look or give_up():
                raise NoAnswerError


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
