"""Whom a mount for all users (allow_other) lets in at all: those whom the source itself lets in.

What lies in it has rights of its own, those of its archives (see serve.rights); the
kernel checks each caller.
"""

from __future__ import annotations

import stat
from pathlib import Path


def access_of(source: Path) -> tuple[int, int, int]:
    """Owner, group and permission bits of the mount's root directory: those of the source.

    Raises OSError.
    """
    status = source.stat()
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode) & 0o555
