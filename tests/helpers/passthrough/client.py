"""A slow source for a test: started in a process of its own, switched at run
time, always taken away.
"""

from __future__ import annotations

import contextlib
import json
import select
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.helpers import forkserver
from tests.helpers.mounts import detach, mounts_below

_READY_SECONDS = 30.0
_END_SECONDS = 10.0


class SlowSource:
    """A running pass-through. ``path`` is where it shows the directory."""

    def __init__(self, path: Path, control: Path) -> None:
        self.path = path
        self._control = control

    def command(self, do: str, **arguments: Any) -> dict[str, Any]:
        """Send a command and return its answer. Usable from any process that knows the object."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_READY_SECONDS)
            connection.connect(str(self._control))
            connection.sendall(json.dumps({"do": do, **arguments}).encode() + b"\n")
            with connection.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        if "error" in answer:
            raise ValueError(answer["error"])
        return answer

    def set(self, **settings: Any) -> None:
        """Change the behaviour: latency, bandwidth, groups, squash_root, seed."""
        self.command("set", **settings)

    def fault(self, kind: str, operations: Sequence[str] | str = "read", **arguments: Any) -> None:
        """Let something go wrong from now on; see
        :class:`tests.helpers.passthrough.behaviour.Fault`.
        """
        several = [operations] if isinstance(operations, str) else list(operations)
        self.command("fault", kind=kind, operations=several, **arguments)

    def clear(self) -> None:
        """No more faults; what hangs is let go."""
        self.command("clear")
        self.release()

    def release(self) -> None:
        """Let go of all requests that hang."""
        self.command("release")

    def counters(self) -> dict[str, int]:
        """Requests by kind, ``bytes`` that were read, and ``fault.<kind>``; what
        never happened counts 0.
        """
        counters: dict[str, int] = self.command("show")["counters"]
        return _Counts(counters)

    def hanging(self) -> int:
        """Requests that hang now."""
        number: int = self.command("show")["hanging"]
        return number

    def reset(self) -> None:
        """Count from zero again."""
        self.command("reset")


class _Counts(dict[str, int]):
    def __missing__(self, key: str) -> int:
        return 0


@contextlib.contextmanager
def slow_source(
    directory: Path | str, *, below: Path | None = None, **behaviour: Any
) -> Iterator[SlowSource]:
    """``directory`` shown as a slow source: latency in seconds, bandwidth in bytes a
    second, and the other fields of :class:`.behaviour.Behaviour`. Raises RuntimeError
    where it cannot be mounted.

    ``below``: a directory to mount in, where the temporary one is closed to
    the users who shall read.
    """
    base = Path(tempfile.mkdtemp(prefix="slow-", dir=below))
    base.chmod(0o755)
    mountpoint, control = base / "mnt", base / "control"
    mountpoint.mkdir()
    words: list[object] = [directory, mountpoint, "--control", control, "--with-parent"]
    process = forkserver.shared().popen(
        "tests.helpers.passthrough.__main__:main",
        [*words, "--behaviour", json.dumps(behaviour)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        poller = select.poll()  # select() takes no descriptor above 1,023
        poller.register(process.stdout, select.POLLIN)
        ready = poller.poll(1000 * _READY_SECONDS)
        if not ready or process.stdout.readline() != "READY\n":
            raise RuntimeError(f"the pass-through of {directory} could not be mounted")
        yield SlowSource(mountpoint, control)
    finally:
        _end(process, mountpoint)
        shutil.rmtree(base, ignore_errors=True)


def _end(process: subprocess.Popen[str], mountpoint: Path) -> None:
    process.terminate()  # it unmounts lazily: whoever still holds a file open gets an error
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if mounts_below(mountpoint):
        detach(mountpoint)
