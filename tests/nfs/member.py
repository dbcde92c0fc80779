"""A user in many groups, for root's tests: commands run as that user, in a mount namespace of their own.

There /etc/passwd and /etc/group have the user and the groups, /dev/fuse is everybody's, and the interpreter
can be reached although it may lie in root's home. Nothing outside changes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

USER, UID = "fsmember", 65_000
GROUPS = {f"fsgroup{n:02d}": 70_000 + n for n in range(1, 21)}
"""Twenty groups; sixteen of them are told to the server, in the order of their numbers."""

_REPOSITORY = Path(__file__).parents[2]

_SETUP = """
set -e
mount -t tmpfs -o mode=755 tmpfs "$1"
mknod -m 666 "$1/fuse" c 10 229; chmod 666 "$1/fuse"; mount --bind "$1/fuse" /dev/fuse
for name in passwd group; do
    cat "/etc/$name" "$2/$name" > "$1/$name"; mount --bind "$1/$name" "/etc/$name"
done
if [ -n "$3" ]; then
    mkdir "$1/aside"; mount --rbind "$3" "$1/aside"; mount -t tmpfs -o mode=755 tmpfs "$3"
    mkdir -p "$4"; mount --rbind "$1/aside/${4#"$3"/}" "$4"
fi
if [ -n "$5" ]; then mount --bind /bin/false "$(readlink -f "$(command -v "$5")")"; fi
shift 5
exec "$@"
"""


class Member:
    """Runs commands as the user. ``home`` is a directory of the user's own, below ``base``."""

    def __init__(self, base: Path, member_of: Sequence[str] = tuple(GROUPS)) -> None:
        """``base``: a directory that everybody may enter. ``member_of``: which of the groups."""
        self.home = base / "home"
        self.home.mkdir()
        os.chown(self.home, UID, UID)
        self._scratch = base / "scratch"
        self._scratch.mkdir()
        self._groups = sorted(GROUPS[name] for name in member_of)
        database = base / "database"
        database.mkdir()
        self._database = database
        (database / "passwd").write_text(f"{USER}:x:{UID}:{UID}::{self.home}:/bin/sh\n")
        lines = [f"{USER}:x:{UID}:"]
        lines += [
            f"{name}:x:{gid}:{USER if name in member_of else ''}" for name, gid in GROUPS.items()
        ]
        (database / "group").write_text("\n".join(lines) + "\n")

    def start(self, *command: str, broken: str = "", **more: str) -> subprocess.Popen[str]:
        """Start a command; ``broken`` names a program that shall fail whatever it is asked."""
        interpreter = Path(sys.base_prefix)
        closed = next((p for p in reversed(interpreter.parents) if not p.stat().st_mode & 1), "")
        groups = ",".join(map(str, self._groups))
        who = ["setpriv", f"--reuid={UID}", f"--regid={UID}", f"--groups={groups}", *command]
        setup = [str(self._scratch), str(self._database), str(closed), str(interpreter), broken]
        return subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", _SETUP, "sh", *setup, *who],
            env=self._environ() | more,
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def call(
        self, *command: str, broken: str = "", **more: str
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        process = self.start(*command, broken=broken, **more)
        out, err = process.communicate(timeout=90)
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def imagenetfs(self, *arguments: object, broken: str = "") -> subprocess.CompletedProcess[str]:
        """Run imagenetfs as the user."""
        return self.call(*PROGRAM, *map(str, arguments), broken=broken)

    def _environ(self) -> dict[str, str]:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "IMAGENETFS_RUN"))}
        own = {"HOME": self.home, "TMPDIR": self.home, "IMAGENETFS_RUN_DIR": self.home / "run"}
        kept.pop("IMAGENETFS_SITE_CONFIG", None)
        return kept | {name: str(path) for name, path in own.items()} | {"USER": USER}


PROGRAM = [sys.executable, "-P", "-m", "imagenetfs"]
