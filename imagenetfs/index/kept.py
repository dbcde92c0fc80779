"""What earlier mounts kept: blocks from index files, used only while they describe what is there.

Everything is looked at again, a tar within a tar too: another archive may have one of the same size at the
same place (see :mod:`imagenetfs.index.identity`). Thread-safe but for the first look into an index file.
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
from imagenetfs.index.columns import unpack
from imagenetfs.index.identity import changes, sample, tail
from imagenetfs.index.making import changed_ns, join
from imagenetfs.index.members import Members
from imagenetfs.index.names import harmless
from imagenetfs.index.store import Place, Record, StoreFile, open_store
from imagenetfs.source.directory import Source

log = logging.getLogger(__name__)

Stores = Sequence[tuple[frozenset[int], Sequence[Path]]]


class Kept:
    """The index files of a catalogue; ``stores`` names, for each group of archives, where they may be."""

    def __init__(self, source: Source, stores: Stores) -> None:
        self._source = source
        self._places = {number: paths for group, paths in stores for number in group}
        self._files: dict[Path, StoreFile | None] = {}
        self._opening = threading.Lock()

    def block(self, archive: int, inner: int, key: bytes, extent: Extent) -> bytes | None:
        """The block from an index file, if one has it and it still describes the container."""
        for path in self._places.get(archive, ()):
            store = self._open(path)
            place = store.place(key) if store else None
            if store is None or place is None:
                continue
            try:
                block = store.block(place)
                same_place = (place.start, place.stop) == (extent.start, extent.end)
                if same_place and self._identical(inner, extent, block, place):
                    return block
                what = (
                    "directory has changed"
                    if extent.kind is Kind.DIRECTORY
                    else "archive is another one"
                )
                reason = f"the {what} now"
            except ArchiveError as error:
                reason = error.reason
            except OSError as error:  # ESTALE: renamed over on another node
                reason = f"it cannot be read ({error.strerror})"
            log.warning(
                "index file %s: %s; indexing %s anew", path, reason, os.fsdecode(extent.path)
            )
        return None

    def _open(self, path: Path) -> StoreFile | None:
        with self._opening:
            if path not in self._files:
                self._files[path] = open_store(path)
            return self._files[path]

    def _identical(self, inner: int, extent: Extent, block: bytes, place: Place) -> bool:
        if extent.kind is not Kind.DIRECTORY:
            return self._is_same_file(extent, block)
        members = Members(memoryview(block))
        if any(harmless(name) != name for name in members.names()):
            raise ArchiveError("a listing has a name that leads elsewhere")
        below = _directories(members) if inner != OUTER else []
        changed = {
            name: changed_ns(self._source, join(extent.path, name)) for name in [b"", *below]
        }
        return (len(members), changes(changed)) == (place.file_size, place.sample)

    def _is_same_file(self, extent: Extent, block: bytes) -> bool:
        """Whether a tar or npz still is what the block was made from."""
        _, meta = unpack(memoryview(block))
        with self._source.opened(extent.path) as file:
            if file.size != meta["file"]:
                return False
            if extent.kind is Kind.NPZ:
                return bool(tail(file.read, file.size) == meta["sample"])
            return bool(sample(file.read, meta["at"]) == meta["sample"])

    @staticmethod
    def record(key: bytes, extent: Extent, block: bytes) -> Record | None:
        """What an index file keeps of a block; None for what cannot be known again."""
        _, meta = unpack(memoryview(block))
        if extent.kind is not Kind.DIRECTORY:
            return Record(key, extent.start, extent.end, meta["file"], meta["sample"], block)
        if "unsettled" in meta:
            return None
        return Record(key, extent.start, extent.end, meta["rows"], meta["changes"], block)


def _directories(members: Members) -> list[bytes]:
    return [members.name(row) for row in range(len(members)) if stat.S_ISDIR(members.mode(row))]
