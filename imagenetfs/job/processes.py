"""Other processes: waiting for one to end, and finding those that hold a mount busy."""

from __future__ import annotations

import contextlib
import os
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.system import mounts
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

PROC = Path("/proc")

_MOST_HOLDERS = 5


def is_alive(pid: int) -> bool:
    """Whether a process is there, and not just waiting to be reaped."""
    try:
        state = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


def wait_for_end(pid: int, seconds: float, clock: Clock = SYSTEM_CLOCK) -> bool:
    """Wait until a process is over; False if it is not after ``seconds``."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # an old kernel, or a sandbox that forbids it
        return _poll_for_end(pid, seconds, clock)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(max(seconds, 0.0) * 1000))
    finally:
        os.close(fd)


def _poll_for_end(pid: int, seconds: float, clock: Clock) -> bool:
    deadline = clock.monotonic() + seconds
    while clock.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        clock.sleep(0.05)
    return False


def holders(mountpoint: str) -> list[str]:
    """Up to five processes that have a file or their directory in the mount: `name (pid)`.

    Only those whose /proc entries this user may read; nothing here touches the mount itself. Not
    this process, which can have but files of the one that has started it, and that is named.
    """
    found, own = [], str(os.getpid())
    for directory in _processes():
        if directory.name != own and any(
            _is_within(target, mountpoint) for target in _targets(directory)
        ):
            found.append(f"{_name(directory)} ({directory.name})")
            if len(found) == _MOST_HOLDERS:
                break
    return found


@dataclass(frozen=True, slots=True)
class Viewer:
    """A process that sees a mount in a mount namespace of its own, and where."""

    pid: int
    name: str
    mountpoint: str

    def __str__(self) -> str:
        return f"{self.name} ({self.pid})"


def elsewhere(device: str) -> list[Viewer]:
    """Up to five processes that see a mount in a mount namespace other than this process's.

    ``device`` as mountinfo has it (`0:62`). Only processes whose /proc entries this user may read.
    """
    found = []
    mountpoints: dict[str, str | None] = {}
    with contextlib.suppress(OSError):
        mountpoints[_namespace(PROC / "self")] = None
    for directory in _processes():
        try:
            namespace = _namespace(directory)
            if namespace not in mountpoints:
                mountpoints[namespace] = _mountpoint(directory / "mountinfo", device)
        except (OSError, ValueError):
            continue
        mountpoint = mountpoints[namespace]
        if mountpoint is not None:
            found.append(Viewer(int(directory.name), _name(directory), mountpoint))
            if len(found) == _MOST_HOLDERS:
                break
    return found


def _mountpoint(table: Path, device: str) -> str | None:
    entries = map(mounts.parse_line, filter(None, os.fsdecode(table.read_bytes()).split("\n")))
    return next((entry.mountpoint for entry in entries if entry.device == device), None)


def _processes() -> list[Path]:
    return sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name))


def _namespace(directory: Path) -> str:
    return str((directory / "ns" / "mnt").readlink())


def _is_within(target: str, mountpoint: str) -> bool:
    return target == mountpoint or target.startswith(mountpoint + "/")


def _targets(directory: Path) -> Iterator[str]:
    """What a process has open: working directory, root, program, descriptors, mappings."""
    for link in ("cwd", "root", "exe"):
        yield from _target(directory / link)
    for group in ("fd", "map_files"):
        try:
            links = list((directory / group).iterdir())
        except OSError:
            continue
        for path in links:
            yield from _target(path)


def _target(link: Path) -> Iterator[str]:
    try:
        yield str(link.readlink())
    except OSError:
        return


def _name(directory: Path) -> str:
    try:
        return (directory / "comm").read_text().strip()
    except OSError:
        return "?"
