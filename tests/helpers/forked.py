"""A piece of a test in a child process: what it answers, how it ended, and the wait until something is so."""

from __future__ import annotations

import contextlib
import faulthandler
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

DEADLINE_SECONDS = 20.0
"""It ends a hang; no test measures by it."""


def fork(what: Callable[[], object]) -> int:
    """Run in a forked child; its pid. The exit code is 0 where it did not raise."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    faulthandler.disable()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        what()
        code = 0
    finally:
        os._exit(code)


def exit_code(pid: int) -> int:
    """The exit code of a child, or minus the signal that ended it; it is reaped."""
    fd = os.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        if not poller.poll(DEADLINE_SECONDS * 1000):
            os.kill(pid, signal.SIGKILL)
    finally:
        os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def answer(work: Callable[[], Any]) -> Any:
    """What ``work()`` returns in a forked child, by way of JSON."""
    reader, writer = os.pipe()
    pid = fork(lambda: _write_all(writer, json.dumps(work()).encode()))
    os.close(writer)
    try:
        data = read_to_end(reader)
    finally:
        code = exit_code(pid)
    assert code == 0, f"the child ended with {code}"
    return json.loads(data)


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def read_to_end(fd: int) -> bytes:
    """All that comes out of a pipe; it is closed."""
    poller = select.poll()
    parts: list[bytes] = []
    poller.register(fd, select.POLLIN)
    with os.fdopen(fd, "rb", buffering=0) as pipe:
        while True:
            assert poller.poll(DEADLINE_SECONDS * 1000), "nobody closed the pipe"
            part = pipe.read(1 << 16)
            if not part:
                return b"".join(parts)
            parts.append(part)


@contextlib.contextmanager
def held_child(first: Callable[[], object] = lambda: None) -> Iterator[int]:
    """A child that has done ``first`` and waits to be killed; its pid."""
    ready, tell = os.pipe()

    def live() -> None:
        first()
        os.write(tell, b"!")
        while True:
            signal.pause()

    pid = fork(live)
    os.close(tell)
    try:
        assert os.read(ready, 1) == b"!", "the child failed"
        yield pid
    finally:
        os.close(ready)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Look again and again; fails where it never becomes so."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, "it never came"
        os.sched_yield()
