"""What a test run leaves behind: mounts, processes, files, shared memory, descriptors, threads.

The machine-wide part (:func:`left_on_machine`) is asked once, by the process that
controls the run. Descriptors and mappings are a test process's own: :class:`Held` notes
after which test each appeared.
"""

from __future__ import annotations

import contextlib
import gc
import os
import stat
import threading
from pathlib import Path

from tests.helpers.isolation import MARKER
from tests.helpers.mounts import mounts_below, processes_marked, what_stays

_SHARED_MEMORY = Path("/dev/shm")
_SETTLE_SECONDS = 5.0
_UNIX_SOCKETS = Path("/proc/net/unix")
_NOT_OURS = ("/dev/urandom", "/dev/random", "/dev/null", "anon_inode:[eventpoll]")
"""Opened once by the interpreter and libraries, for as long as a process lives."""


def shared_memory() -> set[str]:
    """The named shared memory of the machine, as paths."""
    try:
        return {str(path) for path in _SHARED_MEMORY.iterdir()}
    except OSError:
        return set()


def left_on_machine(base: Path, shared_before: set[str]) -> list[str]:
    """Mounts and temporary files below ``base``, marked processes, shared memory: a line each."""
    left = [f"mount: {path}" for path in mounts_below(base) if path != str(base)]
    left += [f"process: {line}" for line in processes_marked(MARKER, os.environ[MARKER])]
    for directory in sorted(base.glob("*/tmp")):
        left += [f"temporary file: {path}" for path in sorted(directory.iterdir())]
    left += [f"shared memory: {path}" for path in _shared_memory_left(shared_before)]
    return left


def _shared_memory_left(before: set[str]) -> list[str]:
    """What stays. Two runs side by side share /dev/shm: what another live process has mapped is
    not ours to judge, and what it has just made will be mapped or gone in a moment.
    """
    return what_stays(
        lambda: sorted(path for path in shared_memory() - before if _is_ours(path)), _SETTLE_SECONDS
    )


def _is_ours(path: str) -> bool:
    try:
        status = Path(path).stat()
    except OSError:
        return False
    is_own_file = stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid()
    return is_own_file and not _is_mapped_elsewhere(path)


def _is_mapped_elsewhere(path: str) -> bool:
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if path in maps.read_text(errors="replace"):
                return True
    return False


def descriptors() -> dict[int, str]:
    """The open descriptors of this process, each with what it is."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return found


def opened_since(before: dict[int, str]) -> dict[int, str]:
    """What is open now and was not in ``before``, a result of :func:`descriptors`.

    A count of descriptors would fall at any time: the collector closes what earlier tests left.
    """
    now = descriptors()
    return {fd: what for fd, what in now.items() if before.get(fd) != what}


def shared_mappings() -> dict[str, str]:
    """Anonymous shared memory that this process maps: address range to what it is."""
    found = {}
    with open("/proc/self/maps", errors="replace") as lines:
        for line in lines:
            fields = line.split(None, 5)
            if "s" in fields[1] and len(fields) == 6 and fields[5].rstrip().endswith("(deleted)"):
                found[fields[0]] = fields[5].rstrip()
    return found


class Held:
    """What this process holds beyond what it held at first, and since which test."""

    def __init__(self) -> None:
        self._first = descriptors()
        # pytest's capture keeps copies of what the standard streams were.
        self._standard = {self._first.get(descriptor) for descriptor in (0, 1, 2)}
        self._since: dict[tuple[int, str], str] = {}
        self._mappings_first = shared_mappings()
        self._mappings_since: dict[str, str] = {}
        self._threads = set(threading.enumerate())

    def note(self, test: str) -> None:
        """Look at the descriptors after a test."""
        new = set(opened_since(self._first).items())
        self._since = {key: since for key, since in self._since.items() if key in new}
        for key in new:
            self._since.setdefault(key, test)

    def note_mappings(self, test: str) -> None:
        """Look at shared mappings, after a module: with torch loaded
        there are thousands of lines.
        """
        now = {m: w for m, w in shared_mappings().items() if m not in self._mappings_first}
        self._mappings_since = {m: s for m, s in self._mappings_since.items() if m in now}
        for mapping in now:
            self._mappings_since.setdefault(mapping, test)

    def left(self) -> list[str]:
        """A line for each thing that is still held, after all fixtures have ended."""
        for _ in range(3):  # what a finalizer holds is free only after the collection that calls it
            gc.collect()
        self.note("an end")
        self.note_mappings("an end")
        lines = [
            f"descriptor {fd}: {what} (since {test})"
            for (fd, what), test in sorted(self._since.items())
            if what not in _NOT_OURS and what not in self._standard
            if f"/proc/{os.getpid()}/fd" not in what
        ]
        mappings = shared_mappings()
        lines += [
            f"shared mapping: {mappings[mapping]} (since {test})"
            for mapping, test in sorted(self._mappings_since.items())
            # A semaphore of multiprocessing (a DataLoader's) is unlinked at once.
            if not mappings[mapping].startswith("/dev/shm/sem.")
        ]
        lines += [
            f"thread: {thread.name}"
            for thread in threading.enumerate()
            if thread not in self._threads and not thread.daemon
        ]
        return lines
