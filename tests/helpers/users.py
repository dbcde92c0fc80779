"""Root's tests of what ordinary users do: a mount namespace in which they can, and commands in it.

There /dev/fuse is everybody's (as on any desktop and cluster), the interpreter and this
package can be reached though they may lie in root's home, and three ordinary users exist.
Nothing outside changes. A child of the fork server holds the namespace (:func:`hold`), and
others enter it. :meth:`Elsewhere.front` is for a command that shall have a process of its own.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pwd
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from imagenetfs.system import namespaces
from tests.helpers import forkserver
from tests.helpers.forkserver import REPOSITORY, Identity

USERS = {"ana": 24001, "ben": 24002, "max": 24004}
GROUP = 24000
"""The users' primary group; each is also in a group of the user's own number."""

MANY = {f"fsgroup{n:02d}": 70_000 + n for n in range(1, 21)}
"""Groups that ``max`` is in: more than NFSv3 tells a server, which hears of those
with the lowest numbers.
"""

HIDDEN, TOLD = "fsgroup18", "fsgroup03"
"""One of MANY that NFSv3 does not tell the server, and one that it tells."""

_CLONE_NEWNET = 0x40000000


class Elsewhere:
    """A mount namespace as :func:`prepare` makes it, held open by a process until :meth:`close`."""

    def __init__(
        self,
        scratch: Path,
        *,
        broken: Mapping[str, str] | None = None,
        member_of: Sequence[str] = tuple(MANY),
        own_network: bool = True,
    ) -> None:
        """``scratch``: where an empty directory may be made. ``broken``: programs that are
        ``missing`` here, or there and have ``refused``. ``member_of``: which of MANY
        ``max`` is in. Abstract sockets are a network's: with one of its own this place sees
        no doors of other tests.
        """
        scratch.mkdir()
        self._own_network = own_network
        words = [f"--broken={name}={how}" for name, how in (broken or {}).items()]
        words += [f"--member-of={','.join(member_of)}", *["--network"] * own_network, str(scratch)]
        self._holder = forkserver.shared().popen(
            "tests.helpers.users:hold",
            words,
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "READY\n"

    def identity(self, user: str = "ana") -> Identity:
        """This user or root there, for a child of the fork server."""
        return Identity(user=user, join=self._holder.pid, network=self._own_network)

    def identity_of(self, uid: int, gid: int, *groups: int) -> Identity:
        """A user there whom no account describes."""
        numbers = (uid, gid, groups)
        return Identity(numbers=numbers, join=self._holder.pid, network=self._own_network)

    def front(self, user: str = "ana") -> list[str]:
        """What to put before a command that shall run there, as this user or as root, in the
        caller's working directory.
        """
        words = ["nsenter", f"--target={self._holder.pid}", "--mount", "--wd=."]
        if self._own_network:
            words.append("--net")
        if user != "root":
            identity = [f"--reuid={USERS[user]}", f"--regid={GROUP}", "--init-groups"]
            words += ["--", "setpriv", *identity]
        return [*words, "--"]

    def mount_table(self) -> str:
        """The mount table there, as text."""
        return Path(f"/proc/{self._holder.pid}/mountinfo").read_text()

    def close(self) -> None:
        """Let the namespace go."""
        self._holder.communicate(timeout=30)


def prepare(scratch: Path, broken: Mapping[str, str], member_of: Sequence[str]) -> None:
    """Make this process's mount namespace one in which ordinary users can work (see Elsewhere)."""
    namespaces.make_own()
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", scratch)
    device = scratch / "fuse"
    os.mknod(device, stat.S_IFCHR | 0o666, Path("/dev/fuse").stat().st_rdev)
    device.chmod(0o666)
    _mount("--bind", device, "/dev/fuse")
    _add_users(scratch, member_of)
    paths = {Path(p).resolve() for p in (sys.base_prefix, sys.prefix, str(REPOSITORY), *sys.path)}
    _make_reachable({path for path in paths if path.is_dir()}, scratch)
    for name, how in broken.items():
        program = shutil.which(name)
        if program is not None:
            instead = scratch / name
            instead.write_text(f"#!/bin/sh\necho {name}: not today >&2\nexit 1\n")
            instead.chmod(0o755 if how == "refused" else 0o644)
            _mount("--bind", instead, Path(program).resolve())


def become(user: str) -> None:
    """Drop to an ordinary user, with the groups that /etc/group says here."""
    account = pwd.getpwnam(user)
    os.initgroups(user, account.pw_gid)
    os.setresgid(account.pw_gid, account.pw_gid, account.pw_gid)
    os.setresuid(account.pw_uid, account.pw_uid, account.pw_uid)


def _add_users(scratch: Path, member_of: Sequence[str]) -> None:
    groups = [
        f"users-ci:x:{GROUP}:",
        *(f"{name}-own:x:{uid}:{name}" for name, uid in USERS.items()),
    ]
    groups += [f"{name}:x:{gid}:{'max' * (name in member_of)}" for name, gid in MANY.items()]
    lines = {
        "passwd": [f"{n}:x:{u}:{GROUP}::/nonexistent:/bin/sh" for n, u in USERS.items()],
        "group": groups,
    }
    for name, more in lines.items():
        copy = scratch / name
        copy.write_text(Path("/etc", name).read_text().rstrip("\n") + "\n" + "\n".join(more) + "\n")
        _mount("--bind", copy, Path("/etc", name))


def _make_reachable(paths: set[Path], scratch: Path) -> None:
    """Put an open directory that holds only what is needed over each that is closed to others."""
    needed: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        closed = (p for p in reversed(path.parents) if not p.stat().st_mode & stat.S_IXOTH)
        if (first := next(closed, None)) is not None:
            needed.setdefault(first, []).append(path)
    for number, (outer, within) in enumerate(needed.items()):
        aside = scratch / f"aside{number}"
        aside.mkdir()
        _mount("--rbind", outer, aside)
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", outer)
        for path in within:
            if not path.exists():  # else it lies within another of them
                path.mkdir(parents=True)
                _mount("--rbind", aside / path.relative_to(outer), path)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, timeout=30)


def enter(pid: int, *, network: bool) -> None:
    """Enter the namespaces of a process that :func:`hold` holds."""
    if network:
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/proc/{pid}/ns/net") as file:
            if libc.setns(file.fileno(), _CLONE_NEWNET):
                raise OSError(ctypes.get_errno(), "cannot enter the network namespace")
    namespaces.enter_namespaces(pid)


def hold() -> None:
    """Hold a namespace until the standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broken", action="append", default=[], metavar="PROGRAM=HOW")
    parser.add_argument("--member-of", default="", metavar="GROUP,...")
    parser.add_argument("--network", action="store_true")
    parser.add_argument("scratch", type=Path)
    asked = parser.parse_args()
    if asked.network:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "cannot make a network namespace")
    broken = dict(word.split("=", 1) for word in asked.broken)
    prepare(asked.scratch, broken, asked.member_of.split(","))
    print("READY", flush=True)
    sys.stdin.read()
