"""Member tables on demand: from memory, from the arena, from an index file, or by scanning.

A container is built once a mount, by whoever touches it first, under the lock of its slot; everybody
else waits for just that container. What a broken archive has of sound members is served; the table
then carries its problem, and one log line names archive and offset.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from imagenetfs.errors import ArchiveError, NoEntryError
from imagenetfs.formats import tar
from imagenetfs.formats.tar_header import is_sound
from imagenetfs.index.archives import OUTER, Archive, Extent, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.columns import Array
from imagenetfs.index.identity import sample
from imagenetfs.index.members import Members, Rows, encode
from imagenetfs.index.store import Record, StoreFile, container_key, open_store
from imagenetfs.source.directory import Source, SourceFile

log = logging.getLogger(__name__)

_OUTER_SAMPLES = 16
_INNER_SAMPLES = 2


class Scan(Protocol):
    """A tar scanner: fills ``into`` from bytes [start, end); raises ArchiveError where they end being sound."""

    def __call__(
        self, read_at: tar.ReadAt, start: int, end: int, into: tar.MemberColumns
    ) -> object: ...


class Container:
    """A member table together with where its members' bytes are."""

    __slots__ = ("extent", "members")

    def __init__(self, extent: Extent, members: Members) -> None:
        self.extent = extent
        self.members = members

    def locate(self, row: int) -> tuple[bytes, int, int]:
        """(path of the file in the source, offset, size) of a row's content, in bytes."""
        if self.extent.kind is Kind.TAR:
            return self.extent.path, self.members.offset(row), self.members.size(row)
        path = self.extent.path + b"/" if self.extent.path else b""
        return path + self.members.name(row), 0, self.members.size(row)


