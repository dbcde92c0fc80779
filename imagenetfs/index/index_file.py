"""Index files: one immutable file a group of archives (a split), published by rename.

::

    0    8  magic b"INFSIDX1"
    8    4  format version
    12   4  crc32 of the directory
    16   8  length of the directory
    24   8  zero
    32  ..  directory: a block of columns, one row a container (see below)
    ..      the containers' blocks, back to back

The directory's columns: ``names`` and ``ends`` (path of the archive, NUL, name of the
inner container), ``starts`` and ``stops`` (the container's extent in its file, bytes),
``sizes`` of the file, ``samples`` (crc32 of sampled header blocks), ``offsets``,
``lengths`` and ``crcs`` of the blocks.

A file is read with ``pread``, never mapped: another node may rename over it at any time. Every
block's checksum is verified on the bytes that are then used. A file that does not hold is as
good as none. A file is believed only when it and its directory belong to the user or to root
and no other user may write them. Records stand in the order of their keys, so that the same
tables make the same file.
"""

from __future__ import annotations

import contextlib
import glob
import logging
import os
import secrets
import stat
import struct
import time
import weakref
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.index.columns import pack, unpack
from imagenetfs.system.process_identity import ProcessIdentity, this_process

FORMAT_VERSION = 5
_MAGIC = b"INFSIDX1"
_HEAD = struct.Struct("<8sIIQQ")

_OPEN_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC

_MOST_DIRECTORY = 1 << 28
"""Bytes of a directory: a hundred for each of as many archives as a mount may have."""

_LEFT_BEHIND_SECONDS = 3600.0
"""What another node has not finished writing after this will not be finished."""

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
class BlockEntry:
    """A row of the directory: the record's fields, and where its block lies in the index file."""

    start: int
    stop: int
    file_size: int
    sample: int
    offset: int
    length: int
    crc: int


class IndexFile:
    """One index file, opened and its directory verified. Closed with the last reference to it, at
    the latest: threads may still read what has been renamed over.
    """

    def __init__(self, path: Path, *, anyones: bool = False) -> None:
        """Raises OSError where there is none, ArchiveError where it is not to be believed.

        ``anyones``: believe a file of any owner, because its content will be verified otherwise.
        """
        self.path = path
        self._fd = os.open(path, _OPEN_FLAGS) if anyones else _open_believed(path)
        self._closer = weakref.finalize(self, os.close, self._fd)
        try:
            self.version = _version(os.fstat(self._fd))
            self.is_complete = False
            try:
                self._entries = self._read_directory()
            except (ValueError, KeyError, TypeError, OverflowError) as error:
                raise ArchiveError(f"the index file's directory is damaged ({error})") from None
        except BaseException:
            self.close()
            raise

    def _read_directory(self) -> dict[bytes, BlockEntry]:
        head = os.pread(self._fd, _HEAD.size, 0)
        if len(head) < _HEAD.size:
            raise ArchiveError("the index file is cut off")
        magic, version, crc, length, _ = _HEAD.unpack(head)
        if magic != _MAGIC or version != FORMAT_VERSION:
            raise ArchiveError("the index file has another format")
        file_size = os.fstat(self._fd).st_size
        if length > file_size:
            raise ArchiveError("the index file is cut off")
        if length > _MOST_DIRECTORY:
            raise ArchiveError("the index file's directory is longer than one can be")
        block = os.pread(self._fd, length, _HEAD.size)
        if zlib.crc32(block) != crc:
            raise ArchiveError("the index file's directory is damaged")
        columns, meta = unpack(memoryview(block))
        self.is_complete = bool(meta.get("complete"))
        names, start, entries = columns["names"].tobytes(), 0, {}
        rows = np.stack(
            [columns[c].astype(np.int64) for c in ("starts", "stops", "sizes", "samples")]
            + [columns[c].astype(np.int64) for c in ("offsets", "lengths", "crcs")],
            axis=1,
        )
        # What is above 2**63 is negative now.
        is_outside = (rows < 0).any() or (rows[:, 4:6] > file_size).any()
        if is_outside or (rows[:, 4] + rows[:, 5] > file_size).any():
            raise ArchiveError("the index file is cut off")
        for end, row in zip(columns["ends"].tolist(), rows.tolist(), strict=True):
            entries[names[start:end]] = BlockEntry(*row)
            start = end
        return entries

    def entry(self, key: bytes) -> BlockEntry | None:
        """The directory's row for a container, or None."""
        return self._entries.get(key)

    def keys(self) -> list[bytes]:
        """All containers in it."""
        return list(self._entries)

    def block(self, entry: BlockEntry) -> bytes:
        """The verified block; ArchiveError where it is damaged."""
        try:
            block = os.pread(self._fd, entry.length, entry.offset)
        except OSError as error:  # ESTALE: another node has renamed a newer file over it
            raise ArchiveError(f"the index file cannot be read ({error.strerror})") from error
        if len(block) != entry.length or zlib.crc32(block) != entry.crc:
            raise ArchiveError("a block of the index file is damaged", entry.offset)
        return block

    def records(self) -> list[Record]:
        """Every record that holds; a damaged one is left out."""
        found = []
        for key, entry in self._entries.items():
            with contextlib.suppress(ArchiveError):
                block = self.block(entry)
                found.append(
                    Record(key, entry.start, entry.stop, entry.file_size, entry.sample, block)
                )
        return found

    def close(self) -> None:
        """Close the descriptor."""
        self._closer()


