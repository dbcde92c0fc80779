"""A range of bytes: of a file, a volume of the cache or an array, as the context says."""

from __future__ import annotations

from typing import NamedTuple


class ByteRange(NamedTuple):
    """The bytes from offset ``start`` up to, not including, offset ``end``."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """How many bytes these are."""
        return self.end - self.start

    @classmethod
    def sized(cls, start: int, length: int) -> ByteRange:
        """The ``length`` bytes from ``start`` on."""
        return cls(start, start + length)
