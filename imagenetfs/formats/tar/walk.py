"""The header walk: which member lies where in a tar archive.

In a tar, each 512-byte header says how far on the next one is: one read of 512 bytes a member, and
only the fields that are needed are parsed. Nothing here knows of files or of ImageNet; the bytes
come through ``read_at``. The formats are POSIX.1-2017's ustar and pax,
version 7, and GNU's as the GNU tar manual has them; where an archive strays from them, what GNU
tar 1.34 lists and extracts decides:

- One bad header does not end an archive. The walk goes on at the next block whose checksum holds,
  and ``MemberColumns.problems`` says where, how much was passed over and why. A pax record that is
  out of form does not count, nor do those behind it in its header; the member does.
- A block of zeros ends the archive, unless a sound header stands behind it (a hole in a download,
  two archives put together): then the walk goes on there, as GNU tar does with ``--ignore-zeros``,
  and says so. Where no header stands behind it, but anything else than zeros does, the archive ends
  and the walk says so. An archive may also end without zeros, behind a member. An empty file is no
  archive.
- A header that says more data than the archive has ends it. Nothing is looked for in what is cut
  off: there may stand the members of a tar within the tar.
- Volume labels (V) and the rests of files begun on another volume (M) are no members.
- Links, devices, FIFOs and directories have no data whatever their size field says; a hard link
  may, if a pax size says so.
- Global pax records add up, as POSIX has it (GNU tar keeps those of the last global header only).

docs/formats.md has the same for users, and what becomes of names.

Stricter than GNU tar: it is a problem when an extended header has no member behind it, and an error
when the archive ends within a header. Milder: a mode or a modification time that is no number
counts as 0, and the padding of the last member may be missing.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from typing import Any, TypeVar

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.batch import read_batch, rest_of
from imagenetfs.formats.tar.extended import ReadAt
from imagenetfs.formats.tar.header import BLOCK, CutOffError
from imagenetfs.formats.tar.member_reader import MemberReader
from imagenetfs.formats.tar.members import MemberColumns, Problem
from imagenetfs.formats.tar.search import DataFrom, HeaderSearch

__all__ = [
    "Hint",
    "MemberColumns",
    "Problem",
    "ReadAt",
    "Steps",
    "Walk",
    "check_length",
    "finish",
    "scan",
]

T = TypeVar("T")

Hint = Callable[[int, int], None]
"""``hint(offset, length)``: these bytes will be read soon. It waits for nothing."""

Hops = Generator[None, None, tuple[int, bytes | None]]
"""Hops that yield after each announcement, so that other walks go on; see ``Walk``."""

Steps = Generator[Any, Any, T]
"""A cooperative scan task. It yields None after announcing a read, Hops to be run (their result is
sent back), or the range that it waits for. Hops are handed over because each would otherwise pass
through all of the generators that a walk is made of.
"""

_HEADER_AND_PADDING = BLOCK + BLOCK - 1
# Headers that are collected before they are taken in: at first, after one that
# was not plain, at most.
_AT_FIRST, _FEWEST, _MOST = 256, 8, 1024
_TURNS = 128  # headers of a walk that takes turns: so many to twice as many
_MOST_HOPS = sys.maxsize
_FAR = 8 << 20  # bytes in which the first header is looked for where none stands at the beginning


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
    read_at: ReadAt,
    start: int,
    end: int,
    into: MemberColumns,
    hint: Hint | None = None,
    data_from: DataFrom | None = None,
) -> int:
    """Append the members of the archive in bytes [start, end) to ``into``,
    one read after the other.

    Returns the offset just behind the last member and its padding: where the end marker begins,
    or ``end`` if there is none. What is out of form is passed over: ``into.problems`` says where
    and what. Raises ArchiveError where nothing sound follows; the members before are in ``into``
    then, and sound. A member whose data would go past ``end`` is not.
    Memory beside ``into`` is bounded, and no block is read twice but in an archive made for that.
    ``hint`` is of no use here; ``data_from`` tells where holes are, so that none is searched for
    headers.
    """
    check_length(start, end)
    return Walk(read_at, end, into, data_from=data_from).until(start, end)[0]


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

    With ``hint`` it announces each read, and yields before it reads. A ``strict`` walk raises
    ArchiveError at whatever is out of form, also where it could go on.
    """

    __slots__ = (
        "_ahead",
        "_most",
        "_reader",
        "_rest",
        "_search",
        "at",
        "end",
        "hint",
        "into",
        "overrides",
        "stop",
    )

    def __init__(
        self,
        read_at: ReadAt,
        end: int,
        into: MemberColumns,
        hint: Hint | None = None,
        *,
        strict: bool = False,
        data_from: DataFrom | None = None,
    ) -> None:
        self.end, self.into, self.hint = end, into, hint
        self._reader = MemberReader(read_at, end, into, strict=strict)
        self.overrides = self._reader.overrides
        self.at, self.stop = 0, end
        self._rest: bytes | None = None  # what a plain member's header is expected to end with
        self._most = _AT_FIRST
        self._ahead: dict[int, bytes] = {}  # position -> block behind one that was not plain
        self._search = HeaderSearch(lambda at, length: self.read_at(at, length), data_from)

    @property
    def read_at(self) -> ReadAt:
        """How the archive is read; it may be exchanged between two calls."""
        return self._reader.read_at

    @read_at.setter
    def read_at(self, read_at: ReadAt) -> None:
        self._reader.read_at = read_at

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
            self._reader.has_begun = True
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

        Walks that take turns do not take in their members at the same time, however much they have
        in common: no read would be announced for so long.
        """
        if self.hint is None:
            return self._most
        return min(self._most, _TURNS + position // BLOCK % _TURNS)

    def _keep_ahead(self, positions: list[int], blocks: list[bytes]) -> None:
        """The walk will probably come to headers that were read already: nothing is read twice."""
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
        # Headers read past a non-plain one may be wasted, so a batch grows only as far as earlier
        # batches proved useful.
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
        try:
            landed = self._reader.append(position, block)
        except CutOffError:
            raise
        except ArchiveError as error:
            if self._reader.strict:
                raise
            return self._go_on(position, error)
        if landed is not None or self._reader.strict or position >= self.end:
            return landed
        behind = self._search.next(position + BLOCK, self.end)
        if behind is not None:
            follow = f"zeros, as at an archive's end, and {self.end - behind:,} bytes behind them"
            self._reader.leave_out(ArchiveError(follow, position), position, behind)
        elif self._search.met_data:
            # A hole that swallowed all headers, or no part of the tar: that cannot be told.
            follow = (
                "zeros, as at an archive's end, and behind them bytes with no header among them"
            )
            self._reader.leave_out(ArchiveError(follow, position), position, self.end)
        return behind

    def _go_on(self, position: int, error: ArchiveError) -> int:
        """Where the next sound header is behind a bad one, as GNU tar goes on; else the error.

        What does not begin with a header at all is mostly no tar: there the search is not far.
        """
        begin = self._reader.header + BLOCK
        end = self.end if self._reader.has_begun else min(self.end, begin + _FAR)
        found = self._search.next(begin, end)
        if found is None:
            raise error
        self._reader.leave_out(error, position, found)
        return found
