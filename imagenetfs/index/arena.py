"""The arena: member tables shared by all processes of one mount, in one unlinked local file.

::

    0      next free byte (u64), guarded by the lock on bytes 0..32
    64     how many archives were added later (u64), guarded by the lock on bytes 64..96
    128    where the records of the later ones stand (u64 each): 1,024 of them, 2,048, 4,096, ...
    4096   one slot of 32 bytes for each archive of the catalogue
    ...    blocks: member tables, the slots of the containers nested in an archive, records, names

A record of a later archive is its slot, then where its name stands and how long that is (two u64).

A slot is four u64: state, offset, length, children (where the slots of nested containers begin). A
builder takes the lock of the slot, reads its state once more, reserves space, writes the block,
writes the slot's last three words, and publishes by writing its state. A builder that dies on the
way loses space and nothing else.

Only ``pwrite`` writes, so that a full disk is an error and never a SIGBUS; the mapping is
for reading. Locks are OFD locks on a descriptor that each process opens itself
(:meth:`Arena.after_fork`); they exclude processes from one another, not threads: one
thread of a process publishes.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import mmap
import os
import struct
import tempfile
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

from imagenetfs.errors import NoSpaceError
from imagenetfs.system import locks
from imagenetfs.system.files import write_all

READY = 1
"""What a slot says whose table is there; 0 is said by an empty one."""

_HEADER = 4096
_SLOT = struct.Struct("<QQQQ")
_WORD = struct.Struct("<Q")
_MAPPING = 1 << 26
_LATER, _LATER_RECORDS = 64, 128
_RECORD = struct.Struct("<32xQQ")
_FIRST_BITS = 10
_LEAST_SPACE = 1 << 26
"""Bytes: a disk with less is taken for full. ImageNet's train takes 24 million."""


