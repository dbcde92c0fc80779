"""What a forked child answers, one that is held, and the wait until something is so."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.helpers.children import ended, in_child

DEADLINE_SECONDS = 20.0
"""It ends a hang; no test measures by it."""


def answer(work: Callable[[], Any]) -> Any:
    """What ``work()`` returns in a forked child, by way of JSON."""
    reader, writer = os.pipe()
    pid = in_child(lambda: _write_all(writer, json.dumps(work()).encode()))
    os.close(writer)
    try:
        data = read_to_end(reader)
    finally:
        code = ended(pid)
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

    pid = in_child(live)
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
