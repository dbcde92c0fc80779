"""A nameless local file that processes share: space is reserved in it, filled, read, and freed.

It goes with the last process that has it open. Locks are OFD locks on a descriptor that each
process opens itself (:meth:`ScratchFile.after_fork`).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path

from imagenetfs.system import locks
from imagenetfs.system.files import write_all

log = logging.getLogger(__name__)

_ALIGN = 4096
_KEEP_SIZE_PUNCH_HOLE = 0x03
_RESERVING = 1 << 40
"""The byte whose lock is held while space is reserved; callers lock lower ones."""


class ScratchFile:
    """The file.

    Where its directory cannot be written to, nothing can be reserved. Make it before forking.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = Path(directory or tempfile.gettempdir())
        self._fd = -1
        try:
            with tempfile.TemporaryFile(dir=self.directory) as file:
                self._fd = fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
            weakref.finalize(self, os.close, self._fd)
        except OSError as error:
            log.warning("%s cannot be written to: %s", self.directory, error.strerror)

    def after_fork(self) -> None:
        """Open the file anew, for locks that are this process's own. Call once in each child."""
        if self._fd >= 0:
            locks.reopen(self._fd)

    @property
    def used(self) -> int:
        """Bytes that the file takes on disk."""
        return os.fstat(self._fd).st_blocks * 512 if self._fd >= 0 else 0

    def reserve(self, length: int) -> int:
        """The offset of ``length`` reserved bytes, allocated on disk.

        OSError where there is none.
        """
        if self._fd < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with self.locked(_RESERVING):
            offset = -(-os.fstat(self._fd).st_size // _ALIGN) * _ALIGN
            space = os.statvfs(f"/proc/self/fd/{self._fd}")
            if space.f_bavail * space.f_frsize < length:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.ftruncate(self._fd, offset + length)
        try:
            if length:
                os.posix_fallocate(self._fd, offset, length)
        except OSError:
            self.punch_hole(offset, length)
            raise
        return offset

    def write(self, offset: int, data: bytes) -> None:
        """Write all of ``data``. OSError where that fails."""
        write_all(self._fd, data, offset)

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there; fewer only at the end of the file."""
        return os.pread(self._fd, length, offset)

    def punch_hole(self, offset: int, length: int) -> None:
        """Free the space of these bytes. No process may be reading there, nor start to."""
        libc = ctypes.CDLL(None, use_errno=True)
        mode = ctypes.c_int(_KEEP_SIZE_PUNCH_HOLE)
        libc.fallocate(self._fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length))

    @contextlib.contextmanager
    def locked(self, byte: int) -> Iterator[None]:
        """Hold the lock of one byte against other processes."""
        if self._fd < 0:
            yield
            return
        with locks.held(self._fd, byte, 1):
            yield
