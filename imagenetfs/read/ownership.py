"""Which users may read what in a mount for all users (allow_other): each image has the rights that
the source gives.

The server reads with one account's rights, so the kernel must check each caller; it knows all of
the caller's groups, of which NFSv3 tells a server sixteen. An image has owner, group and mode of
its archive, or of its own file where it is one. If a parent directory is restricted too, the caller
must pass both checks. One (uid, gid, mode) expresses that only if all restrictions name the same
user or group; otherwise only root may read. A directory of a class has the rights of its archives,
a file that is made those of all that it is made of. They are asked for at once where no process has
noted them yet: of very many in one directory by one listing of it.
"""

from __future__ import annotations

import os
import stat
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from imagenetfs.errors import ImagenetfsError
from imagenetfs.source.file_state import Ownership
from imagenetfs.source.source import DirectoryEntry, Source
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.source_paths import SourcePaths

ROOT_ALONE: Ownership = (0, 0, 0)

_MOST_FILES = 10_000
_MOST_DIRECTORIES = 16
_MOST_SEVERAL = 4096
_MANY = 64
"""So many files of a directory are each asked about; more are listed."""
_OF_SOURCE = (InodeKind.FILE, InodeKind.SOURCE, InodeKind.ALIAS, InodeKind.ARCHIVES)
_READ, _SEARCH = 0o444, 0o111


class OwnershipMapper:
    """Answers for the workers of a mount; each has a memory of its own."""

    def __init__(self, source: Source, backing: SourcePaths, revalidate: float) -> None:
        self._source = source
        self._backing = backing
        self.keep = revalidate / 2
        """For how many seconds an answer is used: half of what it may be old."""
        self._files: dict[bytes, tuple[float, Ownership]] = {}
        self._directories: dict[bytes, _ListedRights] = {}
        self._several: dict[int, tuple[float, int, Ownership]] = {}

    def of(self, inode: int, mode: int) -> tuple[int, int, int] | None:
        """(owner, group, mode) to show of an inode whose kind and own bits ``mode`` has; None where
        the source says nothing about it. Raises SourceReadError, SourceUnreadableError.
        """
        kind = kind_of(inode)
        if kind in _OF_SOURCE:
            *_, path = self._backing.paths(inode)
            rights = self._of_path(path)
            if self._backing.is_link(inode):
                rights = self._of_target(path, rights)
        elif kind in (InodeKind.CLASS, InodeKind.FIXED):
            paths = list(self._backing.paths(inode))
            if not paths:
                return None
            rights = self._of_several(inode, paths)
        else:
            return None
        uid, gid, bits = rights
        shown = shown_bits(uid, bits, is_directory=stat.S_ISDIR(mode), searched=mode & _SEARCH != 0)
        return uid, gid, stat.S_IFMT(mode) | shown

    def prepare(self, inodes: Iterable[int]) -> None:
        """These will be asked about next: ask at once for what many of them need."""
        some = (inode for inode in inodes if kind_of(inode) != InodeKind.FIXED)
        paths = {path for inode in some for path in self._backing.paths(inode)}
        if len(paths) > _MANY:
            self._list_unknown(paths)

    def covers(self, inode: int, paths: tuple[bytes, ...]) -> bool:
        """Whether all who may read an inode may read these files too."""
        if not paths:
            return True
        rights = self._of_all(paths)
        if rights[2] & _READ == _READ:
            return True
        if kind_of(inode) in _OF_SOURCE:
            *_, path = self._backing.paths(inode)
            return self._of_path(path) == rights
        return self._of_all(list(self._backing.paths(inode))) == rights

    def _of_several(self, inode: int, paths: list[bytes]) -> Ownership:
        """Of what is made of more than one file; used until other rights are noted of any."""
        if len(paths) == 1:
            return self._of_all(paths)
        now, changes = time.monotonic(), self._source.known.rights_changes
        until, state, rights = self._several.get(inode, (0.0, -1, ROOT_ALONE))
        if now >= until or state != changes:
            if len(paths) > _MANY:
                self._list_unknown(paths)
            rights = self._of_all(paths)
            files = (self._files[path][0] for path in paths if path in self._files)
            directories = {path.rpartition(b"/")[0] for path in paths} & self._directories.keys()
            listed = (self._directories[directory].until for directory in directories)
            if len(self._several) >= _MOST_SEVERAL:
                self._several.clear()
            until = min(now + self.keep, *files, *listed)
            self._several[inode] = until, changes, rights
        return rights

    def _of_all(self, paths: Iterable[bytes]) -> Ownership:
        """Who may read all of these; root alone where the source does not say."""
        try:
            return common_ownership([self._of_path(path) for path in paths])
        except ImagenetfsError:
            return ROOT_ALONE

    def _of_path(self, path: bytes) -> Ownership:
        *above, own = (self._rights(part) for part in (*parents(path), path))
        return effective_ownership(above, own)

    def _of_target(self, path: bytes, own: Ownership) -> Ownership:
        """Of a file that a link leads to: the directories above that file must be passed too."""
        try:
            target = (self._source.path / os.fsdecode(path)).resolve(strict=True)
            above = [ownership_of(directory.stat()) for directory in target.parents]
        except OSError:
            return ROOT_ALONE
        return effective_ownership(above, own)

    def _rights(self, path: bytes) -> Ownership:
        now = time.monotonic()
        known = self._known(path, now)
        if known is not None:
            return known
        status = self._source.status(path)
        rights = ownership_of(status) if status is not None else ROOT_ALONE
        if len(self._files) >= _MOST_FILES:
            self._files.clear()
        self._files[path] = now + self.keep, rights
        return rights

    def _known(self, path: bytes, now: float) -> Ownership | None:
        """What was noted by the access monitor, or found by this process a short while ago."""
        noted = self._source.known.rights(path)
        if noted is not None:
            return noted
        until, rights = self._files.get(path, (0.0, ROOT_ALONE))
        if now < until:
            return rights
        directory, _, name = path.rpartition(b"/")
        listed = self._directories.get(directory)
        return listed.of(name) if listed is not None and now < listed.until else None

    def _list_unknown(self, paths: Iterable[bytes]) -> None:
        """List the directories of which very many files are to be asked about."""
        now = time.monotonic()
        unknown = (path for path in paths if self._known(path, now) is None)
        counts = Counter(path.rpartition(b"/")[0] for path in unknown)
        for directory in [directory for directory, count in counts.items() if count > _MANY]:
            try:
                entries = self._source.entries(directory)
            except ImagenetfsError:  # what lies in it may be asked about all the same
                continue
            if len(self._directories) >= _MOST_DIRECTORIES:
                self._directories.clear()
            self._directories[directory] = _listed_rights(entries, now + self.keep)


