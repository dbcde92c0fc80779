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

import sys
from collections.abc import Callable, Generator
from stat import S_ISREG
from typing import Any, TypeVar

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar import extended as tar_extended
from imagenetfs.formats.tar import sparse as tar_sparse
from imagenetfs.formats.tar.batch import read_batch, rest_of
from imagenetfs.formats.tar.extended import Extended, Globals, ReadAt
from imagenetfs.formats.tar.header import (
    BLOCK,
    GLOBAL,
    HARD_LINK,
    NOT_A_FILE,
    OLD_SPARSE,
    SYMLINK,
    is_sound,
    mode_of,
)

__all__ = ["Hint", "MemberColumns", "ReadAt", "Steps", "Walk", "check_length", "finish", "scan"]

T = TypeVar("T")

Hint = Callable[[int, int], None]
"""``hint(offset, length)``: these bytes will be read soon. It waits for nothing."""

Hops = Generator[None, None, tuple[int, bytes | None]]
"""Hops that let others go on after each announcement; see ``Walk``."""

Steps = Generator[Any, Any, T]
"""Work that lets others go on where it would have to wait, by yielding: None where it has
announced a read; Hops that are to be done, and their result sent; or something else that it
waits for. Handing hops over saves what going through all of the generators that a walk is made
of would cost with each.
"""

_HEADER_AND_PADDING = BLOCK + BLOCK - 1
# Headers that are collected before they are taken in: at first, after one that
# was not plain, at most.
_AT_FIRST, _FEWEST, _MOST = 256, 8, 1024
_TURNS = 128  # of a walk that takes turns: so many to twice as many
_MOST_HOPS = sys.maxsize


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


def finish(steps: Steps[T]) -> T:
    """Do all of it now, one read after the other; what it returns."""
    hopped, error = None, None
    while True:
        try:
            awaited = steps.throw(error) if error else steps.send(hopped)
        except StopIteration as end:
            result: T = end.value
            return result
        hopped = error = None
        if awaited is not None:
            try:
                hopped = finish(awaited)
            except Exception as caught:
                error = caught


def scan(
    read_at: ReadAt, start: int, end: int, into: MemberColumns, hint: Hint | None = None
) -> int:
    """Append the members of the archive in bytes [start, end) to ``into``,
    one read after the other.

    Returns the offset just behind the last member and its padding: where the end marker begins,
    or ``end`` if there is none. Raises ArchiveError where the archive goes wrong; the members
    before are in ``into`` then, and sound. A member whose data would go past ``end`` is not.
    Memory beside ``into`` is bounded, and no block is read twice but in an archive made for that.
    ``hint`` is of no use here.
    """
    check_length(start, end)
    return Walk(read_at, end, into).until(start, end)[0]


def check_length(start: int, end: int) -> None:
    """ArchiveError if bytes [start, end) are too few for a tar archive."""
    if end - start < BLOCK:
        length = max(0, end - start)
        raise ArchiveError(f"{length} bytes are no tar archive, it has {BLOCK} at least", start)


