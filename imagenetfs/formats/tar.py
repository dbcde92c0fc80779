"""The header walk: which member lies where in a tar archive.

A tar is a chain of 512-byte headers, each of which says how far on the next one is: one read of
512 bytes a member, and only the fields that are needed are parsed. Nothing here knows of files
or of ImageNet; the bytes come through ``read_at``. The formats are POSIX.1-2017's ustar and pax,
version 7, and GNU's as the GNU tar manual has them; where an archive strays from them, what GNU
tar 1.34 lists and extracts decides:

- A block of zeros ends the archive, also a lone one; what lies behind it is ignored. An archive
  may also end without one, behind a member. An empty file is no archive.
- Volume labels (V) and the rests of files begun on another volume (M) are no members.
- A directory has no data whatever its size field says; all other types have as much as theirs
  says, but for hard links, whose header's size is not counted, and a pax size is.
- Global pax records add up, as POSIX has it (GNU tar keeps those of the last global header only).

Stricter than GNU tar: it is an error when an extended header has no member behind it, when the
archive ends within a header, or when a number needed is none. Milder: a mode or a modification
time that is no number counts as 0, and the padding of the last member may be missing.
"""

from __future__ import annotations

import struct
from stat import S_ISREG
from zlib import adler32

from imagenetfs.errors import ArchiveError
from imagenetfs.formats import tar_extended, tar_sparse
from imagenetfs.formats.tar_extended import Extended, Globals, ReadAt
from imagenetfs.formats.tar_header import (
    BLOCK,
    GLOBAL,
    HARD_LINK,
    NOT_A_FILE,
    OLD_SPARSE,
    REGULAR,
    SYMLINK,
    ascii_adler,
    is_sound,
    mode_of,
)

__all__ = ["MemberColumns", "ReadAt", "Walk", "check_length", "scan"]

# name; mode, uid, gid; size and its terminator; mtime and its terminator; checksum; all the rest.
_fields = struct.Struct("100s 24s 11s c 11s c 8s 356s").unpack
_SLASH = ord("/")


class MemberColumns:
    """The members of an archive as parallel lists, one entry a member, in archive order.

    Names are the archive's own bytes, long names and pax paths applied, up to the first NUL. A
    pax mtime is kept to the nanosecond; all are held within 64 bits. ``sizes`` and ``offsets``
    speak of file content: a link or a directory has size 0.
    """

    __slots__ = (
        "hardlinks",
        "headers",
        "links",
        "modes",
        "mtimes",
        "names",
        "offsets",
        "sizes",
        "sparse",
    )

    def __init__(self) -> None:
        self.names: list[bytes] = []
        self.headers: list[int] = []  # offset of the member's first header, an extended one if any
        self.offsets: list[int] = []  # offset of its data
        self.sizes: list[int] = []  # bytes as a reader sees them
        self.mtimes: list[int] = []  # nanoseconds since the epoch
        self.modes: list[int] = []  # st_mode; a hard link is S_IFREG
        self.links: dict[int, bytes] = {}  # position -> target of the symbolic link
        self.hardlinks: dict[int, bytes] = {}  # position -> name of the member linked to
        # position -> (logical offset, length) of each run of data, stored back to back
        self.sparse: dict[int, tuple[tuple[int, int], ...]] = {}

    def __len__(self) -> int:
        return len(self.names)

    def extend(self, other: MemberColumns, first: int, last: int) -> None:
        """Append the other's members from position ``first`` up to, not including, ``last``."""
        shift = len(self) - first
        for column in ("headers", "offsets", "sizes", "mtimes", "modes", "names"):
            getattr(self, column).extend(getattr(other, column)[first:last])
        for column in ("links", "hardlinks", "sparse"):
            entries = getattr(other, column).items()
            getattr(self, column).update((i + shift, e) for i, e in entries if first <= i < last)


def scan(read_at: ReadAt, start: int, end: int, into: MemberColumns) -> int:
    """Append the members of the archive in bytes [start, end) to ``into``.

    Returns the offset just behind the last member and its padding: where the end marker begins,
    or ``end`` if there is none. Raises ArchiveError where the archive goes wrong; the members
    before are in ``into`` then, and sound. A member whose data would go past ``end`` is not.
    Memory beside ``into`` is bounded, and the reads are at most one for every 512 bytes.
    """
    check_length(start, end)
    return Walk(read_at, end, into).until(start, end)[0]


def check_length(start: int, end: int) -> None:
    """ArchiveError if bytes [start, end) are too few for a tar archive."""
    if end - start < BLOCK:
        length = max(0, end - start)
        raise ArchiveError(f"{length} bytes are no tar archive, it has {BLOCK} at least", start)


def _is_plain(block: bytes) -> bool:
    """Whether all that this header says of its member is in the fields that ``_hop`` looks at."""
    return (
        block[156:157] in REGULAR
        and block[345] == 0  # no prefix, nor what other formats keep there
        and block[135] == block[147]
        and block[135] in b"\0 "
    )


# What the headers of an archive's regular members have in common: mode, uid and gid; the byte
# that ends a number; all from the type flag on; and the st_mode that they stand for.
_Usual = tuple[bytes, bytes, bytes, int]
_NOTHING_USUAL: _Usual = (b"", b"", b"", 0)


