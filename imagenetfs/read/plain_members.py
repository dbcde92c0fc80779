"""Whole members of plain tars, straight from the source: what :class:`.Reader` does for any part of
anything, in fewer steps.

A loader in whose process the tree is reads nothing else. An image of 100 KB is copied out of the
kernel in 10 to 20 microseconds, as long as some hundred steps of Python take. The checks are the
same: the file is revalidated, its size compared, the header verified with the first reading, the
attributes compared after the bytes have come.
"""

from __future__ import annotations

from dataclasses import dataclass

from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.read.backend import archive_changed
from imagenetfs.read.header_check import HEADER, HeaderVerifier, is_header_of
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import ROW_BITS, ROW_MASK, fields, has_row_bits


@dataclass(slots=True)
class _Places:
    """Where a container's members stand. ``verified``: 1 for each row whose header has been."""

    container: Container
    path: bytes
    file_size: int
    members: MemberTable
    offsets: memoryview
    unit: int
    sizes: memoryview
    verified: bytearray


class PlainMembers:
    """For one thread, by its own open files."""

    def __init__(self, index: Index, source: Source, headers: HeaderVerifier) -> None:
        self._loaded = index.loaded
        self._open = source.open
        self._headers = headers
        self._known: dict[int, _Places] = {}

    def read(self, inode: int) -> bytes | None:
        """All bytes of a member, or None where :class:`.Reader` has to say. Raises as that does."""
        known = self._known.get(inode >> ROW_BITS) or self._look_up(inode)
        if known is None:
            return None
        row = inode & ROW_MASK
        verified = known.verified
        size = known.sizes[row] if row < len(verified) else 0
        if not size:
            return None
        file = self._open(known.path)
        if file.size != known.file_size:
            raise archive_changed(known.path, file.size, known.file_size)
        start = known.offsets[row] * known.unit
        if verified[row]:
            return file.read(start, size)
        table, slot = self._headers.verified, self._headers.slot(inode)
        if table[slot] == inode:
            data = file.read(start, size)
        else:
            block, data = file.read_with_head(start - HEADER, HEADER, size)
            if is_header_of(block, known.members, row):
                table[slot] = inode
            else:
                header = self._headers.unverified(inode, known.container, row)
                if header is not None:
                    header.verify(block)
        verified[row] = 1
        return data

    def _look_up(self, inode: int) -> _Places | None:
        archive, inner, _ = fields(inode)
        container = self._loaded.get((archive, inner))
        if container is None or container.plain is None or not has_row_bits(inode):
            return None
        if container.extent.kind is not Kind.TAR:
            return None
        offsets, unit, sizes = container.plain.places
        known = self._known[inode >> ROW_BITS] = _Places(
            container,
            container.extent.path,
            container.file_size,
            container.plain,
            offsets,
            unit,
            sizes,
            bytearray(container.plain.rows),
        )
        return known
