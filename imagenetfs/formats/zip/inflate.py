"""A deflated member, whole, and only if it is what the directory says: length and sum."""

from __future__ import annotations

import zlib

from imagenetfs.errors import ArchiveError

MOST_INFLATED = 1 << 28
"""Bytes that a member may have which is inflated in memory."""

MOST_ANY_GROWTH = 1 << 23
"""Bytes that it may have whatever it is deflated to. A larger one that grows more than
``MOST_GROWTH`` times is refused, so that a small zip costs each process little memory.
"""

MOST_GROWTH = 10
"""Text grows five to eight times, images hardly at all; a bomb grows a thousand times."""

MOST_RATIO = 1032
"""Deflate makes no more bytes of one (zlib's manual, Maximum Expansion Factor)."""


def is_inflated(packed: int, size: int) -> bool:
    """Whether so many deflated bytes are inflated to ``size`` in memory."""
    return size <= min(MOST_INFLATED, max(MOST_ANY_GROWTH, MOST_GROWTH * packed))


def inflate(packed: bytes, size: int, crc: int) -> bytes:
    """The ``size`` bytes that ``packed`` is deflated from.

    Raises ArchiveError where it is anything else, and where :func:`is_inflated` says no. It takes
    twice ``size`` of memory for a moment, however many bytes there are.
    """
    if not is_inflated(len(packed), size):
        raise ArchiveError(
            f"it is deflated, and has {size:,} bytes: files of more than {MOST_INFLATED:,}, and of "
            f"more than {MOST_ANY_GROWTH:,} that grow over {MOST_GROWTH} times, are not inflated "
            "in memory; unpack the zip, or pack it anew without compression"
        )
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed, size + 1)
        if not inflater.eof and len(data) == size:  # its last bits may say no more than that
            data += inflater.decompress(inflater.unconsumed_tail, 1)
    except zlib.error as error:
        raise ArchiveError(f"it cannot be inflated ({error})") from None
    if len(data) > size:
        raise ArchiveError(f"it has more than the {size:,} bytes that the directory says")
    if not inflater.eof:
        raise ArchiveError("its deflated data have no end")
    if len(data) < size:
        raise ArchiveError(f"it has {len(data):,} bytes, and the directory says {size:,}")
    if inflater.unused_data:
        raise ArchiveError("something stands behind its deflated data")
    if zlib.crc32(data) != crc:
        raise ArchiveError("its checksum does not hold")
    return data
