"""In which order the images of a directory stand in their archives.

Names say nothing of it: an archive may hold its members in any order. What fetches or keeps
neighbours together (a read cache, a share of the data for a node) has to know.
"""

from __future__ import annotations

import numpy as np

from imagenetfs.index.archives import Kind
from imagenetfs.index.columns import Array
from imagenetfs.index.index import Index
from imagenetfs.index.member_table import MemberTable
from imagenetfs.tree.inode import ROW_BITS, ROW_MASK, fields, has_row_bits


def stored_order(index: Index, inodes: Array) -> Array:
    """The positions of these images of archives in the order in which they stand there: an archive
    after the other. Files of their own, and rows of arrays, stand in the order of their rows.
    """
    numbers = inodes.astype(np.int64)
    stems, which = np.unique(numbers >> ROW_BITS, return_inverse=True)
    places = np.zeros(len(numbers), dtype=np.int64)
    for at in range(len(stems)):
        here = np.flatnonzero(which == at)
        some = numbers[here]
        archive, inner, _ = fields(int(some[0]))
        if has_row_bits(int(some[0])):
            rows = some & ROW_MASK
        else:
            rows = np.array([fields(one)[2] for one in some.tolist()], dtype=np.int64)
        container = index.container(archive, inner)
        members = container.members
        if isinstance(members, MemberTable) and container.extent.kind is not Kind.DIRECTORY:
            offsets, unit, _ = members.places
            places[here] = np.asarray(offsets)[rows].astype(np.int64) * unit
        else:
            places[here] = rows
    return np.lexsort((places, which))
