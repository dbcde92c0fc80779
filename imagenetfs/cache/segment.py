"""One segment: a file that holds the blocks of 1 GiB of a volume, each with a checksum.

::

    0        head of 64 bytes: magic, version, number of the segment, key of the volume, bytes of
             data, nonce
    64       counters: hits, misses, bytes saved (three u64; :meth:`Segment.count`)
    128      what it is of: a length (u32), then JSON, for people (`imagenetfs cache ls`)
    4096     table: a record of 16 bytes for each block: crc32 (u32), length (u32), stamp (u64)
    266240   data: block k at 266240 + k * 65536

A block is there when its record's *stamp* is the one that belongs to it: a digest of the segment's
head (so of volume, segment and file) plus a multiple of its number. It is believed only after its
checksum has been found right, once in a mount (:class:`Verified`): a record that a crash left
without its data, a block that lies where another belongs, a flipped bit, a file that was cut are
all blocks that are not there.

Filling: lock the records, read them once more, write the data, write the record. A reader takes no
lock: record first, then data. Nothing is ever punched or written over but a block whose checksum
was wrong; space is freed by unlinking the file, whose open readers keep valid bytes. The file has
its full length from the start, sparse, so that no process ever lengthens one that was cut: what had
been cut off would be zeros then. Only pread and pwrite: a full disk or a cut file would turn a
mapping into SIGBUS. Little-endian throughout.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from imagenetfs.system import locks
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.files import write_all

BLOCK = 1 << 16
BLOCKS = 1 << 14
SEGMENT = BLOCK * BLOCKS
"""Bytes of a volume that one segment is for."""

_MAGIC = b"inetfs\xb1\x01"
_VERSION = 1
_HEAD = struct.Struct("<8sII32sQ8s")
_COUNTERS = struct.Struct("<QQQ")
_COUNTERS_AT = 64
_ABOUT_AT = 128
_TABLE = 4096
_RECORD = struct.Struct("<IIQ")
_DATA = _TABLE + BLOCKS * _RECORD.size
_STEP = 0x9E3779B97F4A7C15
_MASK = (1 << 64) - 1

_PATIENCE_SECONDS = 5.0
"""How long to wait for another process that is fetching the same blocks."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.0002, 0.004


class Verified:
    """The blocks whose checksums this mount has found right, shared by the processes
    forked after it was made.

    A table of stamps, a word for many of them; a stamp that another overwrites is checked once
    more.
    """

    _BITS = 21

    def __init__(self) -> None:
        # Shared memory is taken when it is written to: 8 bytes a block.
        self.words = memoryview(mmap.mmap(-1, 8 << self._BITS)).cast("Q")
        self.shift = 64 - self._BITS


