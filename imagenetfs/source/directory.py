"""The root of the source: what is asked of it by path, through one descriptor that
is opened before mounting.

Everything that asks is metered, and tried again where that may help. Paths as in
:mod:`imagenetfs.source.source`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.counters import REQUESTS, SINCE, SOURCE_WORDS, count_time
from imagenetfs.errors import SourceMissingError, SourceUnreadableError
from imagenetfs.source.file import IoStats
from imagenetfs.source.retry import Answer, retry_transient, to_source_error
from imagenetfs.system import mounts
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock

_ROOT_GONE = frozenset({errno.ENOTCONN, errno.ESTALE, errno.ENODEV})
"""What the root of a mount answers after its server, or the mount itself, has gone."""

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name in a directory of the source; ``mode`` carries the file type (a link's own),
    ``uid`` and ``gid`` are owner and group.
    """

    name: bytes
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int
    uid: int
    gid: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


def _is_empty(fd: int) -> bool:
    """Whether a directory has no entry."""
    with os.scandir(fd) as entries:
        return next(entries, None) is None


class SourceDirectory:
    """The source directory by its descriptor: listings and stat."""

    def __init__(
        self, path: Path, meter: IoStats | None = None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        """Raises SourceMissingError, SourceUnreadableError."""
        self.path = path
        self.clock = clock
        self._absolute = mounts.resolve(path)
        self.meter: IoStats = [0] * SOURCE_WORDS if meter is None else meter
        try:
            self._fd = os.open(path, OPEN_FLAGS | os.O_DIRECTORY)
        except FileNotFoundError:
            raise SourceMissingError(
                f"the source {path} does not exist on this node; is it mounted here? "
                "Give the directory that holds ILSVRC2012/ and the others as the source."
            ) from None
        except NotADirectoryError:
            raise SourceMissingError(
                f"the source {path} is not a directory; "
                "give the directory that holds ILSVRC2012/ and the others."
            ) from None
        except PermissionError:
            raise SourceUnreadableError(
                f"you may not read the source {path}; ask for access to the data set first, "
                "and see that one of your groups (`id`) is the one of `ls -ld`."
            ) from None
        except OSError as error:
            raise SourceUnreadableError(
                f"cannot open the source {path}: {error.strerror}."
            ) from error

    # --- requests
    # -------------------------------------------------------------------------------------

    def _ask(self, path: bytes, work: Callable[[], Answer], requests: int = 1) -> Answer:
        """``work()`` about ``path``: metered as so many requests, tried
        again where that may help.
        """
        meter = self.meter
        start = meter[SINCE] = self.clock.monotonic_ns()
        try:
            return retry_transient(lambda: self._with_root(work), self.clock)
        except OSError as error:
            raise to_source_error(self.path, self._fd, path, error) from error
        finally:
            meter[SINCE] = 0
            if requests:
                meter[REQUESTS] += requests
                count_time(meter, self.clock.monotonic_ns() - start)

    def _open(self, path: bytes) -> int:
        return self._ask(path, lambda: self._open_now(path))

    def _open_now(self, path: bytes) -> int:
        return os.open(path or b".", OPEN_FLAGS, dir_fd=self._fd)

    # --- the root ---------------------------------------------------------------------------------

    def _with_root(self, work: Callable[[], Answer]) -> Answer:
        """``work()``; once more where the root belongs to a mount that has ended, and there is a
        new one.
        """
        try:
            return work()
        except OSError as error:
            if error.errno not in _ROOT_GONE or not self.renew_root():
                raise
        return work()

    def renew_root(self) -> bool:
        """Go on with what stands at the source's path now, where that is another directory.
        Whether it was.

        After `umount` and `mount` of the source its old root answers nothing any more, or, where
        it was detached, is an old copy. Not so where our own mount lies over the source: it would
        ask itself. Nor is an empty directory a source: so is the mountpoint in between.
        """
        cover = mounts.covering_mount(self._absolute)
        if cover is not None and cover.is_ours:
            return False
        if self._is_at(self._absolute):
            return False
        try:
            fd = os.open(self._absolute, OPEN_FLAGS | os.O_DIRECTORY)
        except OSError:
            return False
        try:
            if _is_empty(fd):
                return False
            os.dup2(fd, self._fd, inheritable=False)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    @property
    def root_identity(self) -> tuple[int, int]:
        """Device and inode of the root."""
        status = os.fstat(self._fd)
        return status.st_dev, status.st_ino

    def _is_at(self, path: Path) -> bool:
        """Whether the root is the directory at a path; one that cannot be asked any more is not."""
        try:
            return os.path.samestat(os.fstat(self._fd), path.stat())
        except OSError:
            return False

    def _in_directory(self, path: bytes, work: Callable[[int], Answer]) -> Answer:
        """``work`` on a descriptor of the directory, opened anew for each attempt."""

        def attempt() -> Answer:
            fd = os.open(path or b".", OPEN_FLAGS | os.O_DIRECTORY, dir_fd=self._fd)
            try:
                return work(fd)
            finally:
                os.close(fd)

        return self._ask(path, attempt)

    # --- listings
    # -------------------------------------------------------------------------------------

    def names(self, path: bytes) -> list[tuple[bytes, bool]]:
        """(name, is it a directory) of all in a directory, sorted; a link to a directory is one.

        Costs no stat where the directory itself tells the type.
        """

        def list_names(fd: int) -> list[tuple[bytes, bool]]:
            with os.scandir(fd) as entries:
                found = [(entry.name, _is_directory(entry)) for entry in entries]
            return sorted([(os.fsencode(name), is_directory) for name, is_directory in found])

        return self._in_directory(path, list_names)

    def has_entries(self, path: bytes) -> bool:
        """Whether there is anything in a directory; asks for no more than the first names."""

        def has_any(fd: int) -> bool:
            with os.scandir(fd) as entries:
                return next(entries, None) is not None

        return self._in_directory(path, has_any)

    def entries(self, path: bytes) -> list[DirectoryEntry]:
        """All entries of a directory with their attributes, sorted by name; links not followed."""
        return self._in_directory(path, _entries)

    def status(self, path: bytes) -> os.stat_result | None:
        """os.stat of a path, links followed; None where there is nothing."""

        def stat_path() -> os.stat_result | None:
            try:
                return os.stat(path or b".", dir_fd=self._fd)
            except (FileNotFoundError, NotADirectoryError):
                return None

        return self._ask(path, stat_path, requests=0)  # the kernel keeps attributes

    def link_target(self, path: bytes) -> bytes:
        """The target of a symbolic link."""
        return self._ask(path, lambda: os.readlink(path, dir_fd=self._fd), requests=0)

    def close(self) -> None:
        """Close the descriptor; once is enough."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        # A caller may drop a source without closing it; its constructor may have failed.
        with contextlib.suppress(AttributeError, BufferError, OSError):
            self.close()


def _entries(fd: int) -> list[DirectoryEntry]:
    with os.scandir(fd) as scan:
        names = sorted(os.fsencode(entry.name) for entry in scan)
    found = []
    for name in names:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        times = status.st_mtime_ns, status.st_ctime_ns
        owner = status.st_uid, status.st_gid
        found.append(DirectoryEntry(name, status.st_mode, status.st_size, *times, *owner))
    return found


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """A link that leads in a circle, or whose target may not be read, is no directory."""
    try:
        return entry.is_dir()
    except OSError:
        return False
