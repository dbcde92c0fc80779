"""The systems under test: how each shows the images as files, mounted by the
same code and timed alike.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import children
from .data import Data
from .errors import BenchmarkError
from .peers import Peers
from .workspace import Workspace

OURS = "imagenetfs"
RATARMOUNT = "ratarmount"
SQUASHFUSE = "squashfuse_ll"
EXTRACTED = "extracted files"
BOUND = "a FUSE server that only splices (C)"
LIMITS = (BOUND, EXTRACTED)
"""What cannot be beaten: by a FUSE server, by a file system in user space."""

STAGED = "imagenetfs --stage"
CAT = "cat"
ZIPFILE = "Python's zipfile"

_POLL_SECONDS = 0.002
_UNMOUNT_SECONDS = 20


@dataclass(frozen=True, slots=True)
class System:
    """One system. ``command`` serves in the foreground, ``{mnt}`` in it is the mountpoint; without
    a command ``train`` is a directory. ``train``: the class directories, below the mountpoint.
    ``holds``: the file or tree with the bytes, to be brought into the page cache.
    """

    name: str
    command: tuple[str | Path, ...]
    train: Path
    holds: Path | None


@dataclass(frozen=True, slots=True)
class Mounted:
    """A live mount (or directory): its server, where the classes are, and
    seconds until it answered.
    """

    pid: int | None
    train: Path
    seconds: float


def imagenetfs(source: Path, index_dir: Path | None, holds: Path | None) -> System:
    """This checkout's imagenetfs, by the interpreter that runs the benchmarks."""
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "imagenetfs",
        "mount",
        "--foreground",
        source,
        "{mnt}",
    ]
    command += ["--index-dir", index_dir or "none"]
    return System(OURS, tuple(command), Path("ILSVRC2012/train"), holds)


def ratarmount(program: Path, tar: Path, index: Path | None, holds: Path | None) -> System:
    """ratarmount as its manual has it for tars in tars; its index in memory or in a file."""
    command = (program, "-f", "-r", "--index-file", index or ":memory:", tar, "{mnt}")
    return System(RATARMOUNT, command, Path(), holds)


def all_systems(data: Data, peers: Peers) -> list[System]:
    """Every system that can be tried, in the order in which they take turns."""
    systems = [imagenetfs(data.source, None, data.tar)]
    if peers.ratarmount:
        systems.append(ratarmount(peers.ratarmount, data.tar, None, data.tar))
    if peers.squashfuse and data.image:
        command = (peers.squashfuse, "-f", data.image, "{mnt}")
        systems.append(System(SQUASHFUSE, command, Path(), data.image))
    return [*systems, System(EXTRACTED, (), data.tree, data.tree)]


@contextlib.contextmanager
def mounted(system: System, workspace: Workspace, timeout: float = 120.0) -> Iterator[Mounted]:
    """Mount, and unmount on every way out. Raises BenchmarkError where it does not come up."""
    if not system.command:
        yield Mounted(None, system.train, 0.0)
        return
    mountpoint = workspace.path("mnt", system.name)
    mountpoint.mkdir(exist_ok=True)
    log = workspace.path("logs", system.name)
    words = [mountpoint if word == "{mnt}" else word for word in system.command]
    start = time.perf_counter()
    with (
        log.open("wb") as output,
        children.spawned(
            words, workspace.environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        ) as server,
    ):
        try:
            wait_until_mounted(server, mountpoint, timeout, log)
            _wait_until_answering(mountpoint, start + timeout)
            seconds = time.perf_counter() - start
            yield Mounted(server.pid, mountpoint / system.train, seconds)
        finally:
            with children.undisturbed():
                unmount(server, mountpoint)


def wait_until_mounted(
    server: subprocess.Popen[bytes], mountpoint: Path, timeout: float, log: Path
) -> None:
    """Until the mount table has it; BenchmarkError after ``timeout`` seconds."""
    deadline = time.perf_counter() + timeout
    while not is_mounted(mountpoint):
        if server.poll() is not None:
            raise BenchmarkError(f"it did not mount: {children.last_line(log)}")
        if time.perf_counter() > deadline:
            raise BenchmarkError("it was not mounted in time.")
        time.sleep(_POLL_SECONDS)


def _wait_until_answering(mountpoint: Path, deadline: float) -> None:
    """List the mount's root, in a process that may hang in our place."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.listdir(mountpoint)
            code = 0
        finally:
            os._exit(code)
    watcher = os.pidfd_open(pid)
    try:
        seconds = max(0.0, deadline - time.perf_counter())
        answered = bool(select.select([watcher], [], [], seconds)[0])
    except BaseException:
        os.kill(pid, 9)
        raise
    finally:
        os.close(watcher)
    if not answered:
        os.kill(pid, 9)  # reaped with this process: it may be stuck until the server is gone
        raise BenchmarkError("it is mounted and does not answer.")
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
        raise BenchmarkError("it is mounted and its root cannot be listed.")


def is_mounted(mountpoint: Path) -> bool:
    """Whether the mount table has it; asks nothing of the mount itself."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        place = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), line.split()[4])
        if place == str(mountpoint):
            return True
    return False


def unmount(server: subprocess.Popen[bytes], mountpoint: Path) -> None:
    """Take the mount out of the table, and give the server time to end by itself."""
    tool = shutil.which("fusermount3") or shutil.which("fusermount") or "fusermount3"
    for flag in ("-u", "-uz"):
        if is_mounted(mountpoint):
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(
                    [tool, flag, str(mountpoint)], capture_output=True, timeout=_UNMOUNT_SECONDS
                )
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_UNMOUNT_SECONDS)
