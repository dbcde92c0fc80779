"""What could not be read of the source, for which reason, and how often: shared by a mount's
processes.

A reader sees nothing but EIO. So each failed request is counted here under the file that it was
for, the first one of a file and reason is logged, and status and the end of `run` have the sum.

::

    words 0, 1      number of entries; number of those that have not recovered
    words 2, 3      digest of the last news
    entry           u64 count, u64 state (1: failing, 2: over), u64 length, sentence (UTF-8)
"""

from __future__ import annotations

import hashlib
import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from imagenetfs.errors import GroupNeededError, SourceRefusedError, SourceUnreadableError
from imagenetfs.system.locks import SharedLock

_ENTRY_BYTES = 512
_MAX_ENTRIES = 512
_HEAD = struct.Struct("<QQ")
_ENTRY = struct.Struct("<QQ16s16sQ")
_FAILING, _OVER = 1, 2

_REST = b"\0"
"""No path; and the one entry of all files that no other entry is left for."""

_OF_REST = "further files of the source could not be read; the log names the first of them."


@dataclass(frozen=True, slots=True)
class Failure:
    """One file and reason. ``count``: requests that failed; ``is_over``: it could be read since."""

    sentence: str
    count: int
    is_over: bool

    def __str__(self) -> str:
        requests = "1 request failed" if self.count == 1 else f"{self.count:,} requests failed"
        again = "; it can be read again" if self.is_over else ""
        return f"{self.sentence.rstrip('.')}: {requests}{again}."


class FailureRegister:
    """Make it before forking."""

    def __init__(self) -> None:
        self._lock = SharedLock("imagenetfs-failures")
        self._map = mmap.mmap(-1, mmap.PAGESIZE + _MAX_ENTRIES * _ENTRY_BYTES)
        self._head = memoryview(self._map)[: _HEAD.size].cast("Q")
        self.failing = self._head[1:2]
        """One word: how many entries have not recovered. To be read before anything is asked
        here.
        """

    def close(self) -> None:
        """Give the memory back; once is enough."""
        if self._map.closed:
            return
        self.failing.release()
        self._head.release()
        self._map.close()
        self._lock.close()

    def note(self, path: bytes, kind: str, sentence: str) -> bool:
        """Count a request that failed. True where the file was not failing in this way before.

        ``kind`` tells ways apart; the sentence of each is that of its first request.

        What is beyond 511 files and reasons is counted in one entry, the last, and is new once.
        """
        key, reason = _digest(path), _digest(kind.encode())
        with self._lock.held():
            for at in self._entries():
                count, state, *keys, length = _ENTRY.unpack_from(self._map, at)
                if keys == [key, reason]:
                    _ENTRY.pack_into(self._map, at, count + 1, _FAILING, key, reason, length)
                    self._head[1] += state == _OVER
                    return bool(state == _OVER)
            number = self._head[0]
            if number == _MAX_ENTRIES:
                at = mmap.PAGESIZE + (number - 1) * _ENTRY_BYTES
                count, *rest = _ENTRY.unpack_from(self._map, at)
                _ENTRY.pack_into(self._map, at, count + 1, *rest)
                return False
            if number == _MAX_ENTRIES - 1:
                key, sentence = _digest(_REST), _OF_REST
            self._write(number, key, reason, sentence)
            self._head[0] = number + 1
            self._head[1] += 1
        return True

    def recovered(self, path: bytes) -> int:
        """The file could be read, so the directories above it are there: how many requests had
        failed for these since they last did not. A directory that may not be listed still may not.
        """
        if not self.failing[0]:
            return 0
        file, above, failed = _digest(path), set[bytes](), 0
        while path := path.rpartition(b"/")[0]:
            above.add(_digest(path))
        with self._lock.held():
            for at in self._entries():
                count, state, own, reason, length = _ENTRY.unpack_from(self._map, at)
                is_over = own == file or (own in above and reason not in _DENIED)
                if is_over and state == _FAILING:
                    _ENTRY.pack_into(self._map, at, count, _OVER, own, reason, length)
                    self._head[1] -= 1
                    failed += count
        return failed

    def is_news(self, what: bytes) -> bool:
        """Whether the last news of the mount's processes was another; this is the last one then."""
        at, digest = self._head.nbytes, _digest(what)
        with self._lock.held():
            told = self._map[at : at + len(digest)]
            self._map[at : at + len(digest)] = digest
        return told != digest

    def all(self) -> list[Failure]:
        """All of them, in the order in which they were first seen."""
        found = []
        for at in self._entries():
            count, state, _, _, length = _ENTRY.unpack_from(self._map, at)
            start = at + _ENTRY.size
            sentence = self._map[start : start + length].decode(errors="replace")
            found.append(Failure(sentence, count, state == _OVER))
        return found

    def _entries(self) -> Iterator[int]:
        yield from (mmap.PAGESIZE + n * _ENTRY_BYTES for n in range(self._head[0]))

    def _write(self, number: int, key: bytes, reason: bytes, sentence: str) -> None:
        at = mmap.PAGESIZE + number * _ENTRY_BYTES
        text = sentence.encode("utf-8", "backslashreplace")[: _ENTRY_BYTES - _ENTRY.size]
        start = at + _ENTRY.size
        self._map[start : start + len(text)] = text
        _ENTRY.pack_into(self._map, at, 1, _FAILING, key, reason, len(text))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


_DENIED = frozenset(
    _digest(kind.__name__.encode())
    for kind in (SourceUnreadableError, SourceRefusedError, GroupNeededError)
)
"""The kinds under which a request that was denied is noted."""
