"""The header that stands before a member's data, verified when the member is first read.

A table may be an imported one, or an archive may have been written to in place where nothing was
sampled: the header before the bytes says which member they belong to. Members whose header was
verified stand in a table that the workers share, one word for many inodes, so that a header is
verified about once a mount, mostly in the request that fetches the bytes.
"""

from __future__ import annotations

import contextlib
import mmap
import os
from dataclasses import dataclass
from typing import NoReturn

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.header import is_sound
from imagenetfs.index.archives import Kind
from imagenetfs.index.container import Container
from imagenetfs.index.header_match import header_matches, is_zip_header_of, member_is_at
from imagenetfs.index.member_table import MemberTable
from imagenetfs.source.source import Source, SourceFile
from imagenetfs.system.splice import make_pipe

HEADER = 512
"""Bytes before a member's data that are asked for with them, at most: a tar's header."""

_ARCHIVES = (Kind.TAR, Kind.ZIP)
_BITS = 20
_NEIGHBOURS = 6
"""So many bits of an inode are its slot's: rows that follow each other share a line of the table,
and the images of a class a few pages, which a process takes once.
"""

_GROUPS = 64 - (_BITS - _NEIGHBOURS)
_WITHIN = (1 << _NEIGHBOURS) - 1
_GOLDEN = 0x9E3779B97F4A7C15
_UNSIGNED = (1 << 64) - 1


class HeaderVerifier:
    """Which members' headers have been verified in this mount. Make it before forking."""

    def __init__(self, source: Source, verified: memoryview | None = None) -> None:
        """``verified``: the table of another verifier, to be had in common."""
        self._source = source
        if verified is None:
            # Memory is taken when it is written to: 8 MB when everything has been read.
            verified = memoryview(mmap.mmap(-1, 8 << _BITS)).cast("Q")
        self.verified = verified
        self._pipe: tuple[int, int] | None = None

    def twin(self, source: Source) -> HeaderVerifier:
        """Another one for a thread, by its own open files: what one has verified, both have."""
        return HeaderVerifier(source, self.verified)

    def slot(self, inode: int) -> int:
        """Where in :attr:`verified` a member's inode stands when its header has been verified."""
        group = ((inode >> _NEIGHBOURS) * _GOLDEN & _UNSIGNED) >> _GROUPS
        return group << _NEIGHBOURS | inode & _WITHIN

    def unverified(self, inode: int, container: Container, row: int) -> MemberHeader | None:
        """The header of a member, to be verified with its bytes; None if that is not needed."""
        slot = self.slot(inode)
        if self.verified[slot] == inode or container.extent.kind not in _ARCHIVES:
            return None
        members = container.members
        assert isinstance(members, MemberTable)
        return MemberHeader(self, slot, inode, container, row, members.lead(row))

    def is_verified(self, header: MemberHeader) -> bool:
        """Whether a process of this mount has verified the header since it was asked for."""
        return self.verified[header.slot] == header.inode

    def verify(self, header: MemberHeader, block: bytes) -> None:
        """See that ``block``, the bytes before a member's data, is its header.

        Raises SourceReplacedError if it is not, here and for the rest of the mount; ArchiveError if
        just this member is not what a zip's directory says.
        """
        members, row = header.container.members, header.row
        assert isinstance(members, MemberTable)
        if header.container.extent.kind is Kind.ZIP:
            if not is_zip_header_of(block, members, row):
                self.refuse_member(
                    header.container,
                    row,
                    "the header before its data is not what the directory says",
                )
        elif not (is_header_of(block, members, row) or header_matches(block, members, row)):
            extent = header.container.extent
            read_at = self._source.open(extent.path).read_up_to
            if not member_is_at(read_at, extent.end, members, row):
                self._source.refuse_for_good(extent.path)
        self.verified[header.slot] = header.inode

    def refuse_member(self, container: Container, row: int, reason: str) -> NoReturn:
        """A member of a zip is not what the zip's directory says of it: raise ArchiveError for it,
        or SourceReplacedError where the whole zip is another one.
        """
        path = container.extent.path
        file = self._source.open(path)
        if self._source.recognise is not None and self._source.recognise(file) is False:
            self._source.refuse_for_good(path)
        members = container.members
        raise ArchiveError(
            f"{os.fsdecode(path)}: {os.fsdecode(members.name(row))} cannot be read: {reason}",
            members.offset(row),
        )

    # --- splicing ---------------------------------------------------------------------------------

    def pipe(self) -> tuple[int, int] | None:
        """The empty pipe through which a header is taken off its member's bytes; None if there is
        none to be had. Made by the first worker's splice, never before a fork.
        """
        if self._pipe is None:
            self._pipe = make_pipe()
        return self._pipe

    def drop_pipe(self) -> None:
        """Close the pipe, with the bytes that it still holds."""
        for end in self._pipe or ():
            os.close(end)
        self._pipe = None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError, OSError):
            self.drop_pipe()


@dataclass(slots=True)
class MemberHeader:
    """The header of a member that had not been verified when the member was looked up: the
    ``length`` bytes before its data.
    """

    verifier: HeaderVerifier
    slot: int
    inode: int
    container: Container
    row: int
    length: int = HEADER

    def is_verified(self) -> bool:
        """See :meth:`HeaderVerifier.is_verified`."""
        return self.verifier.is_verified(self)

    def verify(self, block: bytes) -> None:
        """See :meth:`HeaderVerifier.verify`."""
        self.verifier.verify(self, block)


@dataclass(slots=True)
class HeaderCheckedFile:
    """An archive of which the bytes of one member are read for the first time, from the member's
    first byte on: the header is fetched and verified in the same request.
    """

    file: SourceFile
    header: MemberHeader

    def read(self, offset: int, length: int) -> bytes:
        """See :class:`imagenetfs.read.backend.OpenFile`. Raises SourceReplacedError too."""
        head = self.header.length
        block, data = self.file.read_with_head(offset - head, head, length)
        self.header.verify(block)
        return data

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        """See :class:`imagenetfs.read.backend.SpliceSource`. Raises SourceReplacedError too."""
        verifier = self.header.verifier
        both = verifier.pipe()
        if both is None:
            return os.write(pipe, self.read(offset, length)) == length
        out, into = both
        is_empty = False
        try:
            head = self.header.length
            if not self.file.splice_to(into, offset - head, head + length):
                return False
            self.header.verify(os.read(out, head))
            is_empty = os.splice(out, pipe, length) == length
        finally:
            if not is_empty:
                verifier.drop_pipe()
        return is_empty


def is_header_of(block: bytes, members: MemberTable, row: int) -> bool:
    """Whether ``block``, the 512 bytes before a member's data, is a sound header with the
    very name and size of its row. Not so where the name was too long for it, or was cleaned:
    see :func:`imagenetfs.index.header_match.member_is_at`.
    """
    if not block.startswith(members.name(row) + b"\0"):
        return False
    try:
        return int(block[124:135], 8) == members.size(row) and is_sound(block)
    except ValueError:
        return False
