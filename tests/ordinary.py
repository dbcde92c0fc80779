"""Root's tests of what ordinary users do: a mount namespace in which they can, and commands in it.

There /dev/fuse is everybody's (as on any desktop and cluster), the interpreter and this package can be
reached though they may lie in root's home, and two ordinary users exist. Nothing outside changes. Run as
a program this module is the process that holds the namespace, and the front of each command.
"""

from __future__ import annotations

import argparse
import os
import stat
import subprocess
import sys
from pathlib import Path

from imagenetfs.system import namespaces
from imagenetfs.system.mounts import find_fusermount

USERS = {"ana": 24001, "ben": 24002}
GROUP = 24000
"""Both users' primary group; each is also in a group of the user's own number."""

_SELF = [sys.executable, "-m", "tests.ordinary"]

REPOSITORY = Path(__file__).parents[1]


class Elsewhere:
    """A mount namespace as :func:`prepare` makes it, held open by a process until :meth:`close`."""

    def __init__(
        self, scratch: Path, fusermount: str = "there", *, own_network: bool = True
    ) -> None:
        """``scratch``: where an empty directory may be made. Abstract sockets are a network's: with one of
        its own this place sees no doors of other tests."""
        scratch.mkdir()
        self._own_network = own_network
        command = [*_SELF, "--fusermount", fusermount, "--hold", str(scratch)]
        if own_network:
            command = ["unshare", "--net", *command]
        self._holder = subprocess.Popen(
            command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"READY\n"

    def front(self, user: str = "ana") -> list[str]:
        """What to put before a command that shall run there, as this user or as root."""
        pid = str(self._holder.pid)
        network = ["nsenter", "-t", pid, "-n"] if self._own_network else []
        return [*network, *_SELF, "--user", user, "--join", pid]

    def mount_table(self) -> str:
        """The mount table there, as text."""
        return Path(f"/proc/{self._holder.pid}/mountinfo").read_text()

    def close(self) -> None:
        """Let the namespace go."""
        self._holder.communicate(timeout=30)


def prepare(scratch: Path, fusermount: str = "there") -> None:
    """Make this process's mount namespace one in which ordinary users can work.

    ``fusermount``: whether fusermount3 is ``there``, ``missing``, or there and has ``refused``.
    """
    namespaces.make_own()
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", scratch)
    device = scratch / "fuse"
    os.mknod(device, stat.S_IFCHR | 0o666, Path("/dev/fuse").stat().st_rdev)
    device.chmod(0o666)
    _mount("--bind", device, "/dev/fuse")
    _add_users(scratch)
    paths = {Path(p).resolve() for p in (sys.base_prefix, sys.prefix, REPOSITORY, *sys.path)}
    _make_reachable({path for path in paths if path.is_dir()}, scratch)
    helper = find_fusermount()
    if fusermount != "there" and helper is not None:
        instead = scratch / "fusermount3"
        instead.write_text("#!/bin/sh\necho fusermount3: not today >&2\nexit 1\n")
        instead.chmod(0o755 if fusermount == "refused" else 0o644)
        _mount("--bind", instead, Path(helper).resolve())


def become(user: str) -> None:
    """Drop to an ordinary user."""
    os.setgroups([GROUP, USERS[user]])
    os.setresgid(GROUP, GROUP, GROUP)
    os.setresuid(USERS[user], USERS[user], USERS[user])


def _add_users(scratch: Path) -> None:
    lines = {
        "passwd": [f"{n}:x:{u}:{GROUP}::/nonexistent:/bin/sh" for n, u in USERS.items()],
        "group": [f"users-ci:x:{GROUP}:", *(f"{n}-own:x:{u}:{n}" for n, u in USERS.items())],
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
    for number, (closed, within) in enumerate(needed.items()):
        aside = scratch / f"aside{number}"
        aside.mkdir()
        _mount("--rbind", closed, aside)
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", closed)
        for path in within:
            if not path.exists():  # else it lies within another of them
                path.mkdir(parents=True)
                _mount("--rbind", aside / path.relative_to(closed), path)


def _mount(*arguments: object) -> None:
    subprocess.run(["mount", *map(str, arguments)], check=True, timeout=30)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--user", choices=[*USERS, "root"], default="ana")
    parser.add_argument("--fusermount", choices=["there", "missing", "refused"], default="there")
    parser.add_argument("--hold", type=Path, metavar="SCRATCH")
    parser.add_argument("--join", type=int, metavar="PID")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args()
    if asked.hold:
        prepare(asked.hold, asked.fusermount)
        print("READY", flush=True)
        sys.stdin.read()
        return
    namespaces.join(asked.join)
    if asked.user != "root":
        become(asked.user)
    os.execvp(asked.command[0], asked.command)


if __name__ == "__main__":
    main()
