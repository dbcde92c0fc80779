"""Tables that earlier mounts persisted: blocks from index files, used only while they describe
what the source holds.

Every block is verified when it is loaded, that of a tar within a tar too: another archive may have
one of the same size at the same offset (see :mod:`imagenetfs.index.fingerprint`). Thread-safe.
"""

from __future__ import annotations

import logging
import mmap
import os
import stat
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import OUTER, Extent, Kind
from imagenetfs.index.columns import unpack
from imagenetfs.index.fingerprint import announce_samples, mtimes_crc, sample_crc, tail_crc
from imagenetfs.index.index_file import (
    BlockEntry,
    FileVersion,
    IndexFile,
    Record,
    display_path,
    open_index_file,
    version_of,
)
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.names import sanitize_name
from imagenetfs.index.table_builder import changed_ns, join_path
from imagenetfs.source.source import Source

log = logging.getLogger(__name__)

Stores = Sequence[tuple[frozenset[int], Sequence[Path]]]


_REFRESH_SECONDS = 1.0
"""How often, at most, a newer file is looked for after a miss."""


class PersistedTables:
    """The index files of a catalogue; ``stores`` names, for each group of archives, the paths that
    they may have.

    Another mount or node may publish a newer file at any time: a block that is missing in one is
    looked for in the newer file. Make it before forking: what is wrong with a file is logged once.
    """

    def __init__(self, source: Source, stores: Stores) -> None:
        self._source = source
        self._paths = {number: paths for group, paths in stores for number in group}
        self._files: dict[Path, IndexFile | None] = {}
        self._checked_at: dict[Path, float] = {}
        self._versions: dict[Path, FileVersion | None] = {}
        self._opening = threading.Lock()
        every = dict.fromkeys(path for _, paths in stores for path in paths)
        self._number = {path: number for number, path in enumerate(every)}
        self._warned = mmap.mmap(-1, max(1, len(every)))  # one byte a file, for all processes

    def share(self, archive: int, other: int) -> None:
        """Have the tables of an archive kept where those of another one are."""
        if other in self._paths:
            self._paths[archive] = self._paths[other]

    def after_fork(self) -> None:
        """Call once in a child: the thread that held the lock is not there."""
        self._opening = threading.Lock()

    def close(self) -> None:
        """Close the files that are open."""
        for store in self._files.values():
            if store is not None:
                store.close()
        self._files.clear()

    def block(
        self, archive: int, inner: int, key: bytes, extent: Extent, *, now: bool = False
    ) -> bytes | None:
        """The block from an index file, if one has it and it still describes the container.

        ``now``: look for a newer file at once, however recently that was done.
        """
        for path in self._paths.get(archive, ()):
            store, reason = self._open(path), ""
            for newest in (False, True):
                if newest:
                    newer = self._newer(path, store, now or bool(reason))
                    if newer is None:
                        break
                    store = newer
                entry = store.entry(key) if store is not None else None
                if store is None or entry is None:
                    continue
                try:
                    block = store.block(entry)
                    if self._describes(inner, extent, block, entry):
                        return block
                    changed = extent.kind is Kind.DIRECTORY
                    reason = (
                        "the directory has changed" if changed else "the archive is another one"
                    )
                    reason += f" now; indexing {os.fsdecode(extent.path)} anew"
                except ArchiveError as error:
                    reason = f"{error.reason}; indexing anew"
                except OSError as error:
                    reason = f"it cannot be read ({error.strerror}); indexing anew"
            if reason:
                self._warn(path, f"index file {display_path(path)}: {reason}")
        return None

    def refresh(self, archives: Iterable[int]) -> None:
        """Open what has been published for these archives since."""
        for path in {path for archive in archives for path in self._paths.get(archive, ())}:
            self._newer(path, self._open(path), True)

    def is_complete(self, archive: int, key: bytes) -> bool:
        """Whether an index file is said to be complete and has the
        container ``key``, true or not.
        """
        for path in self._paths.get(archive, ()):
            store = self._open(path)
            for _ in range(2):
                if store is not None and store.is_complete and store.entry(key) is not None:
                    return True
                store = self._newer(path, store, False)
        return False

    def has(self, archive: int, key: bytes, block: memoryview) -> bool:
        """Whether this very block is in an index file."""
        crc, length = zlib.crc32(block), len(block)
        for path in self._paths.get(archive, ()):
            store = self._open(path)
            entry = store.entry(key) if store is not None else None
            if entry is not None and (entry.crc, entry.length) == (crc, length):
                return True
        return False

    def _open(self, path: Path) -> IndexFile | None:
        with self._opening:
            if path not in self._files:
                self._files[path] = self._load(path)
            return self._files[path]

    def _load(self, path: Path) -> IndexFile | None:
        self._checked_at[path] = time.monotonic()
        self._versions[path] = version_of(path)
        return (
            open_index_file(path, lambda line: self._warn(path, line))
            if self._versions[path]
            else None
        )

    def _newer(self, path: Path, than: IndexFile | None, now: bool) -> IndexFile | None:
        """The file that has been renamed over the one that is open, if there is one."""
        with self._opening:
            present = self._files[path]
            if present is not than:  # another thread has opened a newer one
                return present
            if not now and time.monotonic() < self._checked_at[path] + _REFRESH_SECONDS:
                return None
            self._checked_at[path] = time.monotonic()
            if version_of(path) in (None, self._versions[path]):
                return None
            newer = self._load(path)
            if newer is not None:
                self._files[path] = newer
            return newer

    def _warn(self, path: Path, line: str) -> None:
        """Log one line for a file, in the first process that meets it: its other blocks will be
        like this one.
        """
        number = self._number[path]
        if not self._warned[number]:
            self._warned[number] = 1
            log.warning("%s", line)

    def _describes(self, inner: int, extent: Extent, block: bytes, entry: BlockEntry) -> bool:
        """Whether a block still is what the container holds."""
        if (entry.start, entry.stop) != (extent.start, extent.end):
            return False
        if extent.kind is not Kind.DIRECTORY:
            return self._is_same_file(extent, block)
        members = MemberTable(memoryview(block))
        if any(sanitize_name(name) != name for name in members.names()):
            raise ArchiveError("a listing has a name that leads elsewhere")
        below = _directories(members) if inner != OUTER else []
        changed = {
            name: changed_ns(self._source, join_path(extent.path, name)) for name in [b"", *below]
        }
        return (len(members), mtimes_crc(changed)) == (entry.file_size, entry.sample)

    def _is_same_file(self, extent: Extent, block: bytes) -> bool:
        """Whether a tar, zip or npz still is what the block was made from."""
        _, meta = unpack(memoryview(block))
        try:
            size, sample = meta["file"], meta["sample"]
            at = meta["at"] if extent.kind is Kind.TAR else meta.get("at")
        except (KeyError, TypeError) as error:
            raise ArchiveError(f"a block of the index is damaged ({error})") from None
        with self._source.opened(extent.path) as file:
            if file.size != size:
                return False
            if at is None:
                return bool(tail_crc(file.read, size) == sample)
            announce_samples(file.hint, at)
            return bool(sample_crc(file.read, at) == sample)

    @staticmethod
    def record(key: bytes, extent: Extent, block: bytes) -> Record | None:
        """What an index file keeps of a block; None for what cannot be known again."""
        _, meta = unpack(memoryview(block))
        if extent.kind is not Kind.DIRECTORY:
            return Record(key, extent.start, extent.end, meta["file"], meta["sample"], block)
        if "unsettled" in meta:
            return None
        return Record(key, extent.start, extent.end, meta["rows"], meta["changes"], block)


def _directories(members: MemberTable) -> list[bytes]:
    return [members.name(row) for row in range(len(members)) if stat.S_ISDIR(members.mode(row))]
