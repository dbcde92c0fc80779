"""Looking for a header: for the next sound one where there should be one and is none, or for any at
all."""

from __future__ import annotations

import re
from collections.abc import Callable

from imagenetfs.formats.tar.extended import ReadAt
from imagenetfs.formats.tar.header import BLOCK, is_sound

DataFrom = Callable[[int], tuple[int, int]]
"""``data_from(offset)``: the next stretch [from, to) that is not all a hole, as far as that is
known."""

_FIRST_PIECE = 10_240 - BLOCK
"""Bytes: what mostly follows the first block of zeros, in an archive that tar pads to its record
size."""

_LARGEST_PIECE = 1 << 20

# A checksum is written in at least four digits; most blocks are told from headers by the fourth.
_DIGIT_AT = 151
_digits = re.compile(rb"[0-7]").finditer


def first_sound(piece: bytes) -> int | None:
    """The position in ``piece`` of the first block, in steps of 512, whose checksum holds."""
    for match in _digits(piece[_DIGIT_AT::BLOCK]):
        at = match.start() * BLOCK
        block = piece[at : at + BLOCK]
        if len(block) == BLOCK and is_sound(block):
            return at
    return None


class HeaderSearch:
    """Finds the next sound header of an archive, as far away as it may be.

    The pieces that are read grow, and the last one is kept: what is read in all is at most about
    three times what is searched, however many searches there are.
    """

    __slots__ = ("_data_from", "_piece", "_read_at", "_start", "met_data")

    def __init__(self, read_at: ReadAt, data_from: DataFrom | None = None) -> None:
        self._read_at, self._data_from = read_at, data_from
        self._start, self._piece = 0, b""
        self.met_data = False
        """Whether what the last search went over in vain is anything but zeros."""

    def next(self, begin: int, end: int) -> int | None:
        """The offset of the first sound header from ``begin`` on, in steps of 512; None if there is
        none."""
        length, self.met_data = _FIRST_PIECE, False
        while end - begin >= BLOCK:
            most = end - begin
            if self._data_from is not None:
                first, behind = self._data_from(begin)
                begin += max(0, first - begin) & -BLOCK
                most = min(end - begin, max(BLOCK, behind - begin + (begin - behind) % BLOCK))
                if most < BLOCK:
                    return None
            piece = self._kept(begin, end)
            if len(piece) < BLOCK:
                asked = min(length, most)
                piece = self._read_at(begin, asked)
                self._start, self._piece = begin, piece
                length = min(2 * length, _LARGEST_PIECE)
                if len(piece) < asked:
                    end = begin + len(piece)
            at = first_sound(piece)
            if at is not None:
                return begin + at
            self.met_data = self.met_data or bool(piece.lstrip(b"\0"))
            begin += len(piece) & -BLOCK or BLOCK
        if begin < end and not self.met_data:  # less than a block
            rest = self._kept(begin, end) or self._read_at(begin, end - begin)
            self.met_data = bool(rest.lstrip(b"\0"))
        return None

    def _kept(self, begin: int, end: int) -> bytes:
        if not self._start <= begin < self._start + len(self._piece):
            return b""
        return self._piece[begin - self._start : end - self._start]
