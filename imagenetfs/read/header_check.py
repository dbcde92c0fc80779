"""The header that stands before a member's data, looked at when the member is first read.

A table may be an imported one, or an archive may have been written to in place where nothing was
sampled: what stands before the bytes says whose they are. What has been seen stands in a table that
the workers share, a word for many an inode, so that it is looked at about once a mount, and mostly
in the request that fetches the bytes.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable
from functools import partial

from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.header_match import header_matches, is_header_of, member_is_at
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.source import Source

HEADER = 512
"""Bytes before a member's data that belong to its header."""

Look = Callable[[bytes], None]
"""Called with the 512 bytes before a member's data; raises SourceReplacedError
unless they are its header.
"""

_TAR = Kind.TAR
_BITS = 20
_GOLDEN = 0x9E3779B97F4A7C15
_UNSIGNED = (1 << 64) - 1


class HeaderVerifier:
    """Make it before forking."""

    def __init__(self, source: Source) -> None:
        self._source = source
        # Memory is taken when it is written to: 8 MB when everything has been read.
        self._seen = memoryview(mmap.mmap(-1, 8 << _BITS)).cast("Q")

    def look_at(self, inode: int, container: Container, row: int) -> Look | None:
        """What to call with the header of a member's row; None where that is not needed."""
        slot = (inode * _GOLDEN & _UNSIGNED) >> 64 - _BITS
        if self._seen[slot] == inode or container.extent.kind is not _TAR:
            return None
        return partial(self._look, slot, inode, container, row)

    def _look(self, slot: int, inode: int, container: Container, row: int, block: bytes) -> None:
        members = container.members
        assert isinstance(members, MemberTable)
        if not (is_header_of(block, members, row) or header_matches(block, members, row)):
            extent = container.extent
            read_at = self._source.open(extent.path).read_up_to
            if not member_is_at(read_at, extent.end, members, row):
                self._source.refuse_for_good(extent.path)
        self._seen[slot] = inode
