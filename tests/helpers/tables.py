"""Member tables of given names and modes."""

from __future__ import annotations

import stat
from typing import Any

from imagenetfs.index.member_encoder import MemberRows, encode_member_table
from imagenetfs.index.member_table import MemberTable

FILE = stat.S_IFREG | 0o644
DIRECTORY = stat.S_IFDIR | 0o755
LINK = stat.S_IFLNK | 0o777


def rows_of(entries: list[tuple[bytes, int]]) -> MemberRows:
    """Rows whose numbers all differ, so that a mix-up shows."""
    rows = MemberRows()
    for at, (name, mode) in enumerate(entries):
        rows.names.append(name)
        rows.modes.append(mode)
        rows.headers.append(at * 4096)
        rows.offsets.append(at * 4096 + 512)
        rows.sizes.append(at * 7)
        rows.mtimes.append(at * 1_000_000_000)
        if mode == LINK:
            rows.links[at] = b"to-%d" % at
    return rows


def members_of(entries: list[tuple[bytes, int]], **meta: Any) -> MemberTable:
    return MemberTable(memoryview(encode_member_table(rows_of(entries), meta)))
