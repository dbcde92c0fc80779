"""The source tree, reached through one directory descriptor that is opened before mounting.

Because every later open goes through that descriptor, the mount may lie over the source itself.
Paths are ``bytes``, relative, with ``/`` between the parts; ``b""`` is the source's own root. Knows
nothing of archives, ImageNet or FUSE: whether a file is still the right one, it asks the index
(:attr:`Source.recognise`).

An open file is revalidated every ``revalidate`` seconds, and at once when its attributes are new:
its path is opened anew. The same inode, size, mtime and ctime is the same file. Otherwise the index
compares what the file holds: a touch or a chgrp changes nothing; another file is refused from then
on, in all processes of the mount.
"""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

from imagenetfs.counters import REQUESTS, SINCE, SOURCE_WORDS
from imagenetfs.errors import (
    SourceChangedError,
    SourceGoneError,
    SourceReadError,
    SourceRefusedError,
    SourceReplacedError,
)
from imagenetfs.source.directory import DirectoryEntry, SourceDirectory
from imagenetfs.source.failures import FailureRegister
from imagenetfs.source.file import IoStats, SourceFile
from imagenetfs.source.file_state import SharedFileState
from imagenetfs.source.retry import gone_at, retry_transient, to_source_error
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.resources import files_to_keep

__all__ = [
    "DirectoryEntry",
    "Source",
    "SourceFile",
]

log = logging.getLogger(__name__)

REVALIDATE_SECONDS = 60.0

_MAX_OPEN_FILES = 128
_MAX_PINNED_FILES = 64

Recognise = Callable[[SourceFile], bool | None]
"""Whether a newly opened file is the one that was indexed; None where that is unknown."""


