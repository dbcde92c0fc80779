"""What earlier mounts kept: blocks from index files, used only while they describe what is there.

A tar within a tar is vouched for by its place and the outer tar's identity; everything else is looked at
again (see :mod:`imagenetfs.index.identity`). Thread-safe but for the first look into an index file.
"""

from __future__ import annotations

import logging
import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

from imagenetfs.errors import ArchiveError
from imagenetfs.index.archives import OUTER, Extent, Kind
from imagenetfs.index.identity import changes, sample, tail
from imagenetfs.index.making import changed_ns, join
from imagenetfs.index.members import Members
from imagenetfs.index.names import harmless
from imagenetfs.index.store import Place, Record, StoreFile, open_store
from imagenetfs.source.directory import Source

log = logging.getLogger(__name__)

_OUTER_SAMPLES = 16
_INNER_SAMPLES = 2
_CROWD = 64
"""Archives that share an index file with so many others are looked at as briefly as inner ones."""

Stores = Sequence[tuple[frozenset[int], Sequence[Path]]]


class Kept:
    """The index files of a catalogue; ``stores`` names, for each group of archives, where they may be."""

    def __init__(self, source: Source, stores: Stores) -> None:
        self._source = source
        self._places = {number: paths for group, paths in stores for number in group}
        self._crowded = {n for group, _ in stores if len(group) > _CROWD for n in group}
        self._files: dict[Path, StoreFile | None] = {}
        self._opening = threading.Lock()

    def block(self, archive: int, inner: int, key: bytes, extent: Extent) -> bytes | None:
        """The block from an index file, if one has it and it still describes the container."""
        for path in self._places.get(archive, ()):
            store = self._open(path)
            place = store.place(key) if store else None
            if store is None or place is None:
                continue
            if (place.start, place.stop) != (extent.start, extent.end):
                continue
            try:
                block = store.block(place)
                if self._identical(archive, inner, extent, block, place):
                    return block
                what = (
                    "directory has changed"
                    if extent.kind is Kind.DIRECTORY
                    else "archive is another one"
                )
                reason = f"the {what} now"
            except ArchiveError as error:
                reason = error.reason
            log.warning(
                "index file %s: %s; indexing %s anew", path, reason, os.fsdecode(extent.path)
            )
        return None

    def _open(self, path: Path) -> StoreFile | None:
        with self._opening:
            if path not in self._files:
                self._files[path] = open_store(path)
            return self._files[path]

    def _identical(
        self, archive: int, inner: int, extent: Extent, block: bytes, place: Place
    ) -> bool:
        if extent.is_part:
            return True
        if extent.kind is not Kind.DIRECTORY:
            return self._look(archive, inner, extent, block) == (place.file_size, place.sample)
        members = Members(memoryview(block))
        if any(harmless(name) != name for name in members.names()):
            raise ArchiveError("a listing has a name that leads elsewhere")
        below = _directories(members) if inner != OUTER else []
        changed = {
            name: changed_ns(self._source, join(extent.path, name)) for name in [b"", *below]
        }
        return (len(members), changes(changed)) == (place.file_size, place.sample)

    def _look(self, archive: int, inner: int, extent: Extent, block: bytes) -> tuple[int, int]:
        """(size of the file, checksum of what is looked at) of a tar or npz, read now."""
        with self._source.opened(extent.path) as file:
            if extent.kind is Kind.NPZ:
                return file.size, tail(file.read, file.size)
            few = inner != OUTER or archive in self._crowded
            samples = _INNER_SAMPLES if few else _OUTER_SAMPLES
            return file.size, sample(file.read, Members(memoryview(block)), samples)

    def record(
        self, archive: int, inner: int, key: bytes, extent: Extent, block: bytes
    ) -> Record | None:
        """What an index file keeps of a block; None for what cannot be known again."""
        if extent.kind is Kind.DIRECTORY:
            members = Members(memoryview(block))
            if "unsettled" in members.meta:
                return None
            size, digest = len(members), members.meta["changes"]
        elif extent.is_part:
            size, digest = 0, 0
        else:
            size, digest = self._look(archive, inner, extent, block)
        return Record(key, extent.start, extent.end, size, digest, block)


def _directories(members: Members) -> list[bytes]:
    return [members.name(row) for row in range(len(members)) if stat.S_ISDIR(members.mode(row))]