@dataclass(frozen=True, slots=True)
class _ListedRights:
    """Owner, group and mode of a directory's entries: those of most of them, and those that differ;
    None for links. Good until the monotonic time ``until``, in seconds.
    """

    until: float
    usual: Ownership
    others: dict[bytes, Ownership | None]

    def of(self, name: bytes) -> Ownership | None:
        """An entry's own; None where only asking tells."""
        return self.others.get(name, self.usual)


def _listed_rights(entries: Iterable[DirectoryEntry], until: float) -> _ListedRights:
    found: dict[bytes, Ownership | None] = {
        entry.name: None
        if stat.S_ISLNK(entry.mode)
        else (entry.uid, entry.gid, stat.S_IMODE(entry.mode) & 0o777)
        for entry in entries
    }
    counts = Counter(rights for rights in found.values() if rights is not None)
    usual = counts.most_common(1)[0][0] if counts else ROOT_ALONE
    others = {name: rights for name, rights in found.items() if rights != usual}
    return _ListedRights(until, usual, others)


def ownership_of(status: os.stat_result) -> Ownership:
    """Owner, group and permission bits."""
    return status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode) & 0o777


def shown_bits(uid: int, bits: int, *, is_directory: bool, searched: bool) -> int:
    """The permission bits to show, for the rights ``bits`` of a file of the source.

    Copies get the bits of their originals, so a copy must stay usable for the one who makes it:
    the owner of a directory may write where he may read (the mount is read-only: EROFS). Root
    passes every check, so root as the owner has what anyone has.
    """
    readable = bits & _READ
    if readable and uid == 0:
        readable |= 0o400
    shown = readable | (readable >> 2 if searched else 0)
    return shown | (readable & 0o400) >> 1 if is_directory else shown


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
    return closed.pop() if len(closed) == 1 else ROOT_ALONE


def common_ownership(several: Iterable[Ownership]) -> Ownership:
    """Who may read all of these, each as :func:`effective_ownership` has it."""
    every = list(dict.fromkeys(several))
    closed = [rights for rights in every if rights[2] & _READ != _READ]
    if len(closed) <= 1:
        return closed[0] if closed else every[0]
    who = {_who(rights, _READ) for rights in closed}
    return who.pop() if len(who) == 1 else ROOT_ALONE


def _who(rights: Ownership, right: int) -> Ownership:
    """The one group or user that has a right which not all have, and no more than it."""
    uid, gid, bits = rights
    if bits & right & 0o007:  # but not its group, or its owner, which cannot be said of both
        return ROOT_ALONE
    if bits & right & 0o070:
        return 0, gid, 0o040
    return (uid, 0, 0o400) if bits & right & 0o700 else ROOT_ALONE
