"""A deflated member, whole, and only if it is what the directory says: length and sum."""

from __future__ import annotations

import zlib

from imagenetfs.errors import ArchiveError

MOST_INFLATED = 1 << 28
"""Bytes that a member may have which is inflated in memory."""

MOST_RATIO = 1032
"""Deflate makes no more bytes of one (zlib's manual, Maximum Expansion Factor)."""


def inflate(packed: bytes, size: int, crc: int) -> bytes:
    """The ``size`` bytes that ``packed`` is deflated from.

    Raises ArchiveError where it is anything else; no more memory is taken than for one byte more.
    """
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
