"""The cache's directory: whose it may be, where it may lie, and the segments in it.

It is ours alone: 0700, owned by this user, no symbolic link. Anything else is refused, for any
user who can write to it decides what training reads. Everything in it is reached through one
descriptor.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import ImagenetfsError, NoSpaceError, PlaceRefusedError
from imagenetfs.system import files, mounts
from imagenetfs.system.mounts import Reach

_ADVICE = "Name another directory with --cache-dir; one that does not exist yet is made."

_NAME = re.compile(r"([0-9a-f]{64})\.(\d{5,})")

_GONE = " (deleted)"
"""What Linux puts behind the name of an open file that has none any more (proc(5))."""


def unfit_type(directory: Path) -> str | None:
    """The type of the file system where it makes no sense for a cache (in memory,
    over the network), or None.

    The directory need not exist.
    """
    resolved = mounts.resolve(directory)
    above = {str(resolved), *map(str, resolved.parents)}
    entries = [entry for entry in mounts.read_table() if entry.mountpoint in above]
    if not entries:
        return None
    # The longest one holds it; of several at one place the last lies on top.
    kind = max(enumerate(entries), key=lambda at: (len(at[1].mountpoint), at[0]))[1].fstype
    is_fit = mounts.reach_of(kind) is Reach.NODE and kind not in (*mounts.IN_MEMORY, "fuseblk")
    return None if is_fit else kind


def prepare(directory: Path) -> None:
    """Make the directory, or see that it is ours alone. Raises PlaceRefusedError, NoSpaceError."""
    try:
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700, parents=True)
            return
        status = directory.lstat()
    except OSError as error:
        raise NoSpaceError(
            f"The cache directory {directory} cannot be made: {error.strerror}. {_ADVICE}"
        ) from error
    _refuse_unless_ours(directory, status)


def _refuse_unless_ours(directory: Path, status: os.stat_result) -> None:
    problem = _problem(status)
    if problem is not None:
        raise PlaceRefusedError(f"The cache directory {directory} {problem}. {_ADVICE}")


def _problem(status: os.stat_result) -> str | None:
    problem = files.directory_problem(status)
    if problem is None and status.st_mode & 0o077:
        return f"may be entered by others (its mode is {status.st_mode & 0o777:o}, not 700)"
    return problem


@dataclass(frozen=True, slots=True)
class StoredSegment:
    """A segment's file, as its directory has it: ``allocated`` bytes on disk,
    ``used`` last (seconds).
    """

    name: str
    key: bytes
    number: int
    allocated: int
    used: float


class CacheDirectory:
    """The directory, open. Raises PlaceRefusedError where it is not ours alone, NoSpaceError
    where it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            with contextlib.suppress(OSError):
                _refuse_unless_ours(path, path.lstat())
            raise NoSpaceError(
                f"The cache directory {path} cannot be opened: {error.strerror}."
            ) from error
        self._closer = weakref.finalize(self, os.close, self.fd)
        try:
            _refuse_unless_ours(path, os.fstat(self.fd))
        except PlaceRefusedError:
            self.close()
            raise

    def find_again(self) -> None:
        """Where the directory was removed, go on with what stands at its path
        now, if that is ours alone.

        It is not made anew: the job that it belonged to may be over.
        """
        if os.fstat(self.fd).st_nlink:
            return
        with contextlib.suppress(ImagenetfsError):
            newer = CacheDirectory(self.path)
            os.dup2(newer.fd, self.fd, inheritable=False)
            newer.close()

    def segments(self) -> Iterator[StoredSegment]:
        """Every segment's file. Raises OSError."""
        with os.scandir(self.fd) as entries:
            names = [entry.name for entry in entries]
        for name in sorted(names):
            match = _NAME.fullmatch(name)
            if match is None:
                continue
            with contextlib.suppress(FileNotFoundError):  # another process makes room too
                status = os.stat(name, dir_fd=self.fd, follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    key, number = bytes.fromhex(match[1]), int(match[2])
                    allocated = status.st_blocks * 512
                    yield StoredSegment(name, key, number, allocated, status.st_mtime)

    def remove(self, name: str) -> None:
        """Unlink a segment; who reads in it goes on reading. Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def close(self) -> None:
        """Close the descriptor; once is enough."""
        self._closer()


def holds_removed(pid: int) -> bool:
    """Whether a process has a segment open whose file is gone, so that its space is not free yet.

    Asks nothing of any file system but /proc. False where it cannot be seen.
    """
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                name = descriptor.readlink().name
                if name.endswith(_GONE) and _NAME.fullmatch(name.removesuffix(_GONE)):
                    return True
    return False


def segment_name(key: bytes, number: int) -> str:
    """The name of the file that holds segment ``number`` of the volume with this key (32 bytes)."""
    return f"{key.hex()}.{number:05}"
