"""Reads one member's headers the careful way: extended headers, sparse maps, links, whatever there
is. The walk (:mod:`imagenetfs.formats.tar.walk`) says where the headers begin.
"""

from __future__ import annotations

from stat import S_ISREG

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar import extended as tar_extended
from imagenetfs.formats.tar import sparse as tar_sparse
from imagenetfs.formats.tar.extended import Extended, Globals, ReadAt
from imagenetfs.formats.tar.header import (
    BLOCK,
    GLOBAL,
    HARD_LINK,
    NOT_A_FILE,
    SYMLINK,
    CutOffError,
    compression_of,
    has_data,
    is_old_sparse,
    is_sound,
    is_web_page,
    mode_of,
)
from imagenetfs.formats.tar.members import MemberColumns, Problem


class MemberReader:
    """Appends members of the archive that ends at ``end`` to ``into``, one at a time.

    ``overrides`` holds the global pax records met so far. A ``strict`` reader raises ArchiveError
    at whatever is out of form, also where the walk could go on.
    """

    __slots__ = ("end", "has_begun", "header", "into", "overrides", "read_at", "strict")

    def __init__(
        self, read_at: ReadAt, end: int, into: MemberColumns, *, strict: bool = False
    ) -> None:
        self.read_at, self.end, self.into, self.strict = read_at, end, into, strict
        self.overrides: Globals = {}
        self.has_begun = False
        """Set by the walk when something sound has been met."""
        self.header = 0
        """The offset of the header that was read last."""

    def read_one(self, position: int) -> None:
        """Append the one member whose headers begin at ``position``. Raises ArchiveError where
        none does.
        """
        block = self.read_at(position, max(0, min(BLOCK, self.end - position)))
        if self.append(position, block) is None:
            raise ArchiveError("the archive ends here", position)

    def leave_out(self, error: ArchiveError, begin: int, stop: int) -> None:
        """Pass over bytes [begin, stop), and say so; a strict walk does not."""
        if self.strict:
            raise error
        stop = min(stop, self.end)  # the last member's padding may be missing
        self.into.problems.append(Problem(begin, stop - begin, error.reason))

    def _complain(self, reason: str, offset: int) -> None:
        self.leave_out(ArchiveError(reason, offset), offset, offset)

    def append(self, position: int, block: bytes) -> int | None:
        """Append the member at ``position``, whose first block was read, or take in a global
        header. Returns where the next header is, or None if the archive ends at ``position``.

        Raises ArchiveError wherever there is no sound header, or none that can be used.
        """
        extended = Extended(position)
        header = self.header = position
        while self._is_header(block, header, position):
            flag = block[156:157]
            if not tar_extended.is_extended(flag):
                return self._add(block, header, extended)
            alone = flag == GLOBAL and header == position
            payload, behind, landed = tar_extended.payload_of(
                self.read_at, header, self.end, block, ahead=0 if alone else BLOCK
            )
            if flag == GLOBAL:
                tar_extended.update_globals(self.overrides, payload, header, self._complain)
            else:
                extended.add(flag, payload, header, self._complain)
            if alone:
                return landed
            block, header = behind, landed
            self.header = header
        return None

    def _is_header(self, block: bytes, header: int, first: int) -> bool:
        """True for a sound header; False at the end of the archive; else it raises.

        ``first`` is where the member's headers begin; if that is before, the end may not come now.
        """
        if len(block) == BLOCK and is_sound(block):
            return True
        if len(block) < min(BLOCK, self.end - header) or (len(block) < BLOCK and any(block)):
            raise CutOffError("cut off within a header", header)
        if any(block):
            packed = None if self.has_begun else compression_of(block)
            if packed is not None:
                reason = f"this is no tar, but compressed with {packed}: decompress it once"
                raise CutOffError(reason, header)
            if not self.has_begun and is_web_page(block):
                raise CutOffError("this is a web page, not a tar: the download failed", header)
            raise ArchiveError("no tar header here: its checksum does not hold", header)
        if first < header:
            raise ArchiveError("extended header with no member behind it", first)
        return False

    def _add(self, block: bytes, header: int, extended: Extended) -> int:
        """Append the member whose own header is ``block``; return where the next header is."""
        flag, into, overrides = block[156:157], self.into, self.overrides
        name = tar_extended.name(block, extended, overrides)
        mode = mode_of(block, name)
        data, sparse = header + BLOCK, None
        if is_old_sparse(block):
            sparse = tar_sparse.old_gnu(self.read_at, block, header, self.end)
            data = sparse.data
        stored = self._stored(block, header, extended, mode)
        behind = data + stored
        landed = behind + (-stored % BLOCK)
        if behind > self.end:
            raise CutOffError(f"member of {stored:,} bytes, cut off by the end", header)
        if flag in NOT_A_FILE:
            return landed
        is_file = S_ISREG(mode) and flag != HARD_LINK
        try:
            if is_file and sparse is None and (extended.records or extended.sparse_pairs):
                sparse = tar_sparse.pax(self.read_at, extended, data, stored)
            if sparse is not None:
                sparse = tar_sparse.checked(sparse, behind, header)
                into.sparse[len(into)] = sparse.runs
        except CutOffError:
            raise
        except ArchiveError as error:
            self.leave_out(error, extended.first, landed)
            return landed
        if flag in (SYMLINK, HARD_LINK):
            links = into.links if flag == SYMLINK else into.hardlinks
            links[len(into)] = tar_extended.link(block, extended, overrides)
        mtime = tar_extended.mtime(block, extended, overrides)
        into.headers.append(extended.first)
        into.offsets.append(sparse.data if sparse else data)
        into.sizes.append(sparse.size if sparse else stored if is_file else 0)
        into.mtimes.append(mtime)
        into.modes.append(mode)
        into.names.append(name)
        return landed

    def _stored(self, block: bytes, header: int, extended: Extended, mode: int) -> int:
        """Bytes of data that stand behind a member's header, without padding.

        A hard link has data only where a pax size says so and no header or end stands in their
        place: GNU tar and Python never take any there, bsdtar always.
        """
        size = tar_extended.pax_size(extended, self.overrides, self._complain)
        if block[156:157] == HARD_LINK:
            data = header + BLOCK
            if not size or data + BLOCK > self.end:
                return 0
            first = self.read_at(data, BLOCK)
            return size if any(first) and not is_sound(first) else 0
        if not has_data(block, mode):
            return 0
        return tar_extended.size_of(block, header) if size is None else size
