"""The source tree, reached through one directory descriptor that is opened before mounting.

Because every later open goes through that descriptor, the mount may lie over the source itself.
Paths are ``bytes``, relative, with ``/`` between the parts; ``b""`` is the source's own root.
Knows nothing of archives, ImageNet or FUSE.

Accounting: a :class:`Source` writes to its :class:`Meter`, four unsigned integers:
``meter[SINCE]`` is the monotonic time in nanoseconds since which a read has been under way (0: none),
``meter[REQUESTS]`` and ``meter[BYTES]`` count what was asked of the source. ``meter[WAITING]`` is for whoever
waits until another process has read the source: since when.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from imagenetfs.errors import (
    SourceChangedError,
    SourceMissingError,
    SourceReadError,
    SourceUnreadableError,
)

SINCE, REQUESTS, BYTES, WAITING = range(4)

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_MAX_OPEN_FILES = 128
_MAX_PINNED_FILES = 64


class Meter(Protocol):
    """Anything with four integers to count in: a list, a row of shared memory."""

    def __getitem__(self, at: int, /) -> int: ...

    def __setitem__(self, at: int, value: int, /) -> None: ...


@dataclass(frozen=True, slots=True)
class DirectoryEntry:
    """A name in a directory of the source; ``mode`` carries the file type (a link's own)."""

    name: bytes
    mode: int
    size: int
    mtime_ns: int

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)


