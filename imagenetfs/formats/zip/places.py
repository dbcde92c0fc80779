"""Where the members' data stand, and which members cannot be read.

The directory says where each local header begins, and not how long it is: its extra fields may be
others than the directory's. In an archive whose members follow one another the room between two
headers tells it; a few local headers of each kind are read to see what else stands in that room.
Members that have another room than the others of their kind are looked at one by one. Should a
member have the same room and another header all the same (more extra fields, and so much less
behind its data), that is seen when it is first read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.zip import local_header
from imagenetfs.formats.zip.directory import (
    DEFLATED,
    DESCRIPTOR,
    ENCRYPTED,
    PATCH,
    STORED,
    Array,
    ZipMembers,
)
from imagenetfs.formats.zip.end import ReadAt
from imagenetfs.formats.zip.inflate import MOST_RATIO

_SAMPLES = 3
"""Local headers that are read of each kind of member."""

_LARGE = 1 << 32


class Refusal(IntEnum):
    """Why a member cannot be read."""

    NONE = 0
    ENCRYPTED = 1
    METHOD = 2
    PATCH = 3
    ELSEWHERE = 4
    SIZES = 5
    BOMB = 6
    CUT_OFF = 7
    OVERLAP = 8
    OTHER_HEADER = 9
    NUL = 10


REASONS = {
    Refusal.ENCRYPTED: "it is encrypted (unpack the zip once with its password)",
    Refusal.METHOD: "it is compressed by another method than deflate (pack it anew: unzip, zip -0)",
    Refusal.PATCH: "it is a patch of another file",
    Refusal.ELSEWHERE: "it stands in another part of a zip in several",
    Refusal.SIZES: "it is stored, and has two sizes",
    Refusal.BOMB: "it says to be larger than what it is deflated to can be",
    Refusal.CUT_OFF: "its place is outside of the archive",
    Refusal.OVERLAP: "it reaches into the next member, as in zips that are made to do harm",
    Refusal.OTHER_HEADER: "the header at its place is another one",
    Refusal.NUL: "its name has a zero byte in it",
}


@dataclass(frozen=True, slots=True)
class Places:
    """A value a member: where its data begin in the file, and a :class:`Refusal`."""

    offsets: Array
    refusals: Array


def find_places(read_at: ReadAt, members: ZipMembers) -> Places:
    """The places of all members. Only few bytes are read. Raises SourceReadError."""
    refusals = _refused_alone(members)
    least = (
        members.headers + local_header.SIZE + members.lengths
    )  # where data begin at the earliest
    usable = refusals == Refusal.NONE
    cut = usable & ((members.headers < members.start) | (least + members.packed > members.end))
    refusals[cut] = Refusal.CUT_OFF
    limits, twice = _limits(members, refusals)
    usable = refusals == Refusal.NONE
    refusals[usable & (least + members.packed > limits)] = Refusal.OVERLAP
    rooms = limits - least - members.packed
    offsets = least.copy()
    rows = np.flatnonzero(refusals == Refusal.NONE)
    _Resolver(read_at, members, rooms, offsets, refusals).resolve(rows, twice[rows])
    return Places(offsets, refusals)


def _refused_alone(members: ZipMembers) -> Array:
    """What each member's own entry says against it."""
    stored, deflated = members.methods == STORED, members.methods == DEFLATED
    refusals = np.zeros(len(members), dtype=np.int64)
    refusals[deflated & (members.sizes > members.packed * MOST_RATIO)] = Refusal.BOMB
    refusals[stored & (members.sizes != members.packed)] = Refusal.SIZES
    refusals[(members.sizes < 0) | (members.packed < 0)] = Refusal.CUT_OFF
    refusals[(members.disks != 0) & (members.disks != 0xFFFF)] = Refusal.ELSEWHERE
    refusals[members.flags & PATCH != 0] = Refusal.PATCH
    refusals[~(stored | deflated)] = Refusal.METHOD
    refusals[members.flags & ENCRYPTED != 0] = Refusal.ENCRYPTED
    refusals[members.directories()] = Refusal.NONE  # nothing is read of it
    refusals[members.with_byte(b"\0")] = Refusal.NUL
    return refusals


def _limits(members: ZipMembers, refusals: Array) -> tuple[Array, Array]:
    """Where each member ends at the latest: where the next header begins. And whether another
    member begins where it does. Those that lie outside of the archive limit none."""
    inside = refusals != Refusal.CUT_OFF
    starts, counts = np.unique(members.headers[inside], return_counts=True)
    if not len(starts):
        return np.full(len(members), members.end), np.zeros(len(members), dtype=bool)
    at = np.searchsorted(starts, members.headers, side="right")
    limits = np.append(starts, members.end)[at]
    own = np.clip(at - 1, 0, len(starts) - 1)
    twice = inside & (starts[own] == members.headers) & (counts[own] > 1)
    return np.minimum(limits, members.end), twice


class _Resolver:
    """Finds how long local headers are."""

    def __init__(
        self, read_at: ReadAt, members: ZipMembers, rooms: Array, offsets: Array, refusals: Array
    ) -> None:
        self._read_at = read_at
        self._members = members
        self._rooms = rooms
        self._offsets = offsets
        self._refusals = refusals

    def resolve(self, rows: Array, twice: Array) -> None:
        """Of these rows; ``twice``: those that share their header with another."""
        for row in rows[twice].tolist():
            self._look(row)
        rows = rows[~twice]
        members = self._members
        large = (members.sizes[rows] >= _LARGE) | (members.packed[rows] >= _LARGE)
        streamed = members.flags[rows] & DESCRIPTOR != 0
        kinds = members.extras[rows] << 2 | streamed << 1 | large
        for kind in np.unique(kinds, return_counts=True)[0].tolist():
            self._resolve_kind(rows[kinds == kind])

    def _resolve_kind(self, rows: Array) -> None:
        """Rows of a kind, whose local headers are mostly of one form."""
        rooms = self._rooms[rows]
        values, counts = np.unique(rooms, return_counts=True)
        is_usual = rooms == values[np.argmax(counts)]
        usual, others = rows[is_usual], rows[~is_usual]
        samples = np.linspace(0, len(usual) - 1, min(_SAMPLES, len(usual))).astype(np.int64)
        found = {self._look(row) for row in usual[samples].tolist()}
        unseen = np.delete(usual, samples)
        if len(found) == 1 and None not in found:
            self._offsets[unseen] += found.pop()
        else:
            others = np.concatenate((unseen, others))
        for row in others.tolist():
            self._look(row)

    def _look(self, row: int) -> int | None:
        """Read a local header, and set where the data begin; how long its extra fields are, None
        where it is no header of the member."""
        members = self._members
        name, at = members.names[row], int(members.headers[row])
        block = self._read_at(at, local_header.SIZE + len(name))
        try:
            header = local_header.parse_local_header(block)
        except ArchiveError:
            self._refusals[row] = Refusal.OTHER_HEADER
            return None
        extra = header.length - local_header.SIZE - len(name)
        if (
            block[local_header.SIZE :] != name
            or header.name_length != len(name)
            or header.method != members.methods[row]
        ):
            self._refusals[row] = Refusal.OTHER_HEADER
        elif extra > self._rooms[row]:
            self._refusals[row] = Refusal.OVERLAP
        else:
            self._offsets[row] += extra
            return extra
        return None
