"""What every listing promises, and listings as plain entries."""

from __future__ import annotations

import numpy as np

from imagenetfs.tree.listing import (
    Attributes,
    Columns,
    Listing,
    name_bytes,
)


def entries_of(some: Columns) -> list[tuple[bytes, int, Attributes]]:
    """Columns as entries, one by one."""
    cut, count = [0, *some.ends.tolist()], len(some.ends)
    modes, nlinks = np.broadcast_to(some.modes, count), np.broadcast_to(some.nlinks, count)
    return [
        (
            some.prefix + some.middles[cut[at] : cut[at + 1]].tobytes() + some.suffix,
            int(some.inodes[at]),
            Attributes(
                int(modes[at]), int(some.sizes[at]), int(some.mtimes_ns[at]), int(nlinks[at])
            ),
        )
        for at in range(count)
    ]


def check_listing(listing: Listing) -> dict[bytes, tuple[int, Attributes]]:
    """What every listing promises; returns name -> (inode, attributes)."""
    every = list(listing.entries(0))
    names = [name for name, _, _ in every]
    assert names == sorted(set(names))
    assert len(listing) == len(every)
    assert name_bytes(listing) == sum(map(len, names))
    assert listing.sizes().tolist() == [attributes.size for _, _, attributes in every]
    for start in {0, 1, len(every) // 2, len(every) - 1, len(every), len(every) + 1} - {-1}:
        assert list(listing.entries(start)) == every[start:]
        assert entries_of(listing.columns(start, start + 3)) == every[start : start + 3]
    assert entries_of(listing.columns(0, len(every) + 9)) == every
    for name, number, _ in every:
        assert listing.find(name) == number
    for missing in (b"", b"nothing", b"\xff", b"zz", *(name + b"x" for name in names[:3])):
        assert (missing in names) or listing.find(missing) is None
    return {name: (number, attributes) for name, number, attributes in every}
