"""The slow source: slow.c, compiled for the run and mounted over a directory."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import children
from .runner import ANSWER_SECONDS, Run
from .systems import unmount, wait_until_mounted

_FROM = Path(__file__).with_name("slow.c")


@dataclass(frozen=True, slots=True)
class SlowSource:
    """The slow source, mounted."""

    path: Path

    def _counter(self, name: str) -> int:
        return int((self.path / name).read_text())

    @property
    def requests(self) -> int:
        """How many it has been sent so far."""
        return self._counter(".requests")

    @property
    def reads(self) -> int:
        """How many of them were reads."""
        return self._counter(".reads")

    @property
    def bytes(self) -> int:
        """How many bytes it has sent."""
        return self._counter(".bytes")

    def forget(self) -> None:
        """Have the kernel keep no page of it."""
        for tar in self.path.rglob("*.tar"):
            fd = os.open(tar, os.O_RDONLY)
            try:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(fd)


def slow_program(run: Run) -> Path:
    """slow.c, compiled."""
    program = run.workspace.path("bin", "slow")
    asked = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True
    )
    flags = shlex.split(asked.stdout)
    children.run(
        [shutil.which("gcc") or "cc", "-O2", _FROM, "-o", program, *flags],
        run.workspace.environ,
        run.workspace.path("logs", "gcc"),
        ANSWER_SECONDS,
    )
    return program


@contextlib.contextmanager
def slow_source(
    run: Run, program: Path, directory: Path, latency: float, bandwidth: float | None = None
) -> Iterator[SlowSource]:
    """Mounted over a directory: seconds a request; bytes a second for all, and no page is kept."""
    mountpoint = run.workspace.path("slow")
    mountpoint.mkdir(exist_ok=True)
    log = run.workspace.path("logs", "slow")
    pace = f"{latency * 1e6:.0f}" + (f"/{bandwidth:.0f}" if bandwidth is not None else "")
    command: list[str | Path] = [program, directory, pace, mountpoint, "-o", "ro"]
    with (
        log.open("wb") as output,
        children.spawned(command, run.workspace.environ, stdout=output, stderr=output) as server,
    ):
        try:
            wait_until_mounted(server, mountpoint, ANSWER_SECONDS, log)
            yield SlowSource(mountpoint)
        finally:
            with children.undisturbed():
                unmount(server, mountpoint)
