"""Texts that are read in pieces (status.json, log), in memory that all workers share.

Each worker has a ring buffer of its own, in which a new text takes the place of the oldest ones:
hundreds of status.json, so that a reader may take its time while others read too.
"""

from __future__ import annotations

from imagenetfs.errors import SourceChangedError

MOST_BYTES = 1 << 18
"""Bytes of a text; what goes beyond is cut off."""

_BUFFER = 8 * MOST_BYTES
_PLACES = 512
_PLACE = 3  # words: the text's number, where it begins, its length
_HEAD = 8 * (1 + _PLACES * _PLACE) + 4088 & -4096

AREA = _HEAD + _BUFFER
"""Bytes that a worker's texts take, of which only those are used that are written to."""


class SnapshotBuffer:
    """One worker's texts, in :data:`AREA` bytes of zeros.

    That worker alone writes, all may read.
    """

    def __init__(self, area: memoryview) -> None:
        self._words = area[:_HEAD].cast("Q")  # bytes written so far, of all texts together; places
        self._buffer = area[_HEAD:]

    def keep(self, number: int, text: bytes) -> None:
        """Keep a text under a number that is larger than all before, from 1 on."""
        data, words = text[:MOST_BYTES], self._words
        start = words[0]
        if start % _BUFFER + len(data) > _BUFFER:
            start += _BUFFER - start % _BUFFER  # in one piece
        place = 1 + number % _PLACES * _PLACE
        words[0] = start + len(data)  # first: a reader of what lay there must see it go
        words[place] = 0
        words[place + 1], words[place + 2] = start, len(data)
        at = start % _BUFFER
        self._buffer[at : at + len(data)] = data
        words[place] = number

    def text(self, number: int) -> bytes:
        """A kept text. Raises SourceChangedError where it has given way to newer ones."""
        words = self._words
        place = 1 + number % _PLACES * _PLACE
        start, length = words[place + 1], words[place + 2]
        at = start % _BUFFER
        data = bytes(self._buffer[at : at + length])
        if words[place] != number or words[0] > start + _BUFFER:
            raise SourceChangedError("this file was opened too long ago; open it again.")
        return data
