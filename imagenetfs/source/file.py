"""One open file of the source: exact bytes or an error, whatever the server does.

Accounting: a file writes to its meter, the source's view of a row of counters. ``meter[SINCE]`` is
the monotonic time in nanoseconds since which a read has been under way (0: none);
``meter[REQUESTS]`` and ``meter[BYTES]`` count what was asked of the source, the words from
``LATENCY`` on how long the requests took, ``meter[SPENT]`` the sum of that. ``meter[WAITING]`` is
for a process that waits until another process has read the source: since when.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import threading
from typing import Protocol

from imagenetfs.counters import BYTES, REQUESTS, SINCE, CounterView, count_time
from imagenetfs.errors import SourceChangedError, SourceReadError, SourceUnreadableError
from imagenetfs.source.file_state import FileIdentity
from imagenetfs.source.retry import retry_after
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.files import is_in_memory
from imagenetfs.system.splice import splice_exactly

IoStats = CounterView
"""The source's view of a row: the words of imagenetfs.counters from SINCE to SPENT."""

_MOST_ANNOUNCED = 128 * 1024
"""Bytes: Linux's usual read-ahead (read_ahead_kb), FUSE's and NFS's too."""

_LEAST_ALIGNED, _MOST_ALIGNED = 1 << 20, 1 << 22
"""Bytes: what FUSE asks for at once, and what the stager does."""


class Reopen(Protocol):
    """Puts a newly opened descriptor in the place of a file's own.

    Raises SourceChangedError where another file stands there now, and OSError.
    """

    def __call__(self, file: SourceFile, /) -> None: ...


