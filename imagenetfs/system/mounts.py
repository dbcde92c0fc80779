"""The mount table: which mounts of ours there are, and taking one away.

Everything is read from ``/proc/self/mountinfo`` (proc(5)): a ``stat`` of a mountpoint whose server
is dead or stuck fails or hangs. ``resolve`` finds a path's real name without touching a mount.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import select
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from imagenetfs.errors import NotMountedError, StillBusyError
from imagenetfs.system.child_call import NoAnswerError
from imagenetfs.system.patience import ask

OUR_TYPE = "fuse.imagenetfs"
MOUNT_TABLE = Path("/proc/self/mountinfo")

IN_MEMORY = frozenset({"tmpfs", "ramfs", "rootfs", "devtmpfs"})
_OVER_NETWORK_WORDS = """
    9p afs beegfs ceph cifs coda dvs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs panfs
    pvfs2 smb3 smbfs virtiofs wekafs yrfs
"""
_OVER_NETWORK = frozenset(_OVER_NETWORK_WORDS.split())

_SYSTEM_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"
_MNT_DETACH = 2
_UMOUNT_NOFOLLOW = 8
_MOST_LINKS = 40
_UNMOUNT_SECONDS = 30.0


class Reach(Enum):
    """Where the data of a file system is, as far as its type tells."""

    NODE = "node"
    PROGRAM = "program"
    """A program has it from wherever it likes: sshfs from another machine, squashfuse from here."""

    NETWORK = "network"


def reach_of(fstype: str) -> Reach:
    """Where the data is of a file system of this type (``fuseblk`` has a disk of this node)."""
    if fstype in _OVER_NETWORK:
        return Reach.NETWORK
    return Reach.PROGRAM if fstype == "fuse" or fstype.startswith("fuse.") else Reach.NODE


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the mount table. ``mount_id`` tells two mounts at one place apart."""

    mount_id: int
    device: str
    mountpoint: str
    fstype: str
    source: str
    options: str

    @property
    def is_ours(self) -> bool:
        """Whether imagenetfs serves it (of any user)."""
        return self.fstype == OUR_TYPE

    @property
    def is_fuse(self) -> bool:
        """Whether a process serves it, which may never answer."""
        return self.fstype == "fuseblk" or reach_of(self.fstype) is Reach.PROGRAM

    @property
    def user_id(self) -> int | None:
        """Who mounted it, for FUSE mounts."""
        return self._number("user_id")

    @property
    def group_id(self) -> int | None:
        """The primary group of those who may read it, for FUSE mounts without allow_other."""
        return None if "allow_other" in self.options.split(",") else self._number("group_id")

    def _number(self, option: str) -> int | None:
        found = re.search(rf"(?:^|,){option}=(\d+)", self.options)
        return int(found.group(1)) if found else None


def _unescape(text: str) -> str:
    """The kernel writes space, tab, newline and backslash as three octal digits."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found.group(1), 8)), text)


def parse_line(line: str) -> MountEntry:
    """One line of mountinfo: ids, device, root, mountpoint, options, tags..., -, type, source."""
    head, _, tail = line.partition(" - ")
    mount_id, _parent, device, _root, mountpoint, *_ = head.split(" ")
    fstype, source, options = tail.split(" ", 2)
    return MountEntry(
        mount_id=int(mount_id),
        device=device,
        mountpoint=_unescape(mountpoint),
        fstype=fstype,
        source=_unescape(source),
        options=options,
    )


def read_table() -> list[MountEntry]:
    """All mounts of this mount namespace, in the kernel's order: later ones lie on top."""
    text = os.fsdecode(MOUNT_TABLE.read_bytes())
    return [parse_line(line) for line in text.split("\n") if line]


def find_mount(
    mountpoint: Path | str, table: Sequence[MountEntry] | None = None
) -> MountEntry | None:
    """The mount that lies on top at exactly this (resolved) path, if any."""
    entries = read_table() if table is None else table
    return next((e for e in reversed(entries) if e.mountpoint == str(mountpoint)), None)


def covering_mount(
    path: Path | str, table: Sequence[MountEntry] | None = None
) -> MountEntry | None:
    """The mount in which a (resolved) path lies, as far as the mount table tells; nothing is asked
    of it.
    """
    entries = read_table() if table is None else table
    within = f"{path}/".replace("//", "/")
    above = (e for e in reversed(entries) if within.startswith(f"{e.mountpoint.rstrip('/')}/"))
    return next(above, None)