class Segment:
    """An open segment.

    Blocks are numbered within it, offsets are within its part of the volume, in bytes.
    """

    __slots__ = ("_base", "_head", "_shift", "_words", "fd", "used", "writable")

    def __init__(self, fd: int, head: bytes, verified: Verified, writable: bool = True) -> None:
        self.fd = fd
        self.writable = writable
        self.used = False
        self._head = head
        self._base = int.from_bytes(hashlib.sha256(head).digest()[:8], "little")
        self._words = verified.words
        self._shift = verified.shift

    # --- reading: no lock -------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> bytes | None:
        """These bytes, or None where a block of them is missing or damaged. Raises OSError."""
        records = self._records(offset, length)
        if records is None:
            return None
        if not self._are_verified(records):
            return self._read_checked(records, offset >> 16, offset, length)
        data = os.pread(self.fd, length, _DATA + offset)
        return data if len(data) == length else None

    def locate(self, offset: int, length: int) -> int | None:
        """Where in the file these bytes stand, if all their blocks have been found right.

        Raises OSError.
        """
        records = self._records(offset, length)
        if records is None or not self._are_verified(records):
            return None
        return _DATA + offset

    def _records(self, offset: int, length: int) -> bytes | None:
        """The records of the blocks that hold these bytes; None where one of them is missing."""
        first, last = offset >> 16, (offset + length - 1) >> 16
        count = last - first + 1
        records = os.pread(self.fd, 16 * count, _TABLE + 16 * first)
        if len(records) != 16 * count:
            return None
        stamp, size = self._base + first * _STEP & _MASK, 0
        for _, size, found in _RECORD.iter_unpack(records):  # noqa: B007 (the last size counts)
            if found != stamp:
                return None
            stamp = stamp + _STEP & _MASK
        return records if offset + length <= last * BLOCK + size else None

    def _are_verified(self, records: bytes) -> bool:
        words, shift = self._words, self._shift
        return all(words[stamp >> shift] == stamp for _, _, stamp in _RECORD.iter_unpack(records))

    def _read_checked(self, records: bytes, first: int, offset: int, length: int) -> bytes | None:
        """As :meth:`read`, with the checksums: the bytes that were found
        right are those returned.
        """
        whole = os.pread(self.fd, BLOCK * (len(records) // 16), _DATA + first * BLOCK)
        view, at, end = memoryview(whole), 0, offset + length - first * BLOCK
        for crc, size, stamp in _RECORD.iter_unpack(records):
            piece = view[at : at + size]
            if not min(BLOCK, end - at) <= size <= BLOCK:
                return None
            if self._words[stamp >> self._shift] != stamp:
                if zlib.crc32(piece) != crc:
                    return None
                self._words[stamp >> self._shift] = stamp
            at += BLOCK
        return whole[end - length : end] if end <= len(whole) else None

    def missing(self, first: int, count: int) -> list[int]:
        """Which of ``count`` blocks from ``first`` cannot be had; checksums are verified.

        Raises OSError.
        """
        records = os.pread(self.fd, 16 * count, _TABLE + 16 * first)
        records += bytes(16 * count - len(records))
        found = []
        for at, (crc, size, stamp) in enumerate(_RECORD.iter_unpack(records)):
            expected = self._stamp(first + at)
            if stamp != expected or not self._is_right(first + at, crc, size, stamp):
                found.append(first + at)
        return found

    def _stamp(self, block: int) -> int:
        return self._base + block * _STEP & _MASK

    def _is_right(self, block: int, crc: int, size: int, stamp: int) -> bool:
        if self._words[stamp >> self._shift] == stamp:
            return True
        if not 0 < size <= BLOCK:
            return False
        data = os.pread(self.fd, size, _DATA + block * BLOCK)
        right = len(data) == size and zlib.crc32(data) == crc
        if right:
            self._words[stamp >> self._shift] = stamp
        return right

    def present(self, first: int, count: int) -> list[tuple[int, int]]:
        """(block, bytes) of the blocks that are there by their records; nothing is checked."""
        records = os.pread(self.fd, 16 * count, _TABLE + 16 * first)
        whole = len(records) // 16 * 16
        return [
            (first + at, size)
            for at, (_, size, stamp) in enumerate(_RECORD.iter_unpack(records[:whole]))
            if stamp == self._stamp(first + at)
        ]

    # --- writing: under the lock of the records ---------------------------------------------------

    def write(self, first: int, data: bytes | memoryview) -> None:
        """Keep ``data`` as the blocks from ``first`` on; their lock is held. Raises OSError."""
        self.commit(first, self.write_data(first, data))

    def write_data(self, first: int, data: bytes | memoryview) -> bytes:
        """Write ``data`` where the blocks from ``first`` on stand, and return their records: no
        reader finds the blocks before these are committed. Raises OSError.
        """
        view, records = memoryview(data), bytearray()
        for at in range(0, len(data), BLOCK):
            piece = view[at : at + BLOCK]
            records += _RECORD.pack(zlib.crc32(piece), len(piece), self._stamp(first + at // BLOCK))
        write_all(self.fd, view, _DATA + first * BLOCK)
        return bytes(records)

    def commit(self, first: int, records: bytes) -> None:
        """Write these blocks' records: readers find the blocks now. Raises OSError."""
        write_all(self.fd, records, _TABLE + 16 * first)
        for _, _, stamp in _RECORD.iter_unpack(records):
            self._words[stamp >> self._shift] = stamp

    def invalidate(self, block: int) -> None:
        """Remove a block; its lock is held. Raises OSError."""
        write_all(self.fd, bytes(16), _TABLE + 16 * block)
        self._words[self._stamp(block) >> self._shift] = 0

    @contextlib.contextmanager
    def locked_at_once(self, first: int, count: int) -> Iterator[bool]:
        """Hold the lock of these blocks' records; False where another process has some of it."""
        records = (_TABLE + 16 * first, 16 * count)
        had = locks.try_lock(self.fd, *records)
        try:
            yield had
        finally:
            if had:
                locks.unlock(self.fd, *records)

    @contextlib.contextmanager
    def locked(
        self,
        first: int,
        count: int,
        waits: Callable[[bool], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> Iterator[bool]:
        """Hold the lock of these blocks' records; False where another process keeps it for too
        long, or has brought all of them while it keeps it for more.

        ``waits(True)`` is called where another process has it, ``waits(False)`` when that is over.
        """
        records = (_TABLE + 16 * first, 16 * count)
        had = locks.try_lock(self.fd, *records)
        if not had:
            if waits is not None:
                waits(True)
            try:
                had = self._wait(first, count, clock)
            finally:
                if waits is not None:
                    waits(False)
        try:
            yield had
        finally:
            if had:
                locks.unlock(self.fd, *records)

    def _wait(self, first: int, count: int, clock: Clock) -> bool:
        # Not within the kernel, where there is no time-out: the other may wait for a dead server.
        pause, deadline = _FIRST_PAUSE, clock.monotonic() + _PATIENCE_SECONDS
        while clock.monotonic() < deadline:
            clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            if locks.try_lock(self.fd, _TABLE + 16 * first, 16 * count):
                return True
            if len(self.present(first, count)) == count:
                break
        return False

    # --- the file ---------------------------------------------------------------------------------

    def is_of(self, path: SegmentPath) -> bool:
        """Whether its head says that it is the segment of that path."""
        expected = (_MAGIC, _VERSION, path.number, path.key, path.length)
        return len(self._head) == _HEAD.size and _HEAD.unpack(self._head)[:5] == expected

    def is_current(self) -> bool:
        """Whether the file still has its name, its head and its length. Raises OSError."""
        status = os.fstat(self.fd)
        whole = status.st_nlink > 0 and status.st_size == _DATA + _HEAD.unpack(self._head)[4]
        return whole and read_head(self.fd) == self._head

    def count(self, hits: int, misses: int, saved: int) -> None:
        """Add to the counters that stay with the segment. Raises OSError."""
        with locks.held(self.fd, _COUNTERS_AT, _COUNTERS.size):
            new = [a + b for a, b in zip(self.counters(), (hits, misses, saved), strict=True)]
            write_all(self.fd, _COUNTERS.pack(*new), _COUNTERS_AT)

    def counters(self) -> tuple[int, int, int]:
        """(hits, misses, bytes saved) since the file was made."""
        data = os.pread(self.fd, _COUNTERS.size, _COUNTERS_AT)
        return _COUNTERS.unpack(data) if len(data) == _COUNTERS.size else (0, 0, 0)

    def about(self) -> dict[str, Any]:
        """What it is of; empty where that cannot be read."""
        data = os.pread(self.fd, _TABLE - _ABOUT_AT, _ABOUT_AT)
        try:
            found = json.loads(data[4 : 4 + int.from_bytes(data[:4], "little")])
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def close(self) -> None:
        """Close the file."""
        os.close(self.fd)


@dataclass(frozen=True, slots=True)
class SegmentPath:
    """Which segment: directory (a descriptor) and name of its file, what it is
    of, ``length`` in bytes.
    """

    directory: int
    name: str
    key: bytes
    number: int
    length: int


def first_page(path: SegmentPath, about: Mapping[str, Any]) -> bytes:
    """What a new file begins with: its head, and what it is of, of which the end may be cut off."""
    text = json.dumps(about).encode()
    head = _HEAD.pack(_MAGIC, _VERSION, path.number, path.key, path.length, os.urandom(8))
    page = head.ljust(_ABOUT_AT, b"\0") + len(text).to_bytes(4, "little") + text
    return page[:_TABLE]


def file_bytes(path: SegmentPath) -> int:
    """How long the file is, from the start."""
    return _DATA + path.length


def read_head(fd: int) -> bytes:
    """The head of a file, or less of it. Raises OSError."""
    return os.pread(fd, _HEAD.size, 0)


def length_in(head: bytes) -> int:
    """The bytes of data that a head says its segment is for; 0 for what is no head."""
    length: int = _HEAD.unpack(head)[4] if len(head) == _HEAD.size else 0
    return length