class Source(SourceDirectory):
    """The source directory: listings, stat, and a bounded set of open files."""

    def __init__(
        self,
        path: Path,
        meter: IoStats | None = None,
        *,
        revalidate: float = REVALIDATE_SECONDS,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        """``revalidate`` in seconds."""
        super().__init__(path, meter, clock)
        self.recognise: Recognise | None = None
        self._revalidate = revalidate
        self.known = SharedFileState()
        self.failures = FailureRegister()
        self._changes = self.known.changes
        self._root_at = self.clock.monotonic() + revalidate
        self._files: dict[bytes, SourceFile] = {}
        self._most_open = files_to_keep(_MAX_OPEN_FILES)
        self._pinned: dict[bytes, SourceFile] = {}
        self._is_twin = False

    def twin(self) -> Source:
        """The same source for another thread: open files and a meter of its own, and in common what
        is known of the files. Close it before this one.
        """
        fd = self._ask(b"", lambda: self._open_now(b""))
        other = copy.copy(self)
        other._fd = fd
        other.meter = [0] * SOURCE_WORDS
        other._files, other._pinned = {}, {}
        other._is_twin = True
        return other

    def count_on(self, meter: IoStats) -> None:
        """Count on another meter from now on: a forked child has its own."""
        self.meter = meter
        for file in (*self._files.values(), *self._pinned.values()):
            file.meter = meter

    def open(self, path: bytes) -> SourceFile:
        """The open file at ``path``; kept open, the oldest one closed beyond a fixed number.

        Asks the server whether it is still there, still the same and still ours to read, every
        ``revalidate`` seconds; in between it costs two dictionary lookups and the clock.
        Raises SourceReadError, SourceUnreadableError, SourceReplacedError.
        """
        file = self._files.get(path) or self._pinned.get(path)
        if file is not None:
            if self.clock.monotonic() >= file.revalidate_at:
                self._revalidate_file(file)
            elif self._changes[0]:
                self.check_unchanged(path)
            return file
        file = self._opened(path, self._reopen)
        self._note_readable(path)
        file.revalidate_at = self.clock.monotonic() + self._revalidate
        while len(self._files) >= self._most_open:
            self._files.pop(next(iter(self._files))).close()
        self._files[path] = file
        return file

    def check_access(self, path: bytes) -> None:
        """Raise what :meth:`open` would: for a caller that answers from a cache, or
        without opening anything.

        ``path`` may be a directory, where images are files of their own.
        """
        self.open(path)

    def check_known(self, path: bytes) -> None:
        """Raise SourceRefusedError where a process has found that a file, or a directory of files,
        may not be read any more. Nothing is asked of the server.
        """
        if self.known.is_refused(path):
            raise SourceRefusedError(f"you may no longer read {os.fsdecode(path)}.", path)

    def check_unchanged(self, path: bytes) -> None:
        """Raise SourceReplacedError where a process has found another file there.

        Nothing is asked either.
        """
        if self.known.has_changed(path):
            raise _replaced(path)

    def ask(self, path: bytes) -> os.stat_result:
        """Ask the server whether a file, or what lies in a directory, may be read
        now: what stat says of it.

        Raises OSError as it comes: what is refused is not tried again.
        """
        self.meter[REQUESTS] += 1
        fd = self._with_root(lambda: self._open_now(path))
        try:
            status = os.fstat(fd)
            if stat.S_ISDIR(status.st_mode):
                os.stat(b".", dir_fd=fd)  # to list it is one right, to open what lies in it another
            return status
        finally:
            os.close(fd)

    def pin(self, path: bytes) -> SourceFile:
        """As :meth:`open`, and never closed again: forked processes then read the same file,
        whatever stands under its name by then. For the first archives only; descriptors are few.
        """
        file = self._pinned.get(path)
        if file is None:
            file = self.open(path)
            if len(self._pinned) < files_to_keep(_MAX_PINNED_FILES):
                self._pinned[path] = file
                self._files.pop(path, None)
        return file

    @contextlib.contextmanager
    def opened(self, path: bytes) -> Iterator[SourceFile]:
        """A file opened for the caller alone: for threads, which :meth:`open` does not serve.

        What is read of it is of one file, or fails: it is never revalidated, nor exchanged.
        """
        file = self._opened(path, self._reopen_strictly)
        try:
            yield file
        finally:
            file.close()

    # --- whether it is still the right file
    # -----------------------------------------------------------

    def _opened(self, path: bytes, reopen: Callable[[SourceFile], None]) -> SourceFile:
        self.check_unchanged(path)
        file = SourceFile(self._open(path), path, self.meter, reopen, self.clock)
        try:
            if not self.known.is_right(path, file.identity):
                self._judge(file, None)
        except BaseException:
            file.close()
            raise
        return file

    def _judge(self, file: SourceFile, unknown: SourceChangedError | None) -> None:
        """See that a newly opened file is the right one; ``unknown``:
        raised where that is unknown.
        """
        # Its reads do not revalidate: that is what happens here.
        plain = SourceFile(file.fd, file.path, self.meter, clock=self.clock)
        right = self.recognise(plain) if self.recognise is not None else None
        if right:
            self.known.found_right(file.path, file.identity)
        elif right is not None:
            self.refuse_for_good(file.path)
        elif unknown is not None and not stat.S_ISDIR(file.mode):
            raise unknown

    def refuse_for_good(self, path: bytes) -> NoReturn:
        """Another file stands at a path than the one that was indexed: raise SourceReplacedError,
        and have all processes do so for the rest of the mount. The first one says so in the log.
        """
        if self.known.found_changed(path):
            log.error("%s Its images fail until then; all others are served.", _replaced(path))
        raise _replaced(path)

    def _revalidate_file(self, file: SourceFile) -> None:
        """Revalidate a path because it is time to; where that fails, the next read tries again."""
        meter = self.meter
        meter[SINCE] = self.clock.monotonic_ns()
        try:
            retry_transient(lambda: self._reopen(file), self.clock)
        except OSError as error:
            raise to_source_error(self.path, self._fd, file.path, error) from error
        finally:
            # Errors that last may be those of an old root.
            if self.clock.monotonic() >= self._root_at:
                self._root_at = self.clock.monotonic() + self._revalidate
                self.renew_root()
            meter[SINCE] = 0
        self._note_readable(file.path)
        file.revalidate_at = self.clock.monotonic() + self._revalidate

    def renew_root(self) -> bool:
        """As :meth:`.SourceDirectory.renew_root`; the first process of a mount says so."""
        renewed = super().renew_root()
        if renewed and self.failures.is_news(b"%d:%d" % self.root_identity):
            log.info(
                "another directory stands at %s (mounted anew?): going on with that",
                self.path,
            )
        return renewed

    def _note_readable(self, path: bytes) -> None:
        """A file could be opened: if it had failed before, say that it can be read again."""
        if self.failures.failing[0] and (failed := self.failures.recovered(path)):
            log.info("%s can be read again; %d requests had failed", os.fsdecode(path), failed)

    def _reopen(self, file: SourceFile) -> None:
        """Open the path anew, and go on with that if it is the same file. Loose files, which
        the index does not know, are the same while their size is."""
        self._exchange(file, strictly=False)

    def _reopen_strictly(self, file: SourceFile) -> None:
        self._exchange(file, strictly=True)

    def _exchange(self, file: SourceFile, *, strictly: bool) -> None:
        path = file.path
        self.check_unchanged(path)
        try:
            fd = self._with_root(lambda: self._open_now(path))
        except FileNotFoundError:
            gone = gone_at(self._fd, path)
            raise SourceGoneError(f"{os.fsdecode(gone)} is no longer there.", gone) from None
        finally:
            self.meter[REQUESTS] += 1
        try:
            newer = SourceFile(fd, path, self.meter, clock=self.clock)
            if newer.identity != file.identity and not self.known.is_right(path, newer.identity):
                another = newer.size != file.size and not stat.S_ISDIR(newer.mode)
                self._judge(newer, _written_to(path) if strictly or another else None)
            file.replace(newer)
        finally:
            os.close(fd)

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
        self.recognise = None
        if not self._is_twin:
            self.known.close()
            self.failures.close()
        super().close()


def _replaced(path: bytes) -> SourceReplacedError:
    return SourceReplacedError(
        f"{os.fsdecode(path)} is another file now than when it was indexed (replaced, "
        "overwritten or cut); unmount and mount again to see what it holds.",
        path,
    )


def _written_to(path: bytes) -> SourceChangedError:
    return SourceChangedError(f"{os.fsdecode(path)} was written to while it was in use.", path)
