"""Index files: one immutable file a group of archives (a split), published by rename.

::

    0    8  magic b"INFSIDX1"
    8    4  format version
    12   4  crc32 of the directory
    16   8  length of the directory
    24   8  zero
    32  ..  directory: a block of columns, one row a container (see below)
    ..      the containers' blocks, back to back

The directory's columns: ``names`` and ``ends`` (path of the archive, NUL, name of the inner container),
``starts`` and ``stops`` (the container's extent in its file, bytes), ``sizes`` of the file,
``samples`` (crc32 of sampled header blocks), ``offsets``, ``lengths`` and ``crcs`` of the blocks.

A file is read with ``pread``, never mapped: another node may rename over it at any time. Every block's
checksum is verified on the bytes that are then used. A file that does not hold is as good as none.
Files are believed only when they belong to the user or to root and nobody else may write them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import pack, unpack

FORMAT_VERSION = 3
_MAGIC = b"INFSIDX1"
_HEAD = struct.Struct("<8sIIQQ")

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Record:
    """One container of an index file: which bytes it describes, and how to know them again."""

    key: bytes
    start: int
    stop: int
    file_size: int
    sample: int
    block: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the directory: the record's fields, and where its block lies in the index file."""

    start: int
    stop: int
    file_size: int
    sample: int
    offset: int
    length: int
    crc: int


def container_key(path: bytes, inner: bytes = b"") -> bytes:
    """The name of a container in an index file."""
    return path + b"\0" + inner


class StoreFile:
    """One index file, opened and its directory verified."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where there is none, ArchiveError where it is not to be believed."""
        self.path = path
        self._fd = os.open(path, _OPEN_FLAGS)
        try:
            _check_owner(os.fstat(self._fd))
            self._places = self._read_directory()
        except BaseException:
            self.close()
            raise

    def _read_directory(self) -> dict[bytes, Place]:
        head = os.pread(self._fd, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            raise ArchiveError("the index file is cut off")
        magic, version, crc, length, _ = _HEAD.unpack(head)
        if magic != _MAGIC or version != FORMAT_VERSION:
            raise ArchiveError("the index file has another format")
        if length > os.fstat(self._fd).st_size:
            raise ArchiveError("the index file is cut off")
        block = os.pread(self._fd, length, _HEAD.size)
        if zlib.crc32(block) != crc:
            raise ArchiveError("the index file's directory is damaged")
        columns, _ = unpack(memoryview(block))
        names, start, places = columns["names"].tobytes(), 0, {}
        rows = np.stack(
            [columns[c].astype(np.int64) for c in ("starts", "stops", "sizes", "samples")]
            + [columns[c].astype(np.int64) for c in ("offsets", "lengths", "crcs")],
            axis=1,
        ).tolist()
        for end, row in zip(columns["ends"].tolist(), rows, strict=True):
            places[names[start:end]] = Place(*row)
            start = end
        return places

    def place(self, key: bytes) -> Place | None:
        """The directory's row for a container, or None."""
        return self._places.get(key)

    def keys(self) -> list[bytes]:
        """All containers in it."""
        return list(self._places)

    def block(self, place: Place) -> bytes:
        """The verified block; ArchiveError where it is damaged."""
        try:
            block = os.pread(self._fd, place.length, place.offset)
        except OSError as error:  # ESTALE: another node has renamed a newer file over it
            raise ArchiveError(f"the index file cannot be read ({error.strerror})") from error
        if len(block) != place.length or zlib.crc32(block) != place.crc:
            raise ArchiveError("a block of the index file is damaged", place.offset)
        return block

    def records(self) -> list[Record]:
        """Every record that holds; a damaged one is left out."""
        found = []
        for key, place in self._places.items():
            with contextlib.suppress(ArchiveError):
                block = self.block(place)
                found.append(
                    Record(key, place.start, place.stop, place.file_size, place.sample, block)
                )
        return found

    def close(self) -> None:
        """Close the descriptor."""
        os.close(self._fd)


def _check_owner(status: os.stat_result) -> None:
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
        raise ArchiveError("the index file may be written by others, or is somebody else's")
    if not stat.S_ISREG(status.st_mode):
        raise ArchiveError("the index file is no regular file")


def open_store(path: Path) -> StoreFile | None:
    """The index file at ``path``, or None with a log line where there is none that holds."""
    try:
        return StoreFile(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("index file %s cannot be read (%s); indexing anew", path, error.strerror)
    except ArchiveError as error:
        log.warning("index file %s is not used: %s; indexing anew", path, error.reason)
    return None


def write_store(path: Path, records: list[Record]) -> None:
    """Write an index file beside its name, sync it and rename it into place. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    directory = _directory(records, 0)
    # The offsets' width may depend on the directory's own length: lay it out again until it holds.
    while len(again := _directory(records, _HEAD.size + len(directory))) != len(directory):
        directory = again
    head = _HEAD.pack(_MAGIC, FORMAT_VERSION, zlib.crc32(again), len(again), 0)
    unique = f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"
    beside = path.with_name(f".{path.name}.{unique}")
    try:
        with beside.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(head + again)
            for record in records:
                file.write(record.block)
            file.flush()
            os.fsync(file.fileno())
        beside.rename(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _directory(records: list[Record], first_block: int) -> bytes:
    """The directory's block. All columns have a fixed width, so its length is that of its rows."""
    lengths = np.array([len(record.block) for record in records], dtype=np.int64)
    offsets = first_block + np.concatenate(([0], np.cumsum(lengths)))[:-1]

    def column(field: str) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
        return np.array([getattr(record, field) for record in records], dtype=np.uint64)

    return pack(
        {
            "names": np.frombuffer(b"".join(record.key for record in records), dtype=np.uint8),
            "ends": np.cumsum([len(record.key) for record in records], dtype=np.uint64),
            "starts": column("start"),
            "stops": column("stop"),
            "sizes": column("file_size"),
            "samples": column("sample"),
            "offsets": offsets.astype(np.uint64),
            "lengths": lengths.astype(np.uint64),
            "crcs": np.array([zlib.crc32(record.block) for record in records], dtype=np.uint64),
        },
        {"rows": len(records)},
    )
