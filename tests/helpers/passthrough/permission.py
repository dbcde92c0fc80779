"""Who may do what, by the rules of an NFSv3 server: AUTH_SYS carries the primary
group and sixteen others.

Sources: RFC 5531, appendix A (``gids<16>``); acl(5), ACCESS CHECK ALGORITHM;
linux/posix_acl_xattr.h.
"""

from __future__ import annotations

import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

READ, SEARCH = 4, 1

_USER, _GROUP_OBJECT, _GROUP, _MASK = 2, 4, 8, 16
ACCESS_LIST = "system.posix_acl_access"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: ``groups`` are those that reach the server."""

    uid: int
    groups: frozenset[int]


def caller(uid: int, gid: int, pid: int, limit: int | None) -> Caller:
    """The caller of a request as the server sees it; the kernel keeps
    supplementary groups sorted.
    """
    groups: list[int] = []
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("Groups:"):
                groups = [int(group) for group in line.split()[1:]]
    except OSError:  # it has ended meanwhile
        pass
    return Caller(uid, frozenset([gid, *groups[:limit]]))


def is_being_killed(pid: int) -> bool:
    """Whether a process has been sent SIGKILL, or has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return True
    pending = [int(line.split()[1], 16) for line in lines if line.startswith(("SigPnd", "ShdPnd"))]
    return any(mask >> signal.SIGKILL - 1 & 1 for mask in pending)


def allows(who: Caller, fd: int, wanted: int, *, squash_root: bool) -> bool:
    """Whether the file behind an O_PATH descriptor grants ``wanted`` (READ, SEARCH)."""
    if who.uid == 0 and not squash_root:
        return True
    status = os.fstat(fd)
    if who.uid == status.st_uid and who.uid != 0:
        return bool(status.st_mode >> 6 & wanted)
    entries = _access_list(fd)
    if entries is None:
        of_group = status.st_mode >> 3 if status.st_gid in who.groups else status.st_mode
        return bool(of_group & wanted) if who.uid != 0 else bool(status.st_mode & wanted)
    mask = next((rights for tag, rights, _ in entries if tag == _MASK), 7)
    for tag, rights, name in entries:
        if tag == _USER and name == who.uid:
            return bool(rights & mask & wanted)
    named = [
        rights
        for tag, rights, name in entries
        if (tag == _GROUP and name in who.groups)
        or (tag == _GROUP_OBJECT and status.st_gid in who.groups)
    ]
    if named:
        return any(rights & mask & wanted for rights in named)
    return bool(status.st_mode & wanted)


def _access_list(fd: int) -> list[tuple[int, int, int]] | None:
    """(tag, rights, id) of each entry of the file's access list; None where it has none."""
    try:
        value = os.getxattr(f"/proc/self/fd/{fd}", ACCESS_LIST)
    except OSError:
        return None
    return list(struct.iter_unpack("<HHI", value[4:]))
