"""Mounting for another primary group than this process has.

Without ``allow_other`` the kernel lets only processes in whose user and primary group are those of
the caller of fusermount3. So a server that reads its source under a group of its own (``sg``) has
the mount made under the user's usual one, and gets the device from it.

Source: libfuse's ``mount.c`` (``_FUSE_COMMFD``; ``/dev/fd/N`` as a mountpoint).
"""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Iterable
from pathlib import Path

from imagenetfs.errors import FuseRefusedError
from imagenetfs.system.mounts import find_fusermount

FUSE_CONF = Path("/etc/fuse.conf")

_SECONDS = 30.0


def may_let_others_in() -> bool:
    """Whether ordinary users' mounts may be for other users too
    (fuse.conf, ``user_allow_other``).
    """
    try:
        lines = FUSE_CONF.read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)


def mount_for(group: str, mountpoint: Path, options: Iterable[str]) -> int:
    """Mount for processes of this user under the group of that name. Returns
    the device's descriptor.

    Give ``/dev/fd/<descriptor>`` to libfuse as the mountpoint. Raises FuseRefusedError.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with ours, theirs:
        command = [find_fusermount() or "fusermount3", "-o", ",".join(sorted(options)), "--"]
        try:
            done = subprocess.run(
                ["sg", group, "-c", f"exec {shlex.join([*command, str(mountpoint)])}"],
                env={**os.environ, "_FUSE_COMMFD": str(theirs.fileno())},
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
            if done.returncode != 0:
                reason = done.stderr.strip() or f"fusermount3 ended with {done.returncode}"
                raise _refused(mountpoint, group, reason)
            theirs.close()  # nothing more can come then, and there is nothing to wait for
            _, fds, _, _ = socket.recv_fds(ours, 1, 1)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _refused(mountpoint, group, str(error)) from error
    if not fds:
        raise _refused(mountpoint, group, done.stderr.strip() or "no descriptor came back")
    os.set_inheritable(fds[0], False)
    return fds[0]


def _refused(mountpoint: Path, group: str, reason: str) -> FuseRefusedError:
    return FuseRefusedError(
        f"the mount on {mountpoint} was refused ({reason}) for the group {group}, "
        "under which you work."
    )
