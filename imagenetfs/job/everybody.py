"""Whom a mount for all users (allow_other) lets in at all: those whom the source itself lets in.

What lies in it has rights of its own, those of its archives (see imagenetfs.read.ownership); the
kernel checks each caller.
"""

from __future__ import annotations

from pathlib import Path

from imagenetfs.read.ownership import ownership_of


def access_of(source: Path) -> tuple[int, int, int]:
    """Owner, group and permission bits of the mount's root directory: those of the source. Only its
    owner may write, as the bits say, and only where he may read: so a copy can be deleted.

    Raises OSError.
    """
    uid, gid, bits = ownership_of(source.stat())
    return uid, gid, bits & 0o555 | (bits & 0o400) >> 1
