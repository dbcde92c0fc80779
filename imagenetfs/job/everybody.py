"""Whom a mount for all users (allow_other) lets in: those whom the source itself lets read everything.

The server reads with its account's rights, so the kernel must check each caller instead; it knows all of his
groups, of which NFSv3 tells a server sixteen. All parts of the source that are closed to others have to be
open to the same group (or belong to the same user alone); the mount's root directory then has that owner,
group and mode. What is closed in several ways is not shown to all: nobody sees more than his rights.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from imagenetfs.errors import SourceUnreadableError

Access = tuple[int, int, int]
"""Owner, group, and permission bits of the mount's root directory."""

_OPEN: Access = (0, 0, 0o555)
_DEPTH = 2
_MOST_ENTRIES = 4096
"""Of one directory: those with more hold classes, which are closed together with it, if at all."""


def access_of(source: Path) -> Access:
    """Who may enter a mount of ``source``; raises SourceUnreadableError where one directory cannot say it."""
    found: dict[Access, Path] = {}
    for path, status in _parts(source, _DEPTH):
        access = _access(status)
        if access != _OPEN:
            found.setdefault(access, path)
    if len(found) > 1:
        (first, one), (second, other) = list(found.items())[:2]
        raise SourceUnreadableError(
            f"{one} is open to {_who(first)} and {other} to {_who(second)}: a mount for all users "
            "(allow_other) would show both to both. Mount without it, or give both the same group and mode."
        )
    return next(iter(found), _OPEN)


def _parts(path: Path, depth: int) -> Iterator[tuple[Path, os.stat_result]]:
    status = path.stat()
    yield path, status
    if depth == 0 or not stat.S_ISDIR(status.st_mode):
        return
    with os.scandir(path) as entries:
        children = [Path(entry.path) for entry in entries]
    for child in sorted(children)[:_MOST_ENTRIES]:
        try:
            yield from _parts(child, depth - 1)
        except PermissionError:
            continue  # closed to the server, so nobody sees it through the mount
        except FileNotFoundError:
            continue  # a link into nowhere


def _access(status: os.stat_result) -> Access:
    mode = status.st_mode
    needed = 0o5 if stat.S_ISDIR(mode) else 0o4
    if mode & needed == needed:
        return _OPEN
    if mode >> 3 & needed == needed:
        return (0, status.st_gid, 0o550)
    return (status.st_uid, 0, 0o500)


def _who(access: Access) -> str:
    owner, group, mode = access
    return f"the group {group} alone" if mode & 0o070 else f"the user {owner} alone"