class Walk:
    """A walk over the headers of the archive that ends at ``end``, appending to ``into``.

    Plain members that look like the last one (see :mod:`imagenetfs.formats.tar.batch`) are
    collected by ``_hop`` and taken in together; anything else goes through ``_step``.
    ``overrides`` holds the global pax records met so far; as long as there are any, nothing is
    plain. Another walk may lower ``stop`` while this one is on its way there, and see from
    ``at`` how far it has come.

    With ``hint`` it says where it will read next, and lets others go on before it does.
    """

    __slots__ = (
        "_ahead",
        "_most",
        "_rest",
        "at",
        "end",
        "hint",
        "into",
        "overrides",
        "read_at",
        "stop",
    )

    def __init__(
        self, read_at: ReadAt, end: int, into: MemberColumns, hint: Hint | None = None
    ) -> None:
        self.read_at, self.end, self.into, self.hint = read_at, end, into, hint
        self.at, self.stop = 0, end
        self.overrides: Globals = {}
        self._rest: bytes | None = None  # what a plain member's header is expected to end with
        self._most = _AT_FIRST
        self._ahead: dict[int, bytes] = {}  # position -> block behind one that was not plain

    def until(self, position: int, stop: int, hops: int = _MOST_HOPS) -> tuple[int, bool]:
        """Hop on from the header at ``position`` until a hop lands at ``stop`` or behind it.

        Returns where it landed, and whether the archive ends there. Raises ArchiveError. No
        extended header is ever pending where it lands. It ends earlier after so many ``hops``.
        """
        self.stop = min(stop, self.end)
        return finish(self.steps(position, hops))

    def steps(self, position: int, hops: int = _MOST_HOPS) -> Steps[tuple[int, bool]]:
        """As :meth:`until`, up to the ``stop`` that is set, step by step."""
        most = len(self.into) + hops
        while position < self.stop and len(self.into) < most:
            batch = self._hop(position, most)
            position, block = (yield batch) if self.hint else finish(batch)
            if block is None:
                continue
            landed = self._step(position, block)
            if landed is None:
                return position, True
            self._rest = None if self.overrides else rest_of(block) or self._rest
            position = landed
        return min(position, self.end), position >= self.end

    def _hop(self, position: int, most: int) -> Hops:
        """Hop over plain members like the last one. This loop is what nearly all members cost.

        Returns the position and the block of the first header that is not one, or the position
        where it ended and None: at ``stop`` or behind, or because there are enough to take them in.
        """
        read_at = self._read_ahead if self._ahead else self.read_at
        rest, last, hint = self._rest, self.end - BLOCK, self.hint
        blocks, headers, sizes = list[bytes](), list[int](), list[int]()
        odd = error = None
        try:
            for _ in range(min(self._batch(position), most - len(self.into))):
                if position >= self.stop:
                    break
                if hint is not None:
                    hint(position, BLOCK)
                    yield
                block = read_at(position, BLOCK if position <= last else self.end - position)
                octal = block[124:135]
                if block[156:] != rest or not octal.isdigit():
                    odd = block
                    break
                try:
                    size = int(octal, 8)
                except ValueError:  # an 8 or a 9
                    odd = block
                    break
                blocks.append(block)
                headers.append(position)
                sizes.append(size)
                self.at = position = position + (size + _HEADER_AND_PADDING & -BLOCK)
        except Exception as caught:
            error = caught  # it counts only if the walk comes there
        taken = self._take_in(blocks, headers, sizes)
        if taken == len(blocks):
            if error is not None:
                raise error
            return position, odd
        if odd is not None:
            blocks.append(odd)
            headers.append(position)
        self._keep_ahead(headers[taken + 1 :], blocks[taken + 1 :])
        return headers[taken], blocks[taken]

    def _batch(self, position: int) -> int:
        """How many headers to collect from ``position`` on.

        Walks that take turns do not take in together, whatever they have in common: nobody asks for
        anything meanwhile.
        """
        if self.hint is None:
            return self._most
        return min(self._most, _TURNS + position // BLOCK % _TURNS)

    def _keep_ahead(self, positions: list[int], blocks: list[bytes]) -> None:
        """They have been read, and most probably the walk will come by: nothing is read twice."""
        if positions:
            left = self._ahead.items() if len(self._ahead) < _MOST else ()
            self._ahead = {at: block for at, block in left if at > positions[0]}
            self._ahead.update(zip(positions, blocks, strict=True))

    def _read_ahead(self, offset: int, length: int) -> bytes:
        block = self._ahead.pop(offset, b"")
        return block if len(block) == length else self.read_at(offset, length)

    def _take_in(self, blocks: list[bytes], headers: list[int], sizes: list[int]) -> int:
        """Append the members with these headers, as far as they are plain; how many they are."""
        if not blocks:
            return 0
        names, mtimes, modes = read_batch(blocks)
        taken = len(names)
        if taken and headers[taken - 1] + BLOCK + sizes[taken - 1] > self.end:
            taken -= 1  # cut off; only the last hop can have gone beyond the end
        # What was read behind one that is not plain may be in vain: never more than
        # had been right before.
        earned = max(self._most, 2 * taken) if taken == len(blocks) else max(_FEWEST, taken)
        self._most = min(earned, _MOST)
        into = self.into
        into.names += names[:taken]
        into.headers += headers[:taken]
        into.offsets += [header + BLOCK for header in headers[:taken]]
        into.sizes += sizes[:taken]
        into.mtimes += mtimes[:taken]
        into.modes += modes[:taken]
        return taken

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