class Walk:
    """A walk over the headers of the archive that ends at ``end``, appending to ``into``.

    A regular member whose header differs from the last one's in nothing but name, size, time and
    checksum takes the short way, ``_hop``; anything else goes through ``_step``. ``overrides``
    holds the global pax records met so far; as long as there are any, nothing is short. Another
    thread may lower ``stop`` while this one is on its way there.
    """

    __slots__ = ("end", "into", "overrides", "read_at", "stop", "usual")

    def __init__(self, read_at: ReadAt, end: int, into: MemberColumns) -> None:
        self.read_at, self.end, self.into = read_at, end, into
        self.stop = end
        self.overrides: Globals = {}
        self.usual = _NOTHING_USUAL

    def until(self, position: int, stop: int) -> tuple[int, bool]:
        """Hop on from the header at ``position`` until a hop lands at ``stop`` or behind it.

        Returns where it landed, and whether the archive ends there. Raises ArchiveError. No
        extended header is ever pending where it lands.
        """
        self.stop = min(stop, self.end)
        return self.go_on(position)

    def go_on(self, position: int) -> tuple[int, bool]:
        """As :meth:`until`, up to the ``stop`` that is set."""
        while position < self.stop:
            position, block = self._hop(position)
            if block is None:
                break
            landed = self._step(position, block)
            if landed is None:
                return position, True
            if self.overrides:
                self.usual = _NOTHING_USUAL
            elif _is_plain(block):
                self.usual = block[100:124], block[135:136], block[156:], mode_of(block, b"")
            position = landed
        return min(position, self.end), position >= self.end

    def _hop(self, position: int) -> tuple[int, bytes | None]:
        """Hop over members whose headers are as usual. This loop is what nearly all members cost.

        Returns the position and the block of the first header that is not; or, when a hop
        lands at ``stop`` or behind, that position and None.
        """
        read_at, end, into = self.read_at, self.end, self.into
        names, headers, offsets = into.names.append, into.headers.append, into.offsets.append
        sizes, mtimes, modes = into.sizes.append, into.mtimes.append, into.modes.append
        usual_owner, usual_end, usual_rest, mode = self.usual
        last = end - BLOCK
        while position < self.stop:
            block = read_at(position, BLOCK if position <= last else end - position)
            try:
                name, owner, octal, octal_end, mtime, mtime_end, checksum, rest = _fields(block)
                if (
                    rest != usual_rest
                    or owner != usual_owner
                    or not octal_end == mtime_end == usual_end
                    or not block.isascii()
                    or adler32(block) & 0xFFFF != ascii_adler(checksum)
                    or not (octal.isdigit() and mtime.isdigit())
                ):
                    return position, block
                name = name[: name.index(0)]
                size, seconds = int(octal, 8), int(mtime, 8)
                data = position + BLOCK
                if name[-1] == _SLASH or data + size > end:
                    return position, block
            except (ValueError, IndexError, struct.error):
                # A name of all 100 bytes or of none, an 8 or 9 in a number, a short block.
                return position, block
            names(name)
            headers(position)
            offsets(data)
            sizes(size)
            mtimes(seconds * 1_000_000_000)
            modes(mode)
            position = data + size + (-size & 511)
        return position, None

    def _step(self, position: int, block: bytes) -> int | None:
        """Take in the member at ``position``, whose first block was read, or a global header.

        Returns where the next header is, or None if the archive ends at ``position``.
        """
        extended = Extended(position)
        header = position
        while self._is_header(block, header, position):
            flag = block[156:157]
            if not tar_extended.is_extended(flag):
                return self._add(block, header, extended)
            alone = flag == GLOBAL and header == position
            payload, behind, landed = tar_extended.payload_of(
                self.read_at, header, self.end, block, ahead=0 if alone else BLOCK
            )
            if flag == GLOBAL:
                tar_extended.update_globals(self.overrides, payload, header)
            else:
                extended.add(flag, payload, header)
            if alone:
                return landed
            block, header = behind, landed
        return None

    def _is_header(self, block: bytes, header: int, first: int) -> bool:
        """True for a sound header; False at the end of the archive; else it raises.

        ``first`` is where the member's headers begin; if that is before, the end may not come now.
        """
        if len(block) == BLOCK and is_sound(block):
            return True
        if len(block) < min(BLOCK, self.end - header) or (len(block) < BLOCK and any(block)):
            raise ArchiveError("cut off within a header", header)
        if any(block):
            raise ArchiveError("no tar header here: its checksum does not hold", header)
        if first < header:
            raise ArchiveError("extended header with no member behind it", first)
        return False

    def _add(self, block: bytes, header: int, extended: Extended) -> int:
        """Append the member whose own header is ``block``; return where the next header is."""
        flag, into, overrides = block[156:157], self.into, self.overrides
        data = header + BLOCK
        stored = tar_extended.stored_size(block, header, extended, overrides)
        sparse = None
        if flag == OLD_SPARSE:
            sparse = tar_sparse.old_gnu(self.read_at, block, header, self.end)
            data = sparse.data
        behind = data + stored
        landed = behind + (-stored % BLOCK)
        if behind > self.end:
            raise ArchiveError(f"member of {stored:,} bytes, cut off by the end", header)
        if flag in NOT_A_FILE:
            return landed
        name = tar_extended.name(block, extended, overrides)
        mode = mode_of(block, name)
        is_file = S_ISREG(mode) and flag != HARD_LINK
        if is_file and sparse is None:
            sparse = tar_sparse.pax(self.read_at, extended, data, stored)
        if sparse is not None:
            if sum(length for _, length in sparse.runs) > behind - sparse.data:
                raise ArchiveError("sparse member with less data than its map says", header)
            into.sparse[len(into)] = sparse.runs
        elif flag in (SYMLINK, HARD_LINK):
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
