"""Amounts of a disk: bytes, or a part of what there is."""

from __future__ import annotations

import re
from dataclasses import dataclass

_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_UNITS |= {unit + "i": 1024**power for power, unit in enumerate("KMGT", start=1)}
_TEXT = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT]i?)?B?|(%))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Size:
    """The least of several amounts: ``count`` bytes, ``part`` (0 to 1) of a
    whole; None: no such bound.
    """

    count: int | None = None
    part: float | None = None

    def of(self, whole: int) -> int:
        """In bytes, where ``whole`` is what there is."""
        bounds = [whole if self.part is None else int(self.part * whole)]
        return min(bounds if self.count is None else [*bounds, self.count])

    def under(self, ceiling: Size) -> Size:
        """No more than this and no more than a ceiling."""
        counts = [c for c in (self.count, ceiling.count) if c is not None]
        parts = [p for p in (self.part, ceiling.part) if p is not None]
        return Size(min(counts, default=None), min(parts, default=None))

    def __str__(self) -> str:
        part = "" if self.part is None else f"{100 * self.part:g}%"
        count = "" if self.count is None else _short(self.count)
        return " at most ".join(filter(None, (part, count)))


def _short(count: int) -> str:
    for unit, factor in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if count and count % factor == 0:
            return f"{count // factor}{unit}"
    return str(count)


def parse_size(text: str) -> Size:
    """``200G``, ``1.5TiB``, ``1000000`` or ``50%``. Raises ValueError."""
    found = _TEXT.fullmatch(text.strip())
    if found is None:
        raise ValueError(text)
    number = float(found[1])
    if found[3]:
        if number > 100:
            raise ValueError(text)
        return Size(part=number / 100)
    unit = (found[2] or "").upper().replace("I", "i")
    return Size(count=int(number * _UNITS[unit]))