class Arena:
    """Slots and blocks. ``archives`` is the number of slots at the head."""

    def __init__(self, archives: int, directory: Path | None = None) -> None:
        self._fd = _unlinked_file(directory)
        self._closer = weakref.finalize(self, os.close, self._fd)
        self._mappings: dict[int, memoryview] = {}
        self._archives = archives
        first_block = _HEADER + archives * _SLOT.size
        self._grow(first_block)
        self._write(_HEADER, bytes(archives * _SLOT.size))
        self._write(0, _WORD.pack(-(-first_block // 64) * 64))

    def close(self) -> None:
        """Close the descriptor; once is enough. What is mapped stays so."""
        self._closer()

    def after_fork(self) -> None:
        """Open the file anew, for locks that are this process's own. Call once in each child."""
        locks.reopen(self._fd)

    def slot(self, archive: int) -> int:
        """The slot (its offset in the file) of an archive: of the catalogue, or added later."""
        if archive < self._archives:
            return _HEADER + archive * _SLOT.size
        return self._later_record(archive - self._archives)

    def child_slot(self, slot: int, child: int) -> int:
        """The slot of a nested container; its parent must be published."""
        _, _, _, children = _SLOT.unpack(self.view(slot, _SLOT.size))
        return int(children) + child * _SLOT.size

    def get(self, slot: int) -> memoryview | None:
        """The published block of a slot, or None."""
        state, offset, length, _ = _SLOT.unpack(self.view(slot, _SLOT.size))
        return self.view(offset, length) if state == READY else None

    def put(self, slot: int, block: bytes, children: int = 0) -> memoryview:
        """Publish a block, with empty slots for its children; hold :meth:`locked` around it."""
        head = children * _SLOT.size
        offset = self._reserve(head + len(block))
        # Not left as holes: to read a hole of a full tmpfs through the mapping would be a SIGBUS.
        self._write(offset, bytes(head))
        self._write(offset + head, block)
        self._write(slot + 8, struct.pack("<QQQ", offset + head, len(block), offset))
        self._write(slot, _WORD.pack(READY))
        return self.view(offset + head, len(block))

    # --- archives that are added later ------------------------------------------------------------

    @property
    def later(self) -> int:
        """How many archives there are beyond those of the catalogue."""
        return int(_WORD.unpack(self.view(_LATER, _WORD.size))[0])

    def later_name(self, number: int) -> bytes:
        """The name of later archive ``number``, counted from 0."""
        offset, length = _RECORD.unpack(self.view(self._later_record(number), _RECORD.size))
        return bytes(self.view(offset, length))

    @contextlib.contextmanager
    def adding(self) -> Iterator[Callable[[bytes], None]]:
        """Hold the lock under which archives are added; what is yielded adds one by its name."""

        def add(name: bytes) -> None:
            number = self.later
            at, offset = self._later_record(number, new=True), self._reserve(len(name))
            self._write(offset, name)
            self._write(at + _SLOT.size, struct.pack("<QQ", offset, len(name)))
            self._write(_LATER, _WORD.pack(number + 1))

        with self.locked(_LATER):
            yield add

    def _later_record(self, number: int, *, new: bool = False) -> int:
        """The offset of a record; ``new``: space for it is reserved where there is none."""
        chunk = (number + (1 << _FIRST_BITS)).bit_length() - 1 - _FIRST_BITS
        within = number + (1 << _FIRST_BITS) - (1 << _FIRST_BITS + chunk)
        at = _LATER_RECORDS + chunk * _WORD.size
        (offset,) = _WORD.unpack(self.view(at, _WORD.size))
        if new and not offset:
            length = _RECORD.size << _FIRST_BITS + chunk
            offset = self._reserve(length)
            self._write(offset, bytes(length))
            self._write(at, _WORD.pack(offset))
        return int(offset) + within * _RECORD.size

    @contextlib.contextmanager
    def locked(self, start: int, on_wait: Callable[[bool], None] | None = None) -> Iterator[None]:
        """Hold the exclusive lock of a slot against other processes; ``on_wait`` as in
        :func:`imagenetfs.system.locks.held`.
        """
        with locks.held(self._fd, start, _SLOT.size, on_wait):
            yield

    def _reserve(self, length: int) -> int:
        with self.locked(0):
            (offset,) = _WORD.unpack(os.pread(self._fd, 8, 0))
            left = _MAPPING - offset % _MAPPING
            if length > left:  # a block does not cross a mapping unless it is larger than one
                offset += left
            end = -(-(offset + length) // 64) * 64
            self._grow(end)
            self._write(0, _WORD.pack(end))
        return int(offset)

    def _grow(self, end: int) -> None:
        length = -(-end // _MAPPING) * _MAPPING
        if os.fstat(self._fd).st_size < length:
            try:
                os.ftruncate(self._fd, length)
            except OSError as error:
                raise _no_space(error) from error

    def _write(self, offset: int, data: bytes) -> None:
        try:
            write_all(self._fd, data, offset)
        except OSError as error:
            raise _no_space(error) from error

    def view(self, offset: int, length: int) -> memoryview:
        """Bytes of the file, mapped for reading."""
        number, start = divmod(offset, _MAPPING)
        if start + length > _MAPPING:  # larger than a mapping: a mapping of its own
            return self._map(number, -(-(start + length) // _MAPPING))[start : start + length]
        mapping = self._mappings.get(number)
        if mapping is None:
            mapping = self._mappings[number] = self._map(number, 1)
        return mapping[start : start + length]

    def _map(self, number: int, mappings: int) -> memoryview:
        return memoryview(
            mmap.mmap(
                self._fd,
                mappings * _MAPPING,
                flags=mmap.MAP_SHARED,
                prot=mmap.PROT_READ,
                offset=number * _MAPPING,
            )
        )

    @property
    def used(self) -> int:
        """Bytes taken so far."""
        (used,) = _WORD.unpack(os.pread(self._fd, 8, 0))
        return int(used)


def _no_space(error: OSError) -> NoSpaceError:
    return NoSpaceError(
        f"no room for the member index in the temporary directory ({error.strerror}); "
        "set TMPDIR to a directory on this node with a few hundred megabytes free."
    )


def _unlinked_file(directory: Path | None) -> int:
    """A descriptor of a nameless file on local disk; in memory where the
    disk is full or read-only.
    """
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            space = os.fstatvfs(file.fileno())
            if space.f_bavail * space.f_frsize < _LEAST_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return fcntl.fcntl(file.fileno(), fcntl.F_DUPFD_CLOEXEC, 3)
    except OSError:
        return os.memfd_create("imagenetfs-index", os.MFD_CLOEXEC)
