"""The mount itself: made by pyfuse3, its session found, taken out of the mount table at the end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyfuse3

from imagenetfs.errors import FuseRefusedError, ImagenetfsError
from imagenetfs.fuse.connection import Connection
from imagenetfs.fuse.handshake import FuseSession, handshake, new_session
from imagenetfs.server.mount_plan import MountPlan
from imagenetfs.system.fusermount import FUSE_CONF, may_let_others_in, mount_for

_SUBTYPE = "imagenetfs"


@contextlib.contextmanager
def fuse_mounted(plan: MountPlan) -> Iterator[tuple[Connection, FuseSession]]:
    """A mount for the time of a block, its INIT answered; nothing of it is left afterwards.

    Raises FuseRefusedError.
    """
    connection, session_fd = _mount(plan)
    try:
        yield connection, handshake(session_fd)
    finally:
        with contextlib.suppress(ImagenetfsError):
            connection.detach()
        pyfuse3.close(unmount=False)


def _mount(plan: MountPlan) -> tuple[Connection, int]:
    """The connection, and the descriptor of its session. Raises FuseRefusedError."""
    options = {f"fsname={_escaped(plan.source)}", f"subtype={_SUBTYPE}", "ro", *plan.fuse_options}
    mountpoint = str(plan.mountpoint)
    try:
        with new_session() as opened:
            if plan.shown_to is not None:
                mountpoint = f"/dev/fd/{mount_for(plan.shown_to, plan.mountpoint, options)}"
            pyfuse3.init(pyfuse3.Operations(), mountpoint, options)
    except RuntimeError as error:
        raise FuseRefusedError(
            f"the mount on {plan.mountpoint} was refused ({error}); the lines "
            f"above say why. {_advice(plan)}"
        ) from None
    return Connection(plan.mountpoint), opened[0]


def _advice(plan: MountPlan) -> str:
    """What to do where the mount was refused."""
    for option in ("allow_other", "allow_root"):
        if option in plan.fuse_options and os.geteuid() != 0 and not may_let_others_in():
            return (
                f"An ordinary user may say {option} only where an administrator has added the line "
                f"user_allow_other to {FUSE_CONF}."
            )
    return "Try `fusermount3 -V`, and see that /dev/fuse may be opened."


def _escaped(path: Path) -> str:
    """A path as a value in a mount option: libfuse splits at commas, and
    pyfuse3 takes ASCII only.
    """
    text = str(path).encode("ascii", "replace").decode()
    return text.replace("\\", "\\\\").replace(",", "\\,")