class SourceFile:
    """An open file of the source. Its size is the one it had when it was opened.

    ``revalidate_at``: the monotonic time in seconds at which its path is to be opened anew.
    """

    __slots__ = (
        "_clock",
        "_is_in_memory",
        "_reopen",
        "_tells_what_is_cached",
        "fd",
        "identity",
        "meter",
        "mode",
        "mtime_ns",
        "path",
        "revalidate_at",
        "size",
    )

    def __init__(
        self,
        fd: int,
        path: bytes,
        meter: IoStats,
        reopen: Reopen | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.fd = fd
        self.path = path
        self.meter = meter
        self.revalidate_at = float("inf")
        self._reopen = reopen
        self._clock = clock
        self._tells_what_is_cached = True
        self._is_in_memory = False
        # Headers and images stand far apart: reading ahead would fetch what was not asked for, over
        # the network too. A request for a whole image is still one request.
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        self._note(os.fstat(fd))

    def _note(self, status: os.stat_result) -> None:
        self.size = status.st_size
        self.mtime_ns = status.st_mtime_ns
        self.mode = status.st_mode
        self.identity: FileIdentity = _identity(status)

    def read(self, offset: int, length: int) -> bytes:
        """Exactly ``length`` bytes at ``offset`` (in bytes), all of the same file as ever.

        Raises SourceReadError, SourceUnreadableError, and SourceChangedError where it has changed.
        """
        data = self.read_up_to(offset, length)
        if len(data) != length:
            self._revalidate(offset)  # the index says so once, for all processes
            raise SourceChangedError(
                f"{os.fsdecode(self.path)} ended at byte {offset + len(data):,} although it had "
                f"{self.size:,} bytes when it was opened; it was cut or replaced on the server.",
                self.path,
            )
        # After the bytes: an answer of an NFS server carries the attributes that go with it, so
        # whatever is newer than what we knew shows now. No request: the kernel keeps them.
        if self.has_changed():
            self._revalidate(offset)
        return data

    def read_with_head(self, offset: int, head: int, length: int) -> tuple[bytes, bytes]:
        """Exactly the ``head`` bytes at ``offset`` and the ``length`` bytes after them, in one
        request at most. Raises as :meth:`read` does.
        """
        # To take an image out of a longer answer is to copy it. Where the kernel has the head, it
        # costs no request, and is read alone.
        if self._tells_what_is_cached:
            block = bytearray(head)
            try:
                if os.preadv(self.fd, (block,), offset, os.RWF_NOWAIT) == head:
                    return bytes(block), self.read(offset + head, length)
            except BlockingIOError:
                pass
            except OSError:
                self._tells_what_is_cached = False
                self._is_in_memory = is_in_memory(self.fd)
        if self._is_in_memory:
            with contextlib.suppress(OSError):
                lead = os.pread(self.fd, head, offset)
                if len(lead) == head:
                    return lead, self.read(offset + head, length)
        data = self.read(offset, head + length)
        return data[:head], data[head:]

    def read_up_to(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes at ``offset``; fewer only at the end of the file.

        For a caller that reads a file from end to end, and then asks :meth:`has_changed` once.
        """
        meter, now = self.meter, self._clock.monotonic_ns
        start = meter[SINCE] = now()
        try:
            data = (os.pread if length < _LEAST_ALIGNED else _pread)(self.fd, length, offset)
            if len(data) != length:
                data = self._complete(data, offset, length)
        except OSError as error:
            data = self._retry(offset, length, error, start / 1e9)
        finally:
            meter[SINCE] = 0
        meter[REQUESTS] += 1
        meter[BYTES] += len(data)
        count_time(meter, now() - start)
        return data

    def hint(self, offset: int, length: int) -> None:
        """Announce a read: where the file system keeps pages, the kernel asks the server for them
        now, and the caller does not wait for the answer. Whatever goes wrong, the read will say.
        """
        end = offset + length
        try:
            # One request where the file system makes such large ones, as NFS does; elsewhere the
            # kernel cuts it off at the read-ahead, and the rest is announced by pieces of that.
            if length > _MOST_ANNOUNCED:
                os.posix_fadvise(self.fd, offset, length, os.POSIX_FADV_WILLNEED)
            for at in range(offset, end, _MOST_ANNOUNCED):
                left = min(end - at, _MOST_ANNOUNCED)
                os.posix_fadvise(self.fd, at, left, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        """Put exactly ``length`` bytes at ``offset`` into a pipe that is large enough, without a
        copy (splice). False where that fails for any reason, and where anything about the file is
        new: the pipe is then of no use, and :meth:`read` knows why.
        """
        meter, now = self.meter, self._clock.monotonic_ns
        start = meter[SINCE] = now()
        try:
            done = os.splice(self.fd, pipe, length, offset)
        except OSError:
            done = 0
        if 0 < done < length:
            done += splice_exactly(self.fd, pipe, offset + done, length - done)
        meter[SINCE] = 0
        meter[REQUESTS] += 1
        meter[BYTES] += done
        count_time(meter, now() - start)
        return done == length and not self.has_changed()

    def has_changed(self) -> bool:
        """Whether anything was written to the file, or to its attributes, since it was opened."""
        try:
            now = os.fstat(self.fd)
            # As _identity has it: a call that is saved with every read.
            return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns) != self.identity
        except OSError:
            return True

    def replace(self, newer: SourceFile) -> None:
        """Go on with another opening of what is the same file."""
        os.dup2(newer.fd, self.fd, inheritable=False)
        self.identity, self.mtime_ns, self.mode = newer.identity, newer.mtime_ns, newer.mode

    def close(self) -> None:
        os.close(self.fd)

    # --- when it does not go smoothly
    # -----------------------------------------------------------------

    def _attempt(self, offset: int, length: int) -> bytes:
        """One attempt; OSError where it fails, and where the server says nothing
        though there is something.
        """
        return self._complete(_pread(self.fd, length, offset), offset, length)

    def _complete(self, data: bytes, offset: int, length: int) -> bytes:
        """``data`` and what it lacks of these bytes."""
        # A short answer is legal before the end of the file; it is only final when it is empty.
        while len(data) < length and offset + len(data) < self.size:
            more = os.pread(self.fd, length - len(data), offset + len(data))
            if not more:
                if os.fstat(self.fd).st_size > offset + len(data):
                    raise OSError(errno.EIO, os.strerror(errno.EIO))
                break  # it was cut
            data += more
        return data

    def _retry(self, offset: int, length: int, error: OSError, start: float) -> bytes:
        """Read once more, from a new opening, while the errors are transient; since ``start``, a
        monotonic time in seconds, this has been under way.
        """

        def again() -> bytes:
            if self._reopen is not None:
                self._reopen(self)
            return self._attempt(offset, length)

        try:
            return retry_after(error, start, again, self._clock)
        except OSError as last:
            raise self._failure(offset, last) from last

    def _revalidate(self, offset: int) -> None:
        """Something about the file is new; raises unless only its attributes are."""
        if self._reopen is None:
            return
        self.meter[SINCE] = self._clock.monotonic_ns()
        try:
            self._reopen(self)
        except OSError as error:
            raise self._failure(offset, error) from error
        finally:
            self.meter[SINCE] = 0

    def _failure(self, offset: int, error: OSError) -> SourceReadError | SourceUnreadableError:
        name = os.fsdecode(self.path)
        if error.errno in (errno.EACCES, errno.EPERM):
            return SourceUnreadableError(f"you may no longer read {name}.", self.path)
        reason = f"cannot read {name} at byte {offset:,}: {error.strerror}."
        return SourceReadError(reason, self.path)


class _Aligned(threading.local):
    """Memory that begins a page, a thread's own. Private: a forked child gets a copy."""

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self.view = memoryview(mmap.mmap(-1, _MOST_ALIGNED, flags=flags))


_aligned = _Aligned()


def _pread(fd: int, length: int, offset: int) -> bytes:
    """As os.pread. A source without a page cache (FUSE's direct_io) is asked for so many pages of
    memory at once: a buffer that begins within one would make two requests of a whole one.
    """
    if not _LEAST_ALIGNED <= length <= _MOST_ALIGNED:
        return os.pread(fd, length, offset)
    view = _aligned.view
    return bytes(view[: os.preadv(fd, [view[:length]], offset)])


def _identity(status: os.stat_result) -> FileIdentity:
    return (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