class Index:
    """The member tables of all archives of a catalogue."""

    def __init__(
        self,
        source: Source,
        archives: Sequence[Archive],
        arena: Arena,
        *,
        stores: Sequence[tuple[frozenset[int], Sequence[Path]]] = (),
        scan: Scan = tar.scan,
    ) -> None:
        """``stores``: for each group of archive numbers, the places where its index file may be."""
        self.source = source
        self.archives = archives
        self._arena = arena
        self._scan = scan
        self._containers: dict[tuple[int, int], Container] = {}
        self._nested: dict[int, Array] = {}
        self._places = {number: paths for group, paths in stores for number in group}
        self._stores: dict[Path, StoreFile | None] = {}
        self._trusted: set[int] = set()

    def container(self, archive: int, inner: int = OUTER) -> Container:
        """The container, built if need be. Raises ArchiveError, SourceReadError, NoEntryError."""
        container = self._containers.get((archive, inner))
        if container is None:
            extent = self.extent(archive, inner)
            members = Members(self._block(archive, inner, extent))
            container = self._containers[archive, inner] = Container(extent, members)
        return container

    def known(self, archive: int, inner: int = OUTER) -> bool:
        """Whether the container has been built already, here or by another process."""
        if (archive, inner) in self._containers:
            return True
        if not 0 <= archive < len(self.archives):
            return False
        slot = self._arena.slot(archive)
        if inner == OUTER or self._arena.get(slot) is None:
            return inner == OUTER and self._arena.get(slot) is not None
        return self._arena.get(self._arena.child_slot(slot, inner)) is not None

    def nested(self, archive: int) -> Array:
        """The rows of an archive's table that are containers themselves: inner k is row nested[k]."""
        rows = self._nested.get(archive)
        if rows is None:
            columns = self.container(archive).members.columns
            rows = columns.get("nested", np.zeros(0, dtype=np.int64))
            self._nested[archive] = rows
        return rows

    def inner_of_row(self, archive: int, row: int) -> int:
        """The inner container that a row of the outer table is, or OUTER where it is none."""
        rows = self.nested(archive)
        at = int(np.searchsorted(rows, row))
        return at if at < len(rows) and rows[at] == row else OUTER

    def extent(self, archive: int, inner: int = OUTER) -> Extent:
        """Where a container's bytes lie."""
        if not 0 <= archive < len(self.archives):
            raise NoEntryError(f"no archive has the number {archive}.")
        entry = self.archives[archive]
        if inner == OUTER:
            if entry.kind is Kind.DIRECTORY:
                return Extent(entry.path, 0, 0, Kind.DIRECTORY)
            return Extent(entry.path, 0, self.source.open(entry.path).size, Kind.TAR)
        rows = self.nested(archive)
        if not 0 <= inner < len(rows):
            raise NoEntryError(f"no container has the number {archive}.{inner}.")
        container = self.container(archive)
        row = int(rows[inner])
        path, offset, size = container.locate(row)
        if stat.S_ISDIR(container.members.mode(row)):
            return Extent(path, 0, 0, Kind.DIRECTORY)
        return Extent(path, offset, offset + size, Kind.TAR)

    def check(self, archive: int) -> str | None:
        """What is wrong with a tar, as far as its first and last bytes tell; None where nothing is.

        A tar that does not end in zeros is scanned whole, to know.
        """
        with self.source.opened(self.archives[archive].path) as file:
            sound = file.size >= 1024 and not any(file.read(file.size - 1024, 1024))
            sound = sound and is_sound(file.read(0, 512))
        if sound and not self.known(archive):
            return None
        return self.container(archive).members.problem

    def title(self, archive: int, inner: int = OUTER) -> str:
        """How a log line names a container."""
        if inner == OUTER:
            return os.fsdecode(self.archives[archive].path)
        return os.fsdecode(self.key(archive, inner).replace(b"\0", b": "))

    def after_fork(self) -> None:
        """Call once in a child: locks of its own."""
        self._arena.after_fork()

    # --- building ---------------------------------------------------------------------------------

    def prepare(self, archive: int, inner: int) -> Callable[[], bytes]:
        """A call that makes the container's block, for a thread; see :meth:`adopt`."""
        extent = self.extent(archive, inner)
        stored = self._stored(archive, inner, extent)
        if stored is not None:
            return lambda: stored
        return lambda: self.build(extent, inner)

    def adopt(self, archive: int, inner: int, block: bytes) -> int:
        """Publish what a thread made, unless somebody else did so first. Returns the member count."""
        slot = self._slot(archive, inner)
        with self._arena.locked(slot):
            if self._arena.get(slot) is None:
                self.publish(archive, inner, block)
        return len(self.container(archive, inner).members)

    def _block(self, archive: int, inner: int, extent: Extent) -> memoryview:
        slot = self._slot(archive, inner)
        block = self._arena.get(slot)
        if block is not None:
            return block
        with self._arena.locked(slot):
            block = self._arena.get(slot)  # another process may have built it meanwhile
            if block is None:
                made = self._stored(archive, inner, extent) or self.build(extent, inner)
                block = self.publish(archive, inner, made)
        return block

    def _slot(self, archive: int, inner: int) -> int:
        slot = self._arena.slot(archive)
        return slot if inner == OUTER else self._arena.child_slot(slot, inner)

    def publish(self, archive: int, inner: int, block: bytes) -> memoryview:
        """Put a block into the arena; the slot's lock is held or nobody else builds it."""
        slot = self._slot(archive, inner)
        children = (
            0 if inner != OUTER else len(Members(memoryview(block)).columns.get("nested", ()))
        )
        return self._arena.put(slot, block, children)

    def build(self, extent: Extent, inner: int) -> bytes:
        """The block of a container, made from its archive now. Thread-safe."""
        rows, problem = (
            self._scan_tar(extent) if extent.kind is Kind.TAR else self._list(extent, inner)
        )
        meta: dict[str, Any] = {"problem": problem} if problem else {}
        nested = _is_nested(extent.kind) if inner == OUTER else None
        return encode(rows, meta, nested)

    def _scan_tar(self, extent: Extent) -> tuple[Rows, str | None]:
        columns = tar.MemberColumns()
        problem = None
        try:
            with self.source.opened(extent.path) as file:
                self._scan(file.read_up_to, extent.start, extent.end, columns)
        except ArchiveError as error:
            problem = str(error)
            log.warning(
                "%s is broken at byte %d: %s; its %d whole members before that are served",
                os.fsdecode(extent.path),
                error.offset,
                error.reason,
                len(columns.names),
            )
        return _rows(columns), problem

    def _list(self, extent: Extent, inner: int) -> tuple[Rows, str | None]:
        """A directory's own entries; for an inner container all that lies below it."""
        rows, pending = Rows(), [b""]
        while pending:
            below = pending.pop()
            path = b"/".join(part for part in (extent.path, below) if part)
            for entry in self.source.entries(path):
                name = below + b"/" + entry.name if below else entry.name
                _append(rows, name, entry.size, entry.mtime_ns, entry.mode)
                if stat.S_ISLNK(entry.mode):
                    target = self.source.link_target(
                        path + b"/" + entry.name if path else entry.name
                    )
                    rows.links[len(rows.names) - 1] = target
                if inner != OUTER and entry.is_directory:
                    pending.append(name)
        return rows, None

    # --- index files ------------------------------------------------------------------------------

    def _stored(self, archive: int, inner: int, extent: Extent) -> bytes | None:
        """The block from an index file, if one has it and the archive is still the one it describes."""
        if extent.kind is not Kind.TAR:
            return None
        key = self.key(archive, inner)
        for path in self._places.get(archive, ()):
            if path not in self._stores:
                self._stores[path] = open_store(path)
            store = self._stores[path]
            place = store.place(key) if store else None
            if store is None or place is None:
                continue
            if (place.start, place.stop) != (extent.start, extent.end):
                continue
            try:
                block = store.block(place)
                if self._identical(archive, inner, block, place.file_size, place.sample):
                    return block
                reason = "the archive is another one now"
            except ArchiveError as error:
                reason = error.reason
            log.warning(
                "index file %s: %s; indexing %s anew", path, reason, os.fsdecode(extent.path)
            )
        return None

    def _identical(self, archive: int, inner: int, block: bytes, size: int, digest: int) -> bool:
        members = Members(memoryview(block))
        if inner != OUTER and self.archives[archive].kind is Kind.TAR:
            return True  # its extent and the outer archive's identity vouch for it
        extent = self.extent(archive, inner)
        file = self.source.open(extent.path)
        return file.size == size and self.digest(file, inner, members) == digest

    def digest(self, file: SourceFile, inner: int, members: Members) -> int:
        """The sampled headers' checksum of an archive as it is now."""
        return sample(file.read, members, _OUTER_SAMPLES if inner == OUTER else _INNER_SAMPLES)

    def key(self, archive: int, inner: int) -> bytes:
        """The container's name in an index file."""
        path = self.archives[archive].path
        if inner == OUTER:
            return container_key(path)
        return container_key(
            path, self.container(archive).members.name(int(self.nested(archive)[inner]))
        )

    def record(self, archive: int, inner: int, present: Record | None = None) -> Record | None:
        """What an index file keeps of a built container; None for what it does not keep.

        ``present`` is returned as it is where it says the same: nothing is read of the archive then.
        """
        extent = self.extent(archive, inner)
        block = self._arena.get(self._slot(archive, inner))
        if block is None or extent.kind is not Kind.TAR:
            return None
        place = (extent.start, extent.end)
        if (
            present is not None
            and (present.start, present.stop) == place
            and present.block == block
        ):
            return present
        file, members = self.source.open(extent.path), Members(block)
        own_file = inner == OUTER or self.archives[archive].kind is not Kind.TAR
        digest = self.digest(file, inner, members) if own_file else 0
        return Record(
            self.key(archive, inner), extent.start, extent.end, file.size, digest, bytes(block)
        )


def _is_nested(kind: Kind) -> Any:
    """Which rows of an outer table are containers: tars, and in a directory the directories too."""

    def nested(name: bytes, mode: int) -> bool:
        if stat.S_ISDIR(mode):
            return kind is Kind.DIRECTORY
        return stat.S_ISREG(mode) and name.endswith(b".tar")

    return nested


def _rows(columns: tar.MemberColumns) -> Rows:
    return Rows(
        columns.names,
        columns.headers,
        columns.offsets,
        columns.sizes,
        columns.mtimes,
        columns.modes,
        columns.links,
        columns.hardlinks,
        columns.sparse,
    )


def _append(rows: Rows, name: bytes, size: int, mtime_ns: int, mode: int) -> None:
    rows.names.append(name)
    rows.headers.append(0)
    rows.offsets.append(512)
    rows.sizes.append(size)
    rows.mtimes.append(mtime_ns)
    rows.modes.append(mode)
