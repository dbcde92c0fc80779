"""Deflated members of zips, whole and verified, while they are being read.

A file is read in several requests at most a few times over; the kernel keeps its pages. So each
process keeps only the last few members, in so many bytes, and nothing of them is given out before
the whole of one has its length and its sum.
"""

from __future__ import annotations

from collections import OrderedDict

from imagenetfs.formats.zip.inflate import inflate

MOST_KEPT = 1 << 23
"""Bytes of members that a process keeps; one that is larger is kept alone, until the next."""


class InflatedMembers:
    """The members that this process has inflated last, by inode."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._bytes = 0

    def find(self, inode: int) -> bytes | None:
        """A member's content, if it is here."""
        data = self._kept.get(inode)
        if data is not None:
            self._kept.move_to_end(inode)
        return data

    def inflate(self, inode: int, packed: bytes, size: int, crc: int) -> bytes:
        """The content of a member, from its deflated bytes.

        Raises ArchiveError where they are not what the directory says, or too many.
        """
        while self._kept and self._bytes + size > self._most:
            self._bytes -= len(self._kept.popitem(last=False)[1])
        data = self._kept[inode] = inflate(packed, size, crc)
        self._bytes += size
        return data
