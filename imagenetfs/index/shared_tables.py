"""The blocks of a mount's containers in the arena, by (archive, inner container)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from imagenetfs.index.archives import OUTER, Archives
from imagenetfs.index.arena import Arena
from imagenetfs.index.columns import meta_of
from imagenetfs.index.table import table_of


class SharedTables:
    """What the processes of a mount have published for one another. Make it before forking."""

    def __init__(self, arena: Arena, archives: Archives) -> None:
        self._arena = arena
        self._archives = archives

    def after_fork(self) -> None:
        """Call once in a child: locks of its own."""
        self._arena.after_fork()

    def close(self) -> None:
        """Close the arena; tables that are in use stay mapped."""
        self._arena.close()

    def _slot(self, archive: int, inner: int) -> int:
        slot = self._arena.slot(archive)
        return slot if inner == OUTER else self._arena.child_slot(slot, inner)

    def is_published(self, archive: int, inner: int) -> bool:
        """Whether a process has published the container's block, and its archive's before."""
        if not 0 <= archive < len(self._archives):
            return False
        slot = self._arena.slot(archive)
        if self._arena.get(slot) is None:
            return False
        return inner == OUTER or self._arena.get(self._arena.child_slot(slot, inner)) is not None

    def block(self, archive: int, inner: int) -> memoryview | None:
        """The container's block; None while there is none. Its archive's block must be there."""
        return self._arena.get(self._slot(archive, inner))

    def meta(self, archive: int, inner: int) -> dict[str, Any] | None:
        """What the container's block says of itself; None while there is none."""
        if not self.is_published(archive, inner):
            return None
        block = self.block(archive, inner)
        return meta_of(block) if block is not None else None

    @contextlib.contextmanager
    def locked(
        self, archive: int, inner: int, on_wait: Callable[[bool], None] | None = None
    ) -> Iterator[None]:
        """Hold the lock under which the container is built; see :meth:`Arena.locked`."""
        with self._arena.locked(self._slot(archive, inner), on_wait):
            yield

    def publish(self, archive: int, inner: int, block: bytes) -> memoryview:
        """Publish the container's block; its lock is held, or no other process builds it."""
        kind = self._archives[archive].kind
        children = 0 if inner != OUTER else len(table_of(kind, memoryview(block)).nested)
        return self._arena.put(self._slot(archive, inner), block, children)
