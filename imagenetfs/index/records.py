"""What an index file keeps of the containers of an index."""

from __future__ import annotations

from collections.abc import Sequence

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.index.index_file import Record


def is_complete(index: Index, archives: Sequence[int]) -> bool:
    """Whether complete index files have these archives, be they still true or not."""
    return all(index.persisted.is_complete(n, index.key(n, OUTER)) for n in archives)


def is_persisted(index: Index, archive: int, inner: int) -> bool:
    """Whether an index file has the table of a built container, or would not keep it."""
    block = index.tables.block(archive, inner)
    return block is None or (
        index.persisted.has(archive, index.key(archive, inner), block)
        or record_of(index, archive, inner) is None
    )


def record_of(
    index: Index, archive: int, inner: int, present: Record | None = None
) -> Record | None:
    """What an index file keeps of a built container, ``present`` itself where it says the same;
    None for what it does not keep. Nothing is read of the archive.
    """
    block = index.tables.block(archive, inner)
    if block is None:
        return None
    extent = index.extent(archive, inner)
    if present is not None and present.block == block:
        is_same = (present.start, present.stop) == (extent.start, extent.end)
        if is_same:
            return present
    return index.persisted.record(index.key(archive, inner), extent, bytes(block))
