"""The root of the source: what is asked of it by path, through one descriptor that
is opened before mounting.

Everything that asks is metered, and tried again where that may help. Paths as in
:mod:`imagenetfs.source.source`.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.errors import SourceMissingError, SourceUnreadableError
from imagenetfs.source.file import REQUESTS, SINCE, IoStats
from imagenetfs.source.retry import Answer, retry_transient, to_source_error

OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name in a directory of the source; ``mode`` carries the file type (a link's own)."""

    name: bytes
    mode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class SourceDirectory:
    """The source directory by its descriptor: listings and stat."""

    def __init__(self, path: Path, meter: IoStats | None = None) -> None:
        """Raises SourceMissingError, SourceUnreadableError."""
        self.path = path
        self.meter: IoStats = [0, 0, 0, 0] if meter is None else meter
        try:
            self._fd = os.open(path, OPEN_FLAGS | os.O_DIRECTORY)
        except FileNotFoundError:
            raise SourceMissingError(
                f"the source {path} does not exist on this node; is it mounted here? "
                "Give the directory that holds ILSVRC2012/ and the others with --source."
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
        meter[SINCE] = time.monotonic_ns()
        try:
            return retry_transient(work)
        except OSError as error:
            raise to_source_error(self.path, path, error) from error
        finally:
            meter[SINCE] = 0
            meter[REQUESTS] += requests

    def _open(self, path: bytes) -> int:
        return self._ask(path, lambda: os.open(path or b".", OPEN_FLAGS, dir_fd=self._fd))

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

        def look(fd: int) -> list[tuple[bytes, bool]]:
            with os.scandir(fd) as entries:
                found = [(entry.name, _is_directory(entry)) for entry in entries]
            return sorted([(os.fsencode(name), is_directory) for name, is_directory in found])

        return self._in_directory(path, look)

    def has_entries(self, path: bytes) -> bool:
        """Whether there is anything in a directory; asks for no more than the first names."""

        def look(fd: int) -> bool:
            with os.scandir(fd) as entries:
                return next(entries, None) is not None

        return self._in_directory(path, look)

    def entries(self, path: bytes) -> list[DirectoryEntry]:
        """All entries of a directory with their attributes, sorted by name; links not followed."""
        return self._in_directory(path, _entries)

    def status(self, path: bytes) -> os.stat_result | None:
        """os.stat of a path, links followed; None where there is nothing."""

        def look() -> os.stat_result | None:
            try:
                return os.stat(path or b".", dir_fd=self._fd)
            except (FileNotFoundError, NotADirectoryError):
                return None

        return self._ask(path, look, requests=0)  # the kernel keeps attributes

    def link_target(self, path: bytes) -> bytes:
        """The target of a symbolic link."""
        return self._ask(path, lambda: os.readlink(path, dir_fd=self._fd), requests=0)

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _entries(fd: int) -> list[DirectoryEntry]:
    with os.scandir(fd) as scan:
        names = sorted(os.fsencode(entry.name) for entry in scan)
    found = []
    for name in names:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        times = status.st_mtime_ns, status.st_ctime_ns
        found.append(DirectoryEntry(name, status.st_mode, status.st_size, *times))
    return found


def _is_directory(entry: os.DirEntry[str]) -> bool:
    """A link that leads in a circle, or where we may not look, is no directory."""
    try:
        return entry.is_dir()
    except OSError:
        return False
