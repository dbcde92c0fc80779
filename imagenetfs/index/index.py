"""Member tables on demand: from memory, from the arena, from an index file,
or made from the archive.

A container is built once a mount, by whoever touches it first, under the lock of its slot;
everybody else waits for just that container. What a broken archive has of sound members is served;
the table then carries its problem, and one log line names archive and offset.
"""

from __future__ import annotations

import contextlib
import math
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError, ImagenetfsError, NoEntryError, SourceReadError
from imagenetfs.formats import npz
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.header import is_sound
from imagenetfs.index.archives import OUTER, Archive, Archives, Extent, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array, meta_of
from imagenetfs.index.container import Container
from imagenetfs.index.coordination import BuildCoordinator, Claim
from imagenetfs.index.imported import MARK, HeaderCheck
from imagenetfs.index.index_file import Record, container_key
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.persisted import PersistedTables, Stores
from imagenetfs.index.revalidation import Revalidator
from imagenetfs.index.table import table_of
from imagenetfs.index.table_builder import Scan, build_table, with_heartbeat
from imagenetfs.source.source import WAITING, Source


class BuildInProgressError(Exception):
    """Another process is building this container at the moment."""


class Index:
    """The member tables of all archives of a catalogue."""

    def __init__(
        self,
        source: Source,
        archives: Sequence[Archive],
        arena: Arena,
        *,
        stores: Stores = (),
        sharing: BuildCoordinator | None = None,
        scan: Scan = walk.scan,
        scan_alone: Scan | None = None,
    ) -> None:
        """``stores``: for each group of archive numbers, the places where its index file may be;
        ``sharing``: where it is written, for all that share it.

        ``scan`` reads one header after the other; ``scan_alone`` may have several requests under
        way, for somebody who waits for just one container.
        """
        self.source = source
        self.archives = Archives(archives, arena)
        self._arena = arena
        self._scan = scan
        self._scan_alone = scan_alone or scan
        self.loaded: dict[tuple[int, int], Container] = {}
        """By (archive, inner): the containers whose tables this process has mapped."""
        self._nested: dict[int, Array] = {}
        self._first: dict[int, bytes] = {}
        self._kept = PersistedTables(source, stores)
        self.sharing = sharing or BuildCoordinator()
        self.search_path: object = None
        """Kept as long as the index is: the paths of its files may lead through its descriptors."""
        self.patience = math.inf
        """Seconds: who has waited so long for another process that built
        nothing does not begin anew.
        """
        source.recognise = Revalidator(self)

    def container(self, archive: int, inner: int = OUTER) -> Container:
        """The container, built if need be. Raises ArchiveError, SourceReadError, NoEntryError."""
        container = self.loaded.get((archive, inner))
        if container is None:
            extent = self.extent(archive, inner)
            block = self._block(archive, inner, extent)
            meta, table = meta_of(block), table_of(extent.kind, block)
            check = None
            if MARK in meta and isinstance(table, MemberTable):
                check = HeaderCheck(self.source, extent, table)
            container = Container(extent, table, meta.get("file", 0), check)
            self.loaded[archive, inner] = container
        return container

    def known(self, archive: int, inner: int = OUTER) -> bool:
        """Whether the container has been built already, here or by another process."""
        if (archive, inner) in self.loaded:
            return True
        if not 0 <= archive < len(self.archives):
            return False
        slot = self._arena.slot(archive)
        if inner == OUTER or self._arena.get(slot) is None:
            return inner == OUTER and self._arena.get(slot) is not None
        return self._arena.get(self._arena.child_slot(slot, inner)) is not None

    def meta(self, archive: int, inner: int = OUTER) -> dict[str, Any] | None:
        """What a container's block says of itself, and what it is known again by;
        None while there is none.
        """
        if not self.known(archive, inner):
            return None
        block = self._arena.get(self._slot(archive, inner))
        return meta_of(block) if block is not None else None

    def nested(self, archive: int) -> Array:
        """The rows of an archive's table that are containers themselves:
        inner k is row nested[k].
        """
        rows = self._nested.get(archive)
        if rows is None:
            rows = self._nested[archive] = self.container(archive).members.nested
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
            meta = self.meta(archive)  # whoever knows the table need not ask the source
            size = meta["file"] if meta is not None else self.source.open(entry.path).size
            return Extent(entry.path, 0, size, entry.kind)
        rows = self.nested(archive)
        if not 0 <= inner < len(rows):
            raise NoEntryError(f"no container has the number {archive}.{inner}.")
        container = self.container(archive)
        row = int(rows[inner])
        path, offset, size = container.locate(row)
        if stat.S_ISDIR(container.members.mode(row)):
            return Extent(path, 0, 0, Kind.DIRECTORY)
        if entry.kind is not Kind.TAR:
            return Extent(path, offset, offset + size, Kind.TAR)
        name, runs = container.members.name(row), container.members.sparse.get(row)
        stored = size if runs is None else sum(length for _, length in runs)
        return Extent(path, offset, offset + stored, Kind.TAR, True, name, runs, size)

    def array(self, archive: int) -> npz.Array:
        """The array that holds the pictures of an npz. Raises ArchiveError where there is none."""
        members = self.container(archive).members
        if not isinstance(members, ArrayTable):
            raise ArchiveError(f"{self.title(archive)} is no npz file")
        return members.data

    def check(self, archive: int) -> str | None:
        """What is wrong with a tar, as far as its first and last bytes tell; None where nothing is.

        A tar that does not end in zeros is scanned whole, to know.
        """
        with self.source.opened(self.archives[archive].path) as file:
            sound = file.size >= 1024 and not any(file.read(file.size - 1024, 1024))
            if sound:
                first = self._first[archive] = file.read(0, 512)
                sound = is_sound(first)
        if sound and not self.known(archive):
            return None
        return self.container(archive).members.problem

    def first_block(self, archive: int) -> bytes:
        """The first 512 bytes of a tar that :meth:`check` has looked at; nothing of others."""
        return self._first.get(archive, b"")

    def title(self, archive: int, inner: int = OUTER) -> str:
        """How a log line names a container."""
        name = self.archives[archive].path
        if inner != OUTER:
            with contextlib.suppress(
                ImagenetfsError
            ):  # the archive has gone, or is another one now
                name = self.key(archive, inner).replace(b"\0", b": ")
        return os.fsdecode(name)

    def after_fork(self) -> None:
        """Call once in a child: locks of its own."""
        self._arena.after_fork()

    # --- building ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def reserved(self, archive: int, inner: int) -> Iterator[None]:
        """Nobody else builds this container meanwhile.

        Raises BeingBuiltError where somebody is at it.
        """

        def give_up(waits: bool) -> None:
            raise BuildInProgressError

        with self._arena.locked(self._slot(archive, inner), give_up):
            yield

    def prepare(self, archive: int, inner: int, scan: Scan | None = None) -> Callable[[], bytes]:
        """A call that makes the container's block, for a thread; see :meth:`adopt`.

        It opens what it reads for itself: the source's own open files do not serve threads. Without
        ``scan`` it is for a source that answers from memory.
        """
        entry = self.archives[archive]
        if inner != OUTER or entry.kind is Kind.DIRECTORY:
            extent = self.extent(archive, inner)
            return lambda: self._make(archive, inner, extent, scan)

        def make() -> bytes:
            with self.source.opened(entry.path) as file:
                extent = Extent(entry.path, 0, file.size, entry.kind)
            return self._make(archive, inner, extent, scan)

        return make

    def _make(self, archive: int, inner: int, extent: Extent, scan: Scan | None) -> bytes:
        stored = self._kept.block(archive, inner, self.key(archive, inner), extent)
        if stored is not None:
            return stored
        return build_table(self.source, scan or self._scan, extent, inner, direct=scan is None)

    def adopt(self, archive: int, inner: int, block: bytes) -> int:
        """Publish what a thread made, unless somebody else did so first.

        Returns the member count.
        """
        slot = self._slot(archive, inner)
        with self._arena.locked(slot):
            if self._arena.get(slot) is None:
                self.publish(archive, inner, block)
        meta = self.meta(archive, inner)
        return int(meta["rows"]) if meta is not None else 0

    def _block(self, archive: int, inner: int, extent: Extent) -> memoryview:
        slot = self._slot(archive, inner)
        block = self._arena.get(slot)
        if block is not None:
            return block
        started = time.monotonic()
        with self._arena.locked(slot, self._show_waiting):
            block = self._arena.get(slot)  # another process may have built it meanwhile
            if block is None:
                if time.monotonic() - started > self.patience:
                    title = self.title(archive, inner)
                    raise SourceReadError(
                        f"{title} could not be read: others waited for it in vain."
                    )
                block = self.publish(archive, inner, self._make_for_all(archive, inner, extent))
        return block

    def _make_for_all(self, archive: int, inner: int, extent: Extent) -> bytes:
        """The block of a container that somebody waits for: found, or
        made once for all who share.
        """
        key = self.key(archive, inner)
        find = partial(self._kept.block, archive, inner, key, extent)
        found = find()
        if found is not None:
            return found
        claim = Claim()
        if extent.kind is Kind.TAR:
            claim = self.sharing.claim(archive, partial(find, now=True), self._show_waiting)
        if claim.found is not None:
            return claim.found
        lease = claim.lease
        if lease is None:
            return build_table(self.source, self._scan_alone, extent, inner)
        try:
            scan = with_heartbeat(self._scan_alone, lease.heartbeat)
            block = build_table(self.source, scan, extent, inner)
            self.sharing.publish(archive, self._kept.record(key, extent, block))
        finally:
            lease.release()
        return block

    def _show_waiting(self, waits: bool) -> None:
        self.source.meter[WAITING] = time.monotonic_ns() if waits else 0

    def _slot(self, archive: int, inner: int) -> int:
        slot = self._arena.slot(archive)
        return slot if inner == OUTER else self._arena.child_slot(slot, inner)

    def publish(self, archive: int, inner: int, block: bytes) -> memoryview:
        """Put a block into the arena; the slot's lock is held or nobody else builds it."""
        slot = self._slot(archive, inner)
        kind = self.archives[archive].kind
        children = 0 if inner != OUTER else len(table_of(kind, memoryview(block)).nested)
        return self._arena.put(slot, block, children)

    # --- index files ------------------------------------------------------------------------------

    def look_again(self, archives: Sequence[int]) -> None:
        """See what others have published for these archives meanwhile."""
        self._kept.look_again(archives)

    def is_complete(self, archives: Sequence[int]) -> bool:
        """Whether complete index files have these archives, be they still true or not."""
        return all(self._kept.is_complete(n, self.key(n, OUTER)) for n in archives)

    def is_kept(self, archive: int, inner: int) -> bool:
        """Whether an index file has the table of a built container, or would not keep it."""
        block = self._arena.get(self._slot(archive, inner))
        return block is None or (
            self._kept.has(archive, self.key(archive, inner), block)
            or self.record(archive, inner) is None
        )

    def key(self, archive: int, inner: int) -> bytes:
        """The container's name in an index file."""
        path = self.archives[archive].path
        if inner == OUTER:
            return container_key(path)
        return container_key(
            path, self.container(archive).members.name(int(self.nested(archive)[inner]))
        )

    def record(self, archive: int, inner: int, present: Record | None = None) -> Record | None:
        """What an index file keeps of a built container, ``present`` itself where it says the same;
        None for what it does not keep. Nothing is read of the archive.
        """
        block = self._arena.get(self._slot(archive, inner))
        if block is None:
            return None
        extent = self.extent(archive, inner)
        if present is not None and present.block == block:
            place = (extent.start, extent.end)
            if (present.start, present.stop) == place:
                return present
        return self._kept.record(self.key(archive, inner), extent, bytes(block))