def mount_of_descriptor(fd: int) -> MountEntry | None:
    """The mount that an open file lies in; nothing is asked of it. None where it is in another
    namespace.
    """
    for line in Path(f"/proc/self/fdinfo/{fd}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return next((e for e in read_table() if e.mount_id == int(value)), None)
    return None


def is_others(entry: MountEntry | None) -> bool:
    """Whether another user than root and this one serves it: asking it may take for ever."""
    return entry is not None and entry.is_fuse and entry.user_id not in (0, os.geteuid())


def our_mounts(
    table: Sequence[MountEntry] | None = None, uid: int | None = None
) -> list[MountEntry]:
    """The mounts of imagenetfs that lie on top at their place, of one user if ``uid`` is given."""
    entries = read_table() if table is None else table
    visible = {entry.mountpoint: entry for entry in entries}
    return [e for e in visible.values() if e.is_ours and (uid is None or e.user_id == uid)]


def resolve(path: Path | str) -> Path:
    """``os.path.realpath``, but never a system call that could hang: on a mountpoint itself, which
    is no symbolic link, or on what the program of another user serves (:func:`is_others`), whose
    names are taken as they are.
    """
    table = read_table()
    mountpoints = {entry.mountpoint for entry in table}
    may_hang = any(map(is_others, table))
    waiting = list(reversed(Path(path).absolute().parts[1:]))
    current, links = Path("/"), 0
    while waiting:
        part = waiting.pop()
        if part == "..":
            current = current.parent
            continue
        candidate = current / part
        is_asked = str(candidate) not in mountpoints
        if is_asked and may_hang:
            is_asked = not is_others(covering_mount(candidate, table))
        try:
            target = candidate.readlink() if is_asked else None
        except OSError:  # no link, or not there
            target = None
        if target is None or links >= _MOST_LINKS:
            current = candidate
            continue
        links += 1
        if target.is_absolute():
            current = Path("/")
        waiting.extend(part for part in reversed(target.parts) if part != "/")
    return current


def find_fusermount() -> str | None:
    """``fusermount3``; systemd's mount units give no PATH, so the usual places are tried too."""
    search = os.environ.get("PATH", "") + ":" + _SYSTEM_PATH
    return shutil.which("fusermount3", path=search)


def wait_unmounted(entry: MountEntry, seconds: float) -> bool:
    """Wait until this very mount has left the table; False if it has not in ``seconds``."""
    deadline = time.monotonic() + seconds
    with MOUNT_TABLE.open("rb") as file:
        poller = select.poll()
        # The kernel reports a change of the table as an exceptional condition (proc(5)).
        poller.register(file, select.POLLERR | select.POLLPRI)
        while any(e.mount_id == entry.mount_id for e in read_table()):
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            poller.poll(min(left, 0.5) * 1000)
    return True


# --- unmounting -----------------------------------------------------------------------------------


def is_of_dead_server(error: OSError) -> bool:
    """Whether a question to a FUSE mount failed for its server has gone."""
    return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)


def detach(entry: MountEntry, *, lazy: bool) -> None:
    """Take a mount away. ``lazy``: at once, though files in it may still be open.

    Raises StillBusyError when it is in use, NotMountedError when it is not there (any more).
    """
    error = _umount2_in_time(entry, lazy=lazy)
    if error == 0:
        return
    # Only root, and a process in a namespace of its own, may: for others the
    # setuid helper does it.
    if error not in (errno.EPERM, errno.EACCES):
        _raise_for(entry, error, os.strerror(error))
    _fusermount(entry, lazy=lazy)


def _umount2_in_time(entry: MountEntry, *, lazy: bool) -> int:
    """As ``_umount2``; where the way to the mountpoint leads through another user's program, no
    longer than may be waited for that. Raises StillBusyError.
    """
    above = covering_mount(Path(entry.mountpoint).parent)
    if above is None or not is_others(above):
        return _umount2(entry.mountpoint, lazy=lazy)
    try:
        return int(ask(lambda: _umount2(entry.mountpoint, lazy=lazy), _UNMOUNT_SECONDS))
    except NoAnswerError as error:
        raise StillBusyError(
            f"{entry.mountpoint} lies in a file system that a program of another user serves "
            f"({above.mountpoint}) and that does not answer: take that away first."
        ) from error


def _umount2(mountpoint: str, *, lazy: bool) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    flags = _UMOUNT_NOFOLLOW | (_MNT_DETACH if lazy else 0)
    done = libc.umount2(ctypes.c_char_p(os.fsencode(mountpoint)), ctypes.c_int(flags))
    return 0 if done == 0 else ctypes.get_errno()


def _fusermount(entry: MountEntry, *, lazy: bool) -> None:
    helper = find_fusermount()
    if helper is None:
        raise StillBusyError(
            f"{entry.mountpoint} cannot be unmounted: there is no fusermount3 on this machine."
        )
    command = [helper, "-uz" if lazy else "-u", "--", entry.mountpoint]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_UNMOUNT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise StillBusyError(
            f"{entry.mountpoint} could not be unmounted: fusermount3 did not come back."
        ) from error
    if done.returncode != 0:
        _raise_for(entry, errno.EBUSY, done.stderr.strip() or "fusermount3 failed")


def _raise_for(entry: MountEntry, error: int, reason: str) -> None:
    """Turn a refusal into our own error, by the state of the table rather than by words."""
    if error in (errno.EINVAL, errno.ENOENT) or find_mount(entry.mountpoint) is None:
        raise NotMountedError(f"{entry.mountpoint} is no longer mounted.")
    if entry.user_id not in (None, os.geteuid()) and os.geteuid() != 0:
        raise StillBusyError(
            f"{entry.mountpoint} was mounted by the user with the id {entry.user_id}: "
            "only that user and root can unmount it."
        )
    raise StillBusyError(f"{entry.mountpoint} could not be unmounted: {reason}.")
