"""Why a source may not be read: which directory or file refuses, and what would let this user in.

NFSv3 (AUTH_SYS) tells the server a caller's primary group and sixteen others: those that the
kernel, which keeps them sorted, has first. So a user may be refused although a member of the right
group. An access list decides otherwise than the mode says; where the server tells it, it is asked.

Sources: RFC 5531, appendix A (``gids<16>``); acl(5), ACCESS CHECK ALGORITHM;
linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import islice
from pathlib import Path
from typing import Any, Self

SENT = 16
"""Supplementary groups that AUTH_SYS carries."""

_READ, _SEARCH = 4, 1
_LIST = "system.posix_acl_access"
_NFS4_LIST = "system.nfs4_acl"
_USER, _GROUP_OBJECT, _GROUP, _MASK = 2, 4, 8, 16
_ABSENT = ".imagenetfs-absent"
"""A name that is not there: to look it up takes the right to search."""
_MOST_DIRECTORIES = 32
_MOST_ENTRIES = 256


@dataclass(frozen=True, slots=True)
class User:
    """Who asks; ``groups`` are all supplementary groups, in the kernel's order."""

    uid: int
    primary: int
    groups: tuple[int, ...]

    @classmethod
    def here(cls) -> Self:
        """The user of this process."""
        return cls(os.geteuid(), os.getegid(), tuple(os.getgroups()))

    @property
    def sent(self) -> frozenset[int]:
        """The groups that reach an NFSv3 server."""
        return frozenset((self.primary, *self.groups[:SENT]))

    @property
    def hidden(self) -> frozenset[int]:
        """The groups that do not."""
        return frozenset(self.groups) - self.sent


@dataclass(frozen=True, slots=True)
class DeniedPath:
    """A directory or file that refuses. ``wanted``: rights as in a mode's last digit;
    ``entries``: its access list as (tag, rights, id), empty where it has none; ``is_foreign``: an
    NFSv4 access list decides.
    """

    path: str
    wanted: int
    mode: int
    uid: int
    gid: int
    entries: tuple[tuple[int, int, int], ...] = ()
    is_foreign: bool = False

    def opens_for(self) -> frozenset[int]:
        """The groups that it grants what is wanted."""
        if not self.entries:
            return frozenset([self.gid]) if self.grants(self.mode >> 3) else frozenset()
        mask = next((rights for tag, rights, _ in self.entries if tag == _MASK), 7)
        return frozenset(
            self.gid if tag == _GROUP_OBJECT else name
            for tag, rights, name in self.entries
            if tag in (_GROUP, _GROUP_OBJECT) and self.grants(rights & mask)
        )

    def grants(self, rights: int) -> bool:
        """Whether rights as in a mode's last digit are all that is wanted."""
        return rights & self.wanted == self.wanted

    @property
    def wanted_letters(self) -> str:
        """What is wanted, as chmod takes it."""
        return "r" * bool(self.wanted & _READ) + "x" * bool(self.wanted & _SEARCH)

    @property
    def mode_letters(self) -> str:
        """Its mode, as ls shows it."""
        kind = stat.S_IFDIR if self.wanted & _SEARCH else stat.S_IFREG
        return stat.filemode(kind | self.mode)


class DenialReason(Enum):
    """Why a path is denied."""

    HIDDEN_GROUP = auto()
    """A group of the user's opens it, and the server does not hear of that one."""
    NOT_A_MEMBER = auto()
    ACCESS_LIST = auto()
    """An access list decides, and no group that could be made primary is in it."""
    MODE = auto()
    """Its mode closes it to this user, and no group that it has opens it."""
    SERVER = auto()
    """By all that is seen here it is open; the server has a rule of its own."""


def explain(denied: DeniedPath, user: User) -> tuple[DenialReason, int | None]:
    """Why, and the group that would open it: the user's own one, or the one to be a member of."""
    opening = denied.opens_for()
    hidden = sorted(opening & user.hidden)
    if user.uid != denied.uid and not opening & user.sent and hidden:
        return DenialReason.HIDDEN_GROUP, hidden[0]
    if denied.entries or denied.is_foreign:
        return DenialReason.ACCESS_LIST, None
    shift = 6 if user.uid == denied.uid else 3 if denied.gid in user.sent else 0
    if denied.grants(denied.mode >> shift):
        return DenialReason.SERVER, None
    if shift == 0 and opening:
        return DenialReason.NOT_A_MEMBER, denied.gid
    return DenialReason.MODE, None


def group_name(gid: int) -> str:
    """A group's name; its number where it has none here."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_name(uid: int) -> str:
    """A user's name; the number where there is none here."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


# --- looking for the denied path ------------------------------------------------------------------


def find_denied_path(source: Path) -> dict[str, Any] | None:
    """What refuses (a DeniedPath's fields, as JSON can carry them), or None: on the way to the
    source, the source, a directory in it, or the first file of one. May hang where the server does.
    """
    for path, wanted in _on_the_way(source):
        if not _may(path, wanted):
            return _describe(path, wanted)
    return None


def parse_denied_path(described: dict[str, Any]) -> DeniedPath:
    """The path that :func:`find_denied_path` described."""
    return DeniedPath(
        **{**described, "entries": tuple(tuple(entry) for entry in described["entries"])}
    )


def _on_the_way(source: Path) -> Iterator[tuple[Path, int]]:
    for directory in reversed(source.absolute().parents):
        yield directory, _SEARCH
    yield source, _READ | _SEARCH
    for below in sorted(_directories(source))[:_MOST_DIRECTORIES]:
        yield below, _READ | _SEARCH
        file = _first_file(below)
        if file is not None:
            yield file, _READ


def _may(path: Path, wanted: int) -> bool:
    """Whether the server grants it: by asking for it, as no mode tells what a server does."""
    try:
        if wanted & _READ:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC))
        if wanted & _SEARCH:
            (path / _ABSENT).stat()
    except PermissionError:
        return False
    except OSError:
        return True  # another trouble, which reading it will tell
    return True


def _directories(source: Path) -> list[Path]:
    with contextlib.suppress(OSError), os.scandir(source) as entries:
        return [source / e.name for e in islice(entries, _MOST_ENTRIES) if e.is_dir()]
    return []


def _first_file(directory: Path) -> Path | None:
    with contextlib.suppress(OSError), os.scandir(directory) as entries:
        return next(
            (directory / e.name for e in islice(entries, _MOST_ENTRIES) if e.is_file()), None
        )
    return None


def _describe(path: Path, wanted: int) -> dict[str, Any]:
    status = path.stat()
    return {
        "path": str(path),
        "wanted": wanted,
        "mode": status.st_mode & 0o777,
        "uid": status.st_uid,
        "gid": status.st_gid,
        "entries": _access_list(path),
        "is_foreign": _attribute(path, _NFS4_LIST) is not None,
    }


def _access_list(path: Path) -> Sequence[tuple[int, int, int]]:
    value = _attribute(path, _LIST)
    if value is None or len(value) % 8 != 4:
        return []
    return list(struct.iter_unpack("<HHI", value[4:]))


def _attribute(path: Path, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name)
    except OSError:
        return None
