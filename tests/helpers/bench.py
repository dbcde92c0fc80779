"""Helpers of the command tests: run the real command, and see that nothing is left behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry
from tests.helpers import forkserver
from tests.helpers.forkserver import COMMAND_LINE, TESTS_OWN, Identity

END_SECONDS = 60.0
CALL_SECONDS = 90.0
COMMAND = [sys.executable, "-m", "imagenetfs"]
INSTALLED = [str(Path(sys.executable).with_name("imagenetfs"))]
"""The entry point, as pip installs it."""


def until(condition: Callable[[], object], seconds: float = END_SECONDS) -> bool:
    """Poll for something that another process brings about."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def settled(count: Callable[[], int]) -> int:
    """What another process counts, once it has stayed the same for a while: what it does in the
    background, such as indexing, is done.
    """
    looks: list[int] = []

    def is_settled() -> bool:
        looks.append(count())
        return looks[-8:] == looks[-1:] * 8

    assert until(is_settled), looks[-8:]
    return looks[-1]


def is_running(pid: int) -> bool:
    """Whether a process is there and not just waiting to be reaped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@dataclass
class Bench:
    """One test's directories, and the command within them.

    The command runs in a fork of a process that has its imports behind it (see ``forkserver``);
    what must be a new interpreter says so: :meth:`call_installed`, ``Terminal``, or ``front``
    before a command line.
    """

    directory: Path
    surroundings: dict[str, str] = field(default_factory=dict)
    identity: Identity = TESTS_OWN
    before: list[str] = field(default_factory=list)
    """What to put before a new interpreter's command line for the same identity."""

    program: list[str] = field(default_factory=lambda: COMMAND)
    """The command in a new interpreter."""

    constants: dict[str, float] = field(default_factory=dict)
    """Waits of the product that are shorter for these commands, and for the servers that they
    start.
    """

    @property
    def front(self) -> list[str]:
        """The command in a new interpreter."""
        return [*self.before, *self.program]

    @property
    def run_root(self) -> Path:
        return self.directory / "run"

    @property
    def default(self) -> Path:
        """Where ``run`` mounts by itself."""
        return self.run_root / "imagenet"

    def mountpoint(self, name: str = "mnt") -> Path:
        path = self.directory / name
        path.mkdir(exist_ok=True)
        return path

    def environ(self, **more: str) -> dict[str, str]:
        return {**os.environ, "IMAGENETFS_RUN_DIR": str(self.run_root), **self.surroundings, **more}

    def start(
        self, *arguments: object, environ: Mapping[str, str] | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """The command in the background; ``environ`` adds variables, ``options`` are Popen's."""
        variables = self.environ(**(environ or {}))
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        server = forkserver.shared()
        if server.can_give(variables):
            return server.popen(
                COMMAND_LINE,
                arguments,
                environ=variables,
                identity=self.identity,
                constants=self.constants,
                **streams,
            )
        assert not self.constants, "only a fork can have other constants"
        process: subprocess.Popen[str] = subprocess.Popen(
            [*self.front, *map(str, arguments)],
            env=variables,
            text=True,
            **streams,
        )
        return process

    def call(self, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
        """The command to its end."""
        with self.start(*arguments, environ=environ) as process:
            try:
                out, err = process.communicate(timeout=CALL_SECONDS)
            except BaseException:
                process.kill()
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def call_installed(
        self, *arguments: object, **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """The same from end to end: the installed entry point, in a new interpreter."""
        return subprocess.run(
            [*self.before, *INSTALLED, *map(str, arguments)],
            env=self.environ(**environ),
            capture_output=True,
            text=True,
            timeout=CALL_SECONDS,
            check=False,
        )

    def entries(self) -> list[MountEntry]:
        """The mounts below this test's directory."""
        below = str(self.directory) + "/"
        return [entry for entry in mounts.read_table() if entry.mountpoint.startswith(below)]

    def leftovers(self) -> list[str]:
        """What should not be there when everything has ended."""
        left = [f"mount {entry.mountpoint}" for entry in self.entries()]
        for directory in (self.run_root, self.run_root / ".run"):
            with contextlib.suppress(FileNotFoundError):  # it may go at this moment
                left += [str(path) for path in directory.iterdir() if path.name != ".run"]
        return left

    def clean_up(self) -> None:
        """Whatever a failed test has left."""
        for entry in reversed(self.entries()):
            mounts.detach(entry, lazy=True)


# --- runs -----------------------------------------------------------------------------------------


def waiting(at: Bench, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """A run whose command reads the mount, says `ready`, and waits for its input to end."""
    script = "ls {mnt} > /dev/null && echo ready && cat > /dev/null; exit 7"
    process = at.start(
        "run", *arguments, "--", "sh", "-c", script, stdin=subprocess.PIPE, **options
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "ready\n", process.stderr and process.stderr.read()
    return process


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """End a waiting run; its exit code and what it said."""
    _, said = process.communicate(timeout=60)
    return process.returncode, said


def server_pid(mountpoint: Path) -> int:
    """The process that serves a mount, as its status.json says."""
    pid = json.loads((mountpoint / ".imagenetfs" / "status.json").read_text())["pid"]
    assert isinstance(pid, int)
    return pid


# --- terminals
# --------------------------------------------------------------------------------------


class Terminal:
    """The command in a terminal of its own, and what a person does there. It has a session, and so
    a process group, of its own: ``pid``.
    """

    def __init__(self, at: Bench, *arguments: object) -> None:
        environ = at.environ()
        self._got = b""
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            argv = [*at.front, *map(str, arguments)]
            try:
                os.execvpe(argv[0], argv, environ)
            finally:
                os._exit(127)

    def see(self, text: str, seconds: float = 60.0) -> None:
        """Wait until a text appears, after what was seen before."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._fd, select.POLLIN)
        while text.encode() not in self._got:
            assert poller.poll(max(0.0, deadline - time.monotonic()) * 1000), self._got
            try:
                self._got += os.read(self._fd, 1024)
            except OSError:  # nobody has the other end any more
                raise AssertionError(self._got) from None
        self._got = self._got.partition(text.encode())[2]

    def type(self, text: str) -> None:
        """Type something: ``\\x03`` is Ctrl-C."""
        os.write(self._fd, text.encode())

    def hang_up(self) -> None:
        """The window is closed; once is enough."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def end(self) -> int:
        """Wait for the command's end: its exit code, negative for a signal."""
        _, status = os.waitpid(self.pid, 0)
        return os.waitstatus_to_exitcode(status)

    def __del__(self) -> None:
        self.hang_up()
