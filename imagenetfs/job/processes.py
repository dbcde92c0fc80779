"""Other processes: waiting for one to end, and finding those that hold a mount busy."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")

_MOST_HOLDERS = 5


def wait_for_end(pid: int, seconds: float) -> bool:
    """Wait until a process is over; False if it is not after ``seconds``."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    except OSError:  # an old kernel, or a sandbox that forbids it
        return _poll_for_end(pid, seconds)
    try:
        poller = select.poll()
        poller.register(fd, select.POLLIN)
        return bool(poller.poll(max(seconds, 0.0) * 1000))
    finally:
        os.close(fd)


def _poll_for_end(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        time.sleep(0.05)
    return False


def holders(mountpoint: str) -> list[str]:
    """Up to five processes that have a file or their directory in the mount: `name (pid)`.

    Only those whose /proc entries this user may read; nothing here touches the mount itself.
    """
    found = []
    for directory in sorted(PROC.glob("[0-9]*"), key=lambda path: int(path.name)):
        if any(_is_within(target, mountpoint) for target in _targets(directory)):
            found.append(f"{_name(directory)} ({directory.name})")
            if len(found) == _MOST_HOLDERS:
                break
    return found


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
