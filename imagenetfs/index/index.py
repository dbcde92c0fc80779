"""The member tables of a mount's containers, found or built when they are first asked for.

A container is built once a mount, by the process that touches it first; other processes wait for
just that container (see container_builder.py). The sound members of a broken archive are served;
the table then carries its problem, and one log line names archive and offset.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from imagenetfs.errors import ArchiveError, ImagenetfsError, NoEntryError
from imagenetfs.formats import npz
from imagenetfs.formats.tar import walk
from imagenetfs.formats.tar.header import is_sound
from imagenetfs.index.archives import (
    OUTER,
    Archive,
    Archives,
    Extent,
    Kind,
    container_key,
    kind_of_name,
    within,
)
from imagenetfs.index.arena import Arena
from imagenetfs.index.array_table import ArrayTable
from imagenetfs.index.columns import Array, meta_of
from imagenetfs.index.container import Container
from imagenetfs.index.container_builder import ContainerBuilder, Scans, Target
from imagenetfs.index.coordination import BuildCoordinator
from imagenetfs.index.imported import MARK, HeaderCheck
from imagenetfs.index.member_table import MemberTable
from imagenetfs.index.persisted import PersistedTables, Stores
from imagenetfs.index.revalidation import Revalidator
from imagenetfs.index.shared_tables import SharedTables
from imagenetfs.index.table import table_of
from imagenetfs.index.table_builder import Scan
from imagenetfs.source.source import Source


class Index:
    """The member tables of all archives of a catalogue."""

    def __init__(
        self,
        source: Source,
        archives: Sequence[Archive],
        arena: Arena,
        *,
        stores: Stores = (),
        coordinator: BuildCoordinator | None = None,
        scan: Scan = walk.scan,
        scan_alone: Scan | None = None,
    ) -> None:
        """``stores``: for each group of archive numbers, the paths that its index file may have;
        ``coordinator``: knows where it is written, for all that share it. ``scan``, ``scan_alone``:
        see :class:`Scans`.
        """
        self.source = source
        self.archives = Archives(archives, arena)
        self.tables = SharedTables(arena, self.archives)
        self.persisted = PersistedTables(source, stores)
        self.builder = ContainerBuilder(
            source,
            self.tables,
            self.persisted,
            coordinator or BuildCoordinator(),
            Scans(scan, scan_alone or scan),
        )
        self.loaded: dict[tuple[int, int], Container] = {}
        """By (archive, inner): the containers whose tables this process has mapped."""
        self.on_load: Callable[[int, int, Container], None] = lambda *loaded: None
        """Called with (archive, inner, container) when this process maps a table."""
        self._nested: dict[int, Array] = {}
        self._first: dict[int, bytes] = {}
        self.search_path: object = None
        """Kept as long as the index is: the paths of its files may lead through its descriptors."""
        source.recognise = Revalidator(self)

    def container(self, archive: int, inner: int = OUTER) -> Container:
        """The container, built if need be. Raises ArchiveError, SourceReadError, NoEntryError."""
        container = self.loaded.get((archive, inner))
        if container is None:
            extent = self.extent(archive, inner)
            target = Target(archive, inner, self.key(archive, inner), extent)
            block = self.builder.load_or_build(target)
            meta, table = meta_of(block), table_of(extent.kind, block)
            check = None
            if MARK in meta and isinstance(table, MemberTable):
                check = HeaderCheck(self.source, extent, table)
            container = Container(extent, table, meta.get("file", 0), check)
            self.loaded[archive, inner] = container
            self.on_load(archive, inner, container)
        return container

    def known(self, archive: int, inner: int = OUTER) -> bool:
        """Whether the container has been built already, here or by another process."""
        return (archive, inner) in self.loaded or self.tables.is_published(archive, inner)

    def meta(self, archive: int, inner: int = OUTER) -> dict[str, Any] | None:
        """What a container's block says of itself, and what it is known again by;
        None while there is none.
        """
        return self.tables.meta(archive, inner)

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
            if entry.depth:
                return self.extent(*self._around(entry))
            meta = self.meta(archive)  # where the table is known the source need not be asked
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
        kind = kind_of_name(container.members.base_name(row))
        if entry.kind is Kind.DIRECTORY:
            return Extent(path, offset, offset + size, kind)
        name, runs = container.members.name(row), container.members.sparse.get(row)
        stored = size if runs is None else sum(length for _, length in runs)
        name = b": ".join((*entry.path.split(b"\0")[1:], name))
        return Extent(path, offset, offset + stored, kind, True, name, runs, size)

    def promote(self, archive: int, inner: int) -> int | None:
        """The number of the archive that an inner container is, made one if need be: what lies in
        it is then in reach too. None where there are no more numbers.

        While the catalogue is made, before anything is served: a file has one inode.
        """
        container = self.container(archive)
        row = int(self.nested(archive)[inner])
        if container.extent.kind is Kind.DIRECTORY:
            path = container.locate(row)[0]
        else:
            path = within(self.archives[archive].path, container.members.name(row))
        number = self.archives.number(path)
        if number is None:
            number = self.archives.add(path)
            if number is not None:
                self.persisted.share(number, archive)
                self.builder.coordinator.share(number, archive)
        return number

    def promoted(self, archive: int, row: int, inner: int = OUTER) -> int | None:
        """The number of what is an archive of its own at a row of a container; None where nothing
        is.
        """
        container = self.container(archive, inner)
        if container.extent.kind is Kind.DIRECTORY:
            return self.archives.number(container.locate(row)[0])
        if inner != OUTER:
            return None
        path = within(self.archives[archive].path, container.members.name(row))
        return self.archives.number(path)

    def root(self, archive: int) -> int:
        """The archive that is the file in which an archive lies."""
        entry = self.archives[archive]
        number = self.archives.number(entry.file) if entry.depth else archive
        return archive if number is None else number

    def _around(self, entry: Archive) -> tuple[int, int]:
        """(archive, inner) of the container that is an archive of its own."""
        path, _, name = entry.path.rpartition(b"\0")
        around = self.archives.number(path)
        if around is None:
            raise NoEntryError(f"no archive has the path {os.fsdecode(path)}.")
        inner = self.inner_of_row(around, self.container(around).members.find(name))
        if inner == OUTER:
            raise NoEntryError(f"{self.title(around)} has no archive {os.fsdecode(name)}.")
        return around, inner

    def mtime_ns(self, archive: int, inner: int = OUTER) -> int | None:
        """When a container within another one was made, as the outer table says."""
        entry = self.archives[archive]
        if inner == OUTER:
            return self.mtime_ns(*self._around(entry)) if entry.depth else None
        return self.container(archive).members.mtime_ns(int(self.nested(archive)[inner]))

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
        entry = self.archives[archive]
        part = self.extent(archive) if entry.depth else None
        with self.source.opened(entry.file) as file:
            start, end = (part.start, part.end) if part is not None else (0, file.size)
            sound = end - start >= 1024 and not any(file.read(end - 1024, 1024))
            if sound:
                first = self._first[archive] = file.read(start, 512)
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
                name = self.key(archive, inner)
        return os.fsdecode(name.replace(b"\0", b": "))

    def after_fork(self) -> None:
        """Call once in a child: locks of its own."""
        self.tables.after_fork()
        self.persisted.after_fork()

    def close(self) -> None:
        """Close the arena and the index files; tables that are in use stay mapped."""
        self.tables.close()
        self.persisted.close()

    def build_task(self, archive: int, inner: int, scan: Scan | None = None) -> Callable[[], bytes]:
        """A call that finds or builds the container's block, for a thread; publish it by
        :meth:`ContainerBuilder.publish_built`.

        It opens what it reads for itself: the source's own open files do not serve threads. Without
        ``scan`` it is for a source that answers from memory.
        """
        entry, key = self.archives[archive], self.key(archive, inner)
        if inner != OUTER or entry.kind is Kind.DIRECTORY or entry.depth:
            target = Target(archive, inner, key, self.extent(archive, inner))
            return partial(self.builder.find_or_build, target, scan)

        def build() -> bytes:
            with self.source.opened(entry.path) as file:
                extent = Extent(entry.path, 0, file.size, entry.kind)
            return self.builder.find_or_build(Target(archive, inner, key, extent), scan)

        return build

    def key(self, archive: int, inner: int) -> bytes:
        """The container's name in an index file."""
        path = self.archives[archive].path
        if inner == OUTER:
            return container_key(path)
        return container_key(
            path, self.container(archive).members.name(int(self.nested(archive)[inner]))
        )
