"""Which parts of the source readers have come to, for those who bring ahead what is read next.

A class that is listed is going to be read, and of one that is read there is more to come. A mount's
processes share the notes; they are written without locks: a note that another overwrites is one
note less.
"""

from __future__ import annotations

import mmap
from typing import NamedTuple

from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.container import Container

_SLOTS = 4096
"""More classes than are listed between two looks; of more, the first are forgotten."""

_COUNT, _FIXED = 0, 1


class Part(NamedTuple):
    """A container: bytes [start, end) of an archive, or the files of a directory: container
    ``inner`` of it.
    """

    archive: int
    inner: int
    start: int
    end: int


_WORDS = len(Part._fields)


def part_of(archive: int, inner: int, container: Container) -> Part:
    """The part of an archive that a container is."""
    extent = container.extent
    if extent.kind is Kind.DIRECTORY:
        return Part(archive, inner, 0, 0)
    return Part(archive, OUTER, extent.start, extent.end)


class RecentParts:
    """Make it before forking."""

    def __init__(self) -> None:
        words = _FIXED + _WORDS * (1 + _SLOTS)
        self._words = memoryview(mmap.mmap(-1, 8 * words)).cast("q")
        self._words[_FIXED] = -1  # no archive

    def note_listed(self, archive: int, inner: int, container: Container) -> None:
        """A container is listed, or read for the first time; not one of containers."""
        if len(container.members.nested):
            return
        count = self._words[_COUNT]
        self._set(1 + count % _SLOTS, part_of(archive, inner, container))
        self._words[_COUNT] = count + 1

    def note_read(self, part: Part) -> None:
        """Something in it was not on this node."""
        self._set(0, part)

    def _set(self, slot: int, part: Part) -> None:
        for at, word in enumerate(part, _FIXED + slot * _WORDS):
            self._words[at] = word

    def _get(self, slot: int) -> Part:
        at = _FIXED + slot * _WORDS
        return Part(*self._words[at : at + _WORDS])

    def read_last(self) -> Part | None:
        """Where something was missing last."""
        part = self._get(0)
        return part if part.archive >= 0 else None

    def listed_since(self, seen: int) -> tuple[list[Part], int]:
        """What was listed after so many notes, in this order; and how many there are now."""
        count = self._words[_COUNT]
        first = max(seen, count - _SLOTS)
        return [self._get(1 + number % _SLOTS) for number in range(first, count)], count