def _open_believed(path: Path) -> int:
    """A descriptor of the file, when it and its directory are of an owner to be believed."""
    directory = os.open(path.parent, _DIRECTORY_FLAGS)
    try:
        _check_owner(os.fstat(directory), "index directory")
        file = os.open(path.name, _OPEN_FLAGS, dir_fd=directory)
    finally:
        os.close(directory)
    try:
        status = os.fstat(file)
        _check_owner(status, "index file")
        if not stat.S_ISREG(status.st_mode):
            raise ArchiveError("the index file is no regular file")
    except BaseException:
        os.close(file)
        raise
    return file


def _check_owner(status: os.stat_result, what: str) -> None:
    if status.st_uid not in (os.geteuid(), 0) or status.st_mode & 0o022:
        raise ArchiveError(f"the {what} may be written by others, or belongs to another user")


FileVersion = tuple[int, int, int, int]
"""What changes when another index file is renamed over one."""


def _version(status: os.stat_result) -> FileVersion:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def version_of(path: Path) -> FileVersion | None:
    """The version of the file that is there now; None where there is none."""
    try:
        # By opening it: a network file system then asks the server, and not its own memory.
        fd = os.open(path, _OPEN_FLAGS)
    except OSError:
        return None
    try:
        return _version(os.fstat(fd))
    finally:
        os.close(fd)


def display_path(path: Path) -> Path:
    """How a person knows an index file that is reached through a descriptor of its directory."""
    if not path.is_relative_to("/proc/self/fd"):
        return path
    with contextlib.suppress(OSError):
        return path.parent.readlink() / path.name
    return path


def open_index_file(path: Path, tell: Callable[[str], None] = log.warning) -> IndexFile | None:
    """The index file at ``path``, or None where there is none that holds: one line says why."""
    try:
        return IndexFile(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        reason = f"cannot be read ({error.strerror})"
    except ArchiveError as error:
        reason = f"is not used: {error.reason}"
    tell(f"index file {display_path(path)} {reason}; indexing anew")
    return None


def load(path: Path) -> tuple[dict[bytes, Record], bool]:
    """What the index file at ``path`` has that holds, by key, and whether it is complete; nothing
    where there is no such file.
    """
    # Another call that wanted to use the file has logged what is wrong with it.
    store = open_index_file(path, log.debug)
    if store is None:
        return {}, False
    try:
        return {record.key: record for record in store.records()}, store.is_complete
    finally:
        store.close()


def records_in(path: Path) -> dict[bytes, Record]:
    """The records alone."""
    return load(path)[0]


def merge_missing(path: Path, more: Iterable[Record]) -> None:
    """Add records to the index file that is there now, but for those that it has.

    Raises OSError.
    """
    write_index_file(path, ({record.key: record for record in more} | records_in(path)).values())


def merge(path: Path, more: Iterable[Record]) -> None:
    """Add records to the index file that is there now, those of the same key replaced.

    Raises OSError.
    """
    write_index_file(path, (records_in(path) | {record.key: record for record in more}).values())


def temp_path(path: Path) -> Path:
    """A name in the same directory that no other process uses, on any node;
    :func:`remove_stale_temp_files` finds it.
    """
    here = this_process()
    unique = f"{here.host}.{here.node}.{here.pid}.{here.started}.{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.{unique}")


def remove_stale_temp_files(path: Path) -> None:
    """Take away what processes that died left beside an index file. Raises nothing."""
    for left in path.parent.glob(f".{glob.escape(path.stem)}.*"):
        with contextlib.suppress(OSError, ValueError):
            *host, node, pid, started, _ = left.name.split(".")
            age = time.time() - left.stat().st_mtime
            if (
                ProcessIdentity(host[-1], node, int(pid), int(started)).is_dead
                or age > _LEFT_BEHIND_SECONDS
            ):
                left.unlink(missing_ok=True)


def make_directory(path: Path) -> None:
    """The directory of an index file: others may read what is in it, as
    far as the umask lets them.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)


def write_index_file(path: Path, given: Iterable[Record], *, complete: bool = False) -> None:
    """Write an index file beside its name, sync it and rename it into place. Raises OSError.

    ``complete``: all that belongs in it is in it.
    """
    records = sorted(given, key=lambda record: record.key)
    make_directory(path)
    directory = _directory(records, 0, complete)
    # The offsets' width may depend on the directory's own length: lay it out again until it holds.
    while True:
        again = _directory(records, _HEAD.size + len(directory), complete)
        if len(again) == len(directory):
            break
        directory = again
    head = _HEAD.pack(_MAGIC, FORMAT_VERSION, zlib.crc32(again), len(again), 0)
    new = temp_path(path)
    try:
        with new.open("xb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(head + again)
            for record in records:
                file.write(record.block)
            file.flush()
            os.fsync(file.fileno())
        new.rename(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def _directory(records: list[Record], first_block: int, complete: bool) -> bytes:
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
        {"rows": len(records), **({"complete": 1} if complete else {})},
    )
