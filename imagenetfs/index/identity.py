"""How an archive is known again: its size, and a checksum over header blocks sampled across it.

The modification time is no part of it: a touch or a chgrp changes nothing that was indexed.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable

from imagenetfs.index.members import Members

ReadAt = Callable[[int, int], bytes]

_HEADER_SIZE = 512


def sampled_rows(rows: int, samples: int) -> list[int]:
    """``samples`` row numbers spread evenly over a table, the first and the last among them."""
    if rows <= samples:
        return list(range(rows))
    return sorted({index * (rows - 1) // (samples - 1) for index in range(samples)})


def sample(read_at: ReadAt, members: Members, samples: int) -> int:
    """crc32 over the sampled members' header blocks, read from the archive now."""
    crc = 0
    for row in sampled_rows(len(members), samples):
        crc = zlib.crc32(read_at(members.header(row), _HEADER_SIZE), crc)
    return crc
