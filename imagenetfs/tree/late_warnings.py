"""What is found wrong when something is first touched: a line in the log, and one in status.

Kept in memory that forked processes share, so that each sentence is said once a mount.
"""

from __future__ import annotations

import logging
import mmap
from collections.abc import Iterable

from imagenetfs.system.locks import SharedLock

log = logging.getLogger(__name__)

_BYTES = 1 << 16
_HEAD = 8


_ABOUT = b"\0"
"""Between what a sentence is about and the sentence."""


def _line(text: str) -> bytes:
    return text.replace("\n", " ").replace("\0", " ").encode("utf-8", "backslashreplace")


class LateWarnings:
    """Sentences, in the order in which they were found. Make it before forking."""

    def __init__(self) -> None:
        self._lock = SharedLock("imagenetfs-late-warnings")
        self._map = mmap.mmap(-1, _BYTES)
        self._known: set[str] = set()

    def know(self, sentences: Iterable[str]) -> None:
        """These have been said when the mount was made; before forking."""
        self._known.update(sentences)

    def tell(self, sentence: str, about: str = "") -> None:
        """Say a sentence, if no process has said it yet. Beyond 64 KB of them the log alone has it.

        ``about``: the sentence takes the place of an earlier one about the same.
        """
        if sentence in self._known:
            return
        key = _line(about) + _ABOUT if about else b""
        data = key + _line(sentence) + b"\n"
        with self._lock.held():
            told = self._told()
            lines = told.split(b"\n")
            if data[:-1] in lines:
                return
            if key and any(line.startswith(key) for line in lines):
                told = b"\n".join(line for line in lines if not line.startswith(key))
                self._put(_HEAD, told)
            if _HEAD + len(told) + len(data) <= _BYTES:
                self._put(_HEAD + len(told), data)
        log.warning("%s", sentence)

    def _put(self, start: int, data: bytes) -> None:
        end = start + len(data)
        self._map[start:end] = data
        self._map[:_HEAD] = (end - _HEAD).to_bytes(_HEAD, "little")

    def all(self) -> list[str]:
        """What has been said so far."""
        with self._lock.held():
            told = self._told()
        return [line.rpartition(_ABOUT)[2].decode() for line in told.split(b"\n") if line]

    def _told(self) -> bytes:
        return self._map[_HEAD : _HEAD + int.from_bytes(self._map[:_HEAD], "little")]
