"""What is found wrong when something is first touched: a line in the log, and one in status.

Kept in memory that forked processes share, so that each sentence is said once a mount.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import mmap
import os
import threading

log = logging.getLogger(__name__)

_BYTES = 1 << 16
_HEAD = 8


class LateWarnings:
    """Sentences, in the order in which they were found. Make it before forking."""

    def __init__(self) -> None:
        self._lock = os.memfd_create("imagenetfs-notices", os.MFD_CLOEXEC)
        self._map = mmap.mmap(-1, _BYTES)
        self._writing = threading.Lock()

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            os.close(self._lock)

    def tell(self, sentence: str) -> None:
        """Say a sentence, if nobody has said it yet. Beyond 64 KB of them the log alone has it."""
        data = sentence.replace("\n", " ").encode("utf-8", "backslashreplace") + b"\n"
        # A record lock belongs to a process; threads need one more.
        with self._writing:
            fcntl.lockf(self._lock, fcntl.LOCK_EX)
            try:
                told = self._told()
                if data[:-1] in told.split(b"\n"):
                    return
                end = _HEAD + len(told) + len(data)
                if end <= _BYTES:
                    self._map[end - len(data) : end] = data
                    self._map[:_HEAD] = (end - _HEAD).to_bytes(_HEAD, "little")
            finally:
                fcntl.lockf(self._lock, fcntl.LOCK_UN)
        log.warning("%s", sentence)

    def all(self) -> list[str]:
        """What has been said so far."""
        return [line.decode() for line in self._told().split(b"\n") if line]

    def _told(self) -> bytes:
        # The length is written last: whoever reads without the lock sees whole sentences.
        return self._map[_HEAD : _HEAD + int.from_bytes(self._map[:_HEAD], "little")]
