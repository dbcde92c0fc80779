"""Who may read what in a mount for all users (allow_other): on each image the
rights that the source gives.

The server reads with one account's rights, so the kernel must check each caller; it knows all of
his groups, of which NFSv3 tells a server sixteen. An image has owner, group and mode of its
archive, or of its own file where it is one. Where a directory above that is closed too, both must
be passed: what is closed in one way is for that owner or group alone, what is closed in several
is for root alone.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterable, Iterator

from imagenetfs.source.file_state import Ownership
from imagenetfs.source.source import Source
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.source_paths import SourcePaths

NOBODY: Ownership = (0, 0, 0)

_MOST_FILES = 10_000
_OF_SOURCE = (InodeKind.FILE, InodeKind.SOURCE, InodeKind.ALIAS, InodeKind.ARCHIVES)
_READ, _SEARCH = 0o444, 0o111


class OwnershipMapper:
    """Answers for the workers of a mount; each has a memory of its own."""

    def __init__(self, source: Source, backing: SourcePaths, revalidate: float) -> None:
        self._source = source
        self._backing = backing
        self.keep = revalidate / 2
        """For how many seconds an answer is good: what is looked at is
        twice as new as it must be.
        """
        self._files: dict[bytes, tuple[float, Ownership]] = {}

    def of(self, inode: int, mode: int) -> tuple[int, int, int] | None:
        """(owner, group, mode) to show of an inode whose kind and own bits ``mode`` has; None where
        the source says nothing about it. Raises SourceReadError, SourceUnreadableError.
        """
        kind = kind_of(inode)
        if kind in _OF_SOURCE:
            *_, path = self._backing.paths(inode)
            rights = self._of_path(path)
        elif kind == InodeKind.CLASS:
            # Many classes have archives that no process has opened yet: their images' rights tell
            # then.
            several = {self._noted(path) for path in self._backing.paths(inode)} - {None}
            if not several:
                return None
            rights = several.pop() if len(several) == 1 else NOBODY  # type: ignore[assignment]
        else:
            return None
        uid, gid, bits = rights
        readable = bits & _READ
        return uid, gid, stat.S_IFMT(mode) | readable | (readable >> 2 if mode & _SEARCH else 0)

    def _of_path(self, path: bytes) -> Ownership:
        *above, own = (self._rights(part) for part in (*parents(path), path))
        return effective_ownership(above, own)

    def _noted(self, path: bytes) -> Ownership | None:
        return self._of_path(path) if self._source.known.rights(path) is not None else None

    def _rights(self, path: bytes) -> Ownership:
        noted = self._source.known.rights(path)
        if noted is not None:
            return noted
        now = time.monotonic()
        until, rights = self._files.get(path, (0.0, NOBODY))
        if now >= until:
            status = self._source.status(path)
            rights = ownership_of(status) if status is not None else NOBODY
            if len(self._files) >= _MOST_FILES:
                self._files.clear()
            self._files[path] = now + self.keep, rights
        return rights


def ownership_of(status: os.stat_result) -> Ownership:
    """Owner, group and permission bits."""
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode) & 0o777


def parents(path: bytes) -> Iterator[bytes]:
    """The directories above a path, from the top; not the source itself, whose
    rights the mount's root has.
    """
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def effective_ownership(directories: Iterable[Ownership], own: Ownership) -> Ownership:
    """Who passes all of these directories and may read what lies below them."""
    closed = {_who(rights, _SEARCH) for rights in directories if rights[2] & _SEARCH != _SEARCH}
    if not closed:
        return own
    if own[2] & _READ != _READ:
        closed.add(_who(own, _READ))
    return closed.pop() if len(closed) == 1 else NOBODY


def _who(rights: Ownership, right: int) -> Ownership:
    """The one group or user that has a right which not all have, and no more than it."""
    uid, gid, bits = rights
    if bits & right & 0o007:  # but not its group, or its owner, which cannot be said of both
        return NOBODY
    if bits & right & 0o070:
        return 0, gid, 0o040
    return (uid, 0, 0o400) if bits & right & 0o700 else NOBODY
