"""Namespaces and mount(2), by their system calls: Python has ``os.unshare`` only from 3.12 on.

A process that makes a user namespace has every capability in it and none outside
(user_namespaces(7)), so it may mount there, and loses that when it executes a program under
its own, unprivileged id. Only a process of one thread may do so. Everything here raises
OSError as the kernel has it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 2, 4, 8
_MS_REC, _MS_SLAVE = 1 << 14, 1 << 19
_CAP_SYS_ADMIN = 21

_SELF = Path("/proc/self")


def may_mount() -> bool:
    """Whether this process may call mount(2) in its mount namespace (CAP_SYS_ADMIN, proc(5))."""
    for line in (_SELF / "status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "CapEff":
            return bool(int(value, 16) >> _CAP_SYS_ADMIN & 1)
    return False


def in_user_namespace() -> bool:
    """Whether this process is in a user namespace other than the system's
    own (user_namespaces(7)).
    """
    return (_SELF / "uid_map").read_text().split() != ["0", "0", str(2**32 - 1)]


def mount_namespace() -> str:
    """What the kernel calls this process's mount namespace: ``mnt:[4026531841]``."""
    return str((_SELF / "ns" / "mnt").readlink())


def make_own() -> None:
    """Leave for a mount namespace of this process's own, and a user namespace where it needs one.

    User, group and supplementary groups stay what they are; groups other than the own one can no
    longer be named. What others mount later still appears here; what is mounted here stays here.
    """
    uid, gid = os.geteuid(), os.getegid()
    if may_mount():
        _call("unshare", ctypes.c_int(_CLONE_NEWNS))
    else:
        _call("unshare", ctypes.c_int(_CLONE_NEWUSER | _CLONE_NEWNS))
        # Without this the kernel takes no group from an unprivileged process: it could use
        # setgroups to leave a group that denies it something.
        (_SELF / "setgroups").write_text("deny")
        (_SELF / "uid_map").write_text(f"{uid} {uid} 1")
        (_SELF / "gid_map").write_text(f"{gid} {gid} 1")
    _mount("none", "/", None, _MS_REC | _MS_SLAVE, None)


def enter_namespaces(pid: int) -> None:
    """Enter the namespaces of a process, made by :func:`make_own`; the working directory stays."""
    directory = _working_directory()
    with contextlib.ExitStack() as stack:
        files = []
        for kind, flag in (("user", _CLONE_NEWUSER), ("mnt", _CLONE_NEWNS)):
            fd = os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
            stack.callback(os.close, fd)
            files.append((fd, flag, (_SELF / "ns" / kind).stat()))
        for fd, flag, own in files:
            if not os.path.samestat(os.fstat(fd), own):
                _call("setns", ctypes.c_int(fd), ctypes.c_int(flag))
    # The kernel has put us into the namespace's root.
    if directory is not None:
        os.chdir(directory)


def mount_private(directory: Path) -> None:
    """Lay an empty directory in memory, this user's alone, over a directory."""
    flags = _MS_NOSUID | _MS_NODEV | _MS_NOEXEC
    _mount("imagenetfs", str(directory), "tmpfs", flags, "mode=0700,size=32m")


def _working_directory() -> str | None:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was removed
        return None


def _mount(source: str, target: str, kind: str | None, flags: int, options: str | None) -> None:
    texts = [None if text is None else os.fsencode(text) for text in (source, target, kind)]
    data = None if options is None else os.fsencode(options)
    _call("mount", *map(ctypes.c_char_p, texts), ctypes.c_ulong(flags), ctypes.c_char_p(data))


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), name)