class SourceFile:
    """An open file of the source. Its size is the one it had when it was opened."""

    __slots__ = ("fd", "meter", "mode", "mtime_ns", "path", "size")

    def __init__(self, fd: int, path: bytes, meter: Meter) -> None:
        self.fd = fd
        self.path = path
        self.meter = meter
        # Headers and images stand far apart: reading ahead would fetch what nobody asked for, over
        # the network too. A request for a whole image is still one request.
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        status = os.fstat(fd)
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        self.mode = status.st_mode

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset`` (in bytes), or SourceReadError."""
        data = self.read_up_to(offset, length)
        if len(data) != length:
            raise self._ended_at(offset + len(data))
        return data

    def read_up_to(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file."""
        meter = self.meter
        meter[SINCE] = time.monotonic_ns()
        try:
            data = os.pread(self.fd, length, offset)
            # A short answer is legal before the end of the file; it is only final when it is empty.
            while 0 < len(data) < length and offset + len(data) < self.size:
                more = os.pread(self.fd, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise self._unread(offset, error) from error
        finally:
            meter[SINCE] = 0
        meter[REQUESTS] += 1
        meter[BYTES] += len(data)
        return data

    def pour(self, pipe: int, offset: int, length: int) -> bool:
        """Put exactly ``length`` bytes at ``offset`` into a pipe that has room for them, without a copy
        (splice). False where that fails for any reason: the pipe is then of no use, and :meth:`read` knows why.
        """
        meter = self.meter
        meter[SINCE] = time.monotonic_ns()
        done = 0
        try:
            while done < length:
                more = os.splice(self.fd, pipe, length - done, offset_src=offset + done)
                if not more:
                    return False
                done += more
        except OSError:
            return False
        finally:
            meter[SINCE] = 0
            meter[REQUESTS] += 1
            meter[BYTES] += done
        return True

    def _ended_at(self, offset: int) -> SourceChangedError:
        return SourceChangedError(
            f"{os.fsdecode(self.path)} ended at byte {offset:,} although it had "
            f"{self.size:,} bytes when it was opened; it was cut or replaced on the server."
        )

    def _unread(self, offset: int, error: OSError) -> SourceReadError:
        return SourceReadError(
            f"cannot read {os.fsdecode(self.path)} at byte {offset:,}: {error.strerror}."
        )

    def close(self) -> None:
        os.close(self.fd)


class Source:
    """The source directory: listings, stat, and a bounded set of open files."""

    def __init__(self, path: Path, meter: Meter | None = None) -> None:
        self.path = path
        self.meter: Meter = [0, 0, 0, 0] if meter is None else meter
        try:
            self._fd = os.open(path, _OPEN_FLAGS | os.O_DIRECTORY)
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
        self._files: dict[bytes, SourceFile] = {}
        self._pinned: dict[bytes, SourceFile] = {}

    def count_on(self, meter: Meter) -> None:
        """Count on another meter from now on: a forked child has its own."""
        self.meter = meter
        for file in (*self._files.values(), *self._pinned.values()):
            file.meter = meter

    def open(self, path: bytes) -> SourceFile:
        """The open file at ``path``; kept open, the oldest one closed beyond a fixed number."""
        file = self._files.get(path) or self._pinned.get(path)
        if file is None:
            file = SourceFile(self._open(path), path, self.meter)
            while len(self._files) >= _MAX_OPEN_FILES:
                self._files.pop(next(iter(self._files))).close()
            self._files[path] = file
        return file

    def pin(self, path: bytes) -> SourceFile:
        """As :meth:`open`, and never closed again: forked processes then read the same file, whatever
        stands under its name by then. For the first archives only; descriptors are few."""
        file = self._pinned.get(path)
        if file is None:
            file = self.open(path)
            if len(self._pinned) < _MAX_PINNED_FILES:
                self._pinned[path] = file
                self._files.pop(path, None)
        return file

    @contextlib.contextmanager
    def opened(self, path: bytes) -> Iterator[SourceFile]:
        """A file opened for the caller alone: for threads, which :meth:`open` does not serve."""
        file = SourceFile(self._open(path), path, self.meter)
        try:
            yield file
        finally:
            file.close()

    def _open(self, path: bytes, flags: int = 0) -> int:
        meter = self.meter
        meter[SINCE] = time.monotonic_ns()
        try:
            return os.open(path or b".", _OPEN_FLAGS | flags, dir_fd=self._fd)
        except OSError as error:
            raise _refusal(self.path, path, error) from error
        finally:
            meter[SINCE] = 0
            meter[REQUESTS] += 1

    def names(
        self, path: bytes, *, follow: bool = True, most: int | None = None
    ) -> list[tuple[bytes, bool]]:
        """(name, is it a directory) of all in a directory, or of any ``most``, sorted; ``follow``: a link
        to a directory is one.

        Costs no stat where the directory itself tells the type.
        """
        fd = self._open(path, os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                found = [
                    (os.fsencode(entry.name), _is_directory(entry, follow))
                    for entry in itertools.islice(entries, most)
                ]
        except OSError as error:
            raise _refusal(self.path, path, error) from error
        finally:
            os.close(fd)
        return sorted(found)

    def has_entries(self, path: bytes) -> bool:
        """Whether there is anything in a directory; asks for no more than the first names."""
        fd = self._open(path, os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                return next(entries, None) is not None
        except OSError as error:
            raise _refusal(self.path, path, error) from error
        finally:
            os.close(fd)

    def entries(self, path: bytes) -> list[DirectoryEntry]:
        """All entries of a directory with their attributes, sorted by name; links not followed."""
        fd = self._open(path, os.O_DIRECTORY)
        try:
            with os.scandir(fd) as scan:
                names = [os.fsencode(entry.name) for entry in scan]
            found = []
            for name in sorted(names):
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                found.append(
                    DirectoryEntry(name, status.st_mode, status.st_size, status.st_mtime_ns)
                )
        except OSError as error:
            raise _refusal(self.path, path, error) from error
        finally:
            os.close(fd)
        return found

    def status(self, path: bytes) -> os.stat_result | None:
        """os.stat of a path, links followed; None where there is nothing."""
        try:
            return os.stat(path or b".", dir_fd=self._fd)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise _refusal(self.path, path, error) from error

    def link_target(self, path: bytes) -> bytes:
        """The target of a symbolic link."""
        try:
            return os.readlink(path, dir_fd=self._fd)
        except OSError as error:
            raise _refusal(self.path, path, error) from error

    def read_whole(self, path: bytes, limit: int = 1 << 28) -> bytes:
        """The contents of a small file (label lists, the devkit)."""
        with self.opened(path) as file:
            if file.size > limit:
                raise SourceReadError(
                    f"{os.fsdecode(path)} has {file.size:,} bytes, more than such a file can have."
                )
            return file.read(0, file.size)

    def close(self) -> None:
        """Close every descriptor."""
        for file in (*self._files.values(), *self._pinned.values()):
            file.close()
        self._files.clear()
        self._pinned.clear()
        os.close(self._fd)


def _is_directory(entry: os.DirEntry[str], follow: bool) -> bool:
    """A link that leads in a circle, or where we may not look, is no directory."""
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def _refusal(root: Path, path: bytes, error: OSError) -> SourceReadError | SourceUnreadableError:
    where = root / os.fsdecode(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return SourceUnreadableError(f"you may not read {where}.")
    return SourceReadError(f"cannot read {where}: {error.strerror}.")
