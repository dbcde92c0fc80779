"""The board: one anonymous shared mapping on which the processes of a mount write about themselves.

Page 0 belongs to the supervisor; then one row of 64 u64 a worker, written by that worker alone and kept
when another takes its place, so that sums stay right; then the slots of status.json.

A counter costs one memory write. Nothing is locked; readers may see a sum that is a request old.
"""

from __future__ import annotations

import json
import mmap
from enum import IntEnum
from typing import Any

MAX_WORKERS = 64
MAX_SPLITS = 1024

_PAGE = 4096
_ROW_BYTES = 512
_ROW_WORDS = _ROW_BYTES // 8
_FACTS_BYTES = 1 << 18
_STATUS_BYTES = 1 << 18
_STATUS_SLOTS = 8


class Cell(IntEnum):
    """The words of a worker's row. The first three are the source's meter (see source.directory)."""

    SOURCE_SINCE = 0
    SOURCE_REQUESTS = 1
    SOURCE_BYTES = 2
    PID = 3
    BUSY_SINCE = 4
    IMAGES = 5
    BYTES = 6
    ERRORS = 7
    FIRST_REQUEST = 8


REQUESTS = (
    "lookup",
    "getattr",
    "open",
    "read",
    "release",
    "opendir",
    "readdir",
    "releasedir",
    "statfs",
    "readlink",
    "xattr",
    "forget",
    "other",
)
"""The kinds of requests that are counted, in the order of their cells."""


class Board:
    """Rows, facts and status slots. Make it before forking."""

    def __init__(self) -> None:
        first_facts = _PAGE + MAX_WORKERS * _ROW_BYTES
        first_status = first_facts + _FACTS_BYTES
        self._map = mmap.mmap(-1, first_status + _STATUS_SLOTS * _STATUS_BYTES)
        self._bytes = memoryview(self._map)
        self._words = self._bytes[:first_facts].cast("Q")
        self._touched = self._bytes[_PAGE // 2 : _PAGE // 2 + MAX_SPLITS]
        self._facts = self._bytes[first_facts:first_status]
        self._status = [
            self._bytes[first_status + n * _STATUS_BYTES : first_status + (n + 1) * _STATUS_BYTES]
            for n in range(_STATUS_SLOTS)
        ]

    def row(self, worker: int) -> memoryview:
        """The row of worker number ``worker``, as a view of u64."""
        start = _PAGE // 8 + worker * _ROW_WORDS
        return self._words[start : start + _ROW_WORDS]

    def touch(self, split: int) -> None:
        """Say that a class of this split has been asked for."""
        if split < MAX_SPLITS:
            self._touched[split] = 1

    def touched(self) -> list[int]:
        """The splits of which a class has been asked for."""
        return [split for split, flag in enumerate(bytes(self._touched)) if flag]

    # --- facts: what the supervisor says ----------------------------------------------------------

    def publish(self, facts: dict[str, Any]) -> None:
        """The supervisor's facts (JSON), for status.json."""
        data = json.dumps(facts).encode()[: _FACTS_BYTES - 8]
        self._facts[8 : 8 + len(data)] = data
        self._facts[:8] = len(data).to_bytes(8, "little")

    def facts(self) -> dict[str, Any]:
        """What the supervisor published last; empty while it is writing."""
        length = int.from_bytes(self._facts[:8], "little")
        try:
            facts: dict[str, Any] = json.loads(bytes(self._facts[8 : 8 + length]))
        except ValueError:
            return {}
        return facts

    # --- sums -------------------------------------------------------------------------------------

    def counters(self) -> dict[str, Any]:
        """All counters, summed over the workers."""
        sums = [0] * _ROW_WORDS
        for worker in range(MAX_WORKERS):
            for at, value in enumerate(self.row(worker)):
                sums[at] += value
        first = Cell.FIRST_REQUEST
        return {
            "requests": {name: sums[first + at] for at, name in enumerate(REQUESTS)},
            "images_opened": sums[Cell.IMAGES],
            "bytes_served": sums[Cell.BYTES],
            "errors": sums[Cell.ERRORS],
            "source_requests": sums[Cell.SOURCE_REQUESTS],
            "source_bytes": sums[Cell.SOURCE_BYTES],
        }

    def total_requests(self) -> int:
        """All requests so far: whether the mount is in use."""
        first = Cell.FIRST_REQUEST
        return sum(sum(self.row(w)[first : first + len(REQUESTS)]) for w in range(MAX_WORKERS))

    # --- status.json: one text for all chunks of one reader ---------------------------------------

    def keep_status(self, text: bytes) -> int:
        """Keep a text for its readers; returns the slot. The oldest of eight gives way."""
        slot = self._words[0] % _STATUS_SLOTS
        self._words[0] += 1
        data = text[: _STATUS_BYTES - 8]
        self._status[slot][8 : 8 + len(data)] = data
        self._status[slot][:8] = len(data).to_bytes(8, "little")
        return slot

    def status(self, slot: int, offset: int, length: int) -> bytes:
        """A piece of a kept text."""
        view = self._status[slot % _STATUS_SLOTS]
        end = int.from_bytes(view[:8], "little")
        return bytes(view[8 + offset : 8 + min(offset + length, end)])
