"""Who builds a container's block: once a mount, under the container's lock, and once for all mounts
that share an index file, under the file's lease.

What a block is built from, :mod:`imagenetfs.index.table_builder` says.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, Protocol

from imagenetfs.byte_range import ByteRange
from imagenetfs.counters import WAITING
from imagenetfs.errors import SourceReadError
from imagenetfs.formats.tar import walk
from imagenetfs.index.archives import Extent, Kind
from imagenetfs.index.coordination import BuildCoordinator, Claim
from imagenetfs.index.persisted import PersistedTables
from imagenetfs.index.shared_tables import SharedTables
from imagenetfs.index.table_builder import (
    FindBytes,
    ReadFrom,
    Scan,
    build_table,
    with_heartbeat,
)
from imagenetfs.source.file import SourceFile
from imagenetfs.source.source import Source


class BuildInProgressError(Exception):
    """Another process is building this container at the moment."""


class Target(NamedTuple):
    """A container to be built: its numbers, its key in an index file, and where its bytes lie."""

    archive: int
    inner: int
    key: bytes
    extent: Extent


class Scans(NamedTuple):
    """How a tar is scanned: one header after the other, or, for a reader that waits for just this
    container, with several requests under way.
    """

    serial: Scan = walk.scan
    concurrent: Scan = walk.scan


class LocalArchives(Protocol):
    """What this node has of archives whose own tables are known."""

    def find(
        self, archive: int, file: SourceFile, part: ByteRange
    ) -> contextlib.AbstractContextManager[FindBytes | None]:
        """See :data:`imagenetfs.index.table_builder.LocalBytes`."""
        ...


class ContainerBuilder:
    """Finds or builds blocks, and publishes them. Make it before forking."""

    def __init__(
        self,
        source: Source,
        tables: SharedTables,
        persisted: PersistedTables,
        coordinator: BuildCoordinator,
        scans: Scans,
    ) -> None:
        self._source = source
        self._tables = tables
        self._persisted = persisted
        self.coordinator = coordinator
        self._scans = scans
        self.local: LocalArchives | None = None
        """Where bytes of archives are that the source need not be asked for."""
        self.wait_limit = math.inf
        """Seconds: a reader that waited so long for a build that came to nothing starts none of
        its own, but fails.
        """

    # --- for a reader that waits ------------------------------------------------------------------

    def load_or_build(self, target: Target) -> memoryview:
        """The container's block: from the arena, an index file, or its archive.

        Waits for another process that builds it. Raises ArchiveError, SourceReadError.
        """
        archive, inner = target.archive, target.inner
        block = self._tables.block(archive, inner)
        if block is not None:
            return block
        started = time.monotonic()
        with self._tables.locked(archive, inner, self._show_waiting):
            block = self._tables.block(archive, inner)  # another process may have built it by now
            if block is None:
                if time.monotonic() - started > self.wait_limit:
                    title = os.fsdecode(target.key.rstrip(b"\0").replace(b"\0", b": "))
                    raise SourceReadError(
                        f"{title} could not be read: others waited for it in vain."
                    )
                block = self._tables.publish(archive, inner, self._build_for_all(target))
        return block

    def _build_for_all(self, target: Target) -> bytes:
        """The block from an index file; else built once for all mounts that share that file."""
        archive, inner, key, extent = target
        find = partial(self._persisted.block, archive, inner, key, extent)
        found = find()
        if found is not None:
            return found
        claim = Claim()
        if extent.kind in (Kind.TAR, Kind.ZIP):
            claim = self.coordinator.claim(archive, partial(find, now=True), self._show_waiting)
        if claim.found is not None:
            return claim.found
        lease = claim.lease
        if lease is None:
            return build_table(self._origin(archive), self._scans.concurrent, extent, inner)
        try:
            scan = with_heartbeat(self._scans.concurrent, lease.heartbeat)
            block = build_table(self._origin(archive), scan, extent, inner)
            self.coordinator.publish(archive, self._persisted.record(key, extent, block))
        finally:
            lease.release()
        return block

    def _origin(self, archive: int, direct: bool = False) -> ReadFrom:
        local = None if self.local is None else partial(self.local.find, archive)
        return ReadFrom(self._source, local, direct)

    def _show_waiting(self, waits: bool) -> None:
        self._source.meter[WAITING] = time.monotonic_ns() if waits else 0

    # --- for a bulk build -------------------------------------------------------------------------

    @contextlib.contextmanager
    def building_lock(self, archive: int, inner: int) -> Iterator[None]:
        """Hold the container's lock, so that no other process builds it.

        Raises BuildInProgressError where one is building it now.
        """

        def give_up(waits: bool) -> None:
            raise BuildInProgressError

        with self._tables.locked(archive, inner, give_up):
            yield

    def find_or_build(self, target: Target, scan: Scan | None) -> bytes:
        """The block from an index file, else built from the archive; not published. Thread-safe.

        Without ``scan`` it is for a source that answers from memory.
        """
        archive, inner, key, extent = target
        found = self._persisted.block(archive, inner, key, extent)
        if found is not None:
            return found
        scan, direct = scan or self._scans.serial, scan is None
        return build_table(self._origin(archive, direct), scan, extent, inner)

    def publish_built(self, archive: int, inner: int, block: bytes) -> int:
        """Publish what a thread built, unless another process did so first.

        Returns the member count.
        """
        with self._tables.locked(archive, inner):
            if self._tables.block(archive, inner) is None:
                self._tables.publish(archive, inner, block)
        meta = self._tables.meta(archive, inner)
        return int(meta["rows"]) if meta is not None else 0
