"""``run``'s mount: found or started, kept while the command runs, ended with the last one."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import FuseRefusedError, ImagenetfsError
from imagenetfs.job import clients, preflight, primary_group, signals
from imagenetfs.job.cleanup import clear_dead_mount, remove_dead_mounts
from imagenetfs.job.clients import MountClient
from imagenetfs.job.compatibility import OccupiedError, check_shown, without_effect
from imagenetfs.job.mount_paths import MountLock, MountPaths, locked
from imagenetfs.job.processes import wait_for_end
from imagenetfs.job.server import MountRequest
from imagenetfs.job.start import Say, start_mount
from imagenetfs.job.status import problems_of, source_of
from imagenetfs.system import mounts
from imagenetfs.system.patience import PATIENCE

MOUNT_VARIABLE = "IMAGENETFS_MOUNT"
ROOT_VARIABLE = config.variable_name("run_dir")

ENDING_SECONDS = 15.0
FOREIGN_SECONDS = 3.0


@dataclass(slots=True)
class MountHandle:
    """A mount in use by this process. Without ``client`` it is another user's, and only used."""

    paths: MountPaths
    entry: mounts.MountEntry
    client: MountClient | None
    made: bool = False

    @property
    def mountpoint(self) -> Path:
        return self.paths.mountpoint

    @property
    def variables(self) -> dict[str, str]:
        """What the command finds in its environment; a run within it joins by these."""
        found = {MOUNT_VARIABLE: str(self.mountpoint)}
        if self.paths.is_private:
            found[ROOT_VARIABLE] = str(self.paths.root)
        return found


# --- joining --------------------------------------------------------------------------------------


def _same(source: str, other: str) -> bool:
    return mounts.resolve(source) == mounts.resolve(other)


def join_mount(paths: MountPaths, source: Path | None, say: Say) -> MountHandle | None:
    """Join the mount there, under its lock; None if there is none (any more).

    Raises OccupiedError where the mount there shows another source, or cannot be seen from here.
    """
    entry = mounts.find_mount(paths.mountpoint)
    if entry is not None and entry.is_ours:
        primary_group.check_mount(entry)
    client = MountClient.visit(paths)
    if entry is None:
        if client is None:
            return None
        client.close()
        raise OccupiedError(
            f"A mount at {paths.mountpoint} belongs to another mount namespace (a container, or "
            "another step): choose another place with --at."
        )
    if not entry.is_ours:
        raise OccupiedError(
            f"Something is mounted at {paths.mountpoint} already ({entry.fstype}): choose another "
            "place with --at."
        )
    shown = source_of(entry) if client is None else client.identity.source
    if source is not None and not _same(shown, str(source)):
        raise OccupiedError(
            f"{shown} is mounted at {paths.mountpoint}, not {source}: choose another place "
            "with --at."
        )
    if client is not None:
        with contextlib.suppress(OSError, ValueError):  # it may have died this very moment
            client.take()
            return MountHandle(paths, entry, client)
    return _use_uncounted(paths, entry, say)


def _use_uncounted(paths: MountPaths, entry: mounts.MountEntry, say: Say) -> MountHandle | None:
    """No server of this user listens: the mount is dead, on its way out, or another user's."""
    if preflight.health(entry) is preflight.Health.DEAD:
        preflight.remove_dead_mount(entry, say)
        return None
    if entry.user_id == os.geteuid() and preflight.wait_unmounted(entry, FOREIGN_SECONDS):
        return None
    return MountHandle(paths, entry, client=None)


def join_or_start(
    paths: MountPaths,
    source: Path,
    settings: Settings,
    say: Say,
    listener: socket.socket | None = None,
) -> MountHandle:
    """The mount there, started if there is none; ``listener`` is what
    its server then answers at.

    Raises ImagenetfsError, among them OccupiedError.
    """
    with locked(paths) as lock:
        handle = join_mount(paths, source, say)
        if handle is not None:
            check_joined(handle, settings, say)
            return handle
        remove_dead_mounts(paths.root, paths, say)
        made = False
        try:
            with signals.blocked():  # an end between the two would leave the directory
                made = _make_directory(paths)
            request = MountRequest(
                paths=paths,
                source=source,
                settings=settings,
                born="run",
                made=made,
                listener=listener,
            )
            return _start(request, lock, say)
        except BaseException:
            if made:
                with contextlib.suppress(OSError):
                    paths.mountpoint.rmdir()
            raise


def check_joined(handle: MountHandle, settings: Settings, say: Say) -> None:
    """See that a mount that was joined shows what was asked for, and say which
    options have no effect there, and what was found wrong since it began.

    Raises OccupiedError, and leaves the handle then.
    """
    server = handle.client.identity if handle.client is not None else None
    try:
        check_shown(handle.mountpoint, server, settings)
    except OccupiedError:
        if handle.client is not None:
            handle.client.close()
        raise
    sentence = without_effect(server, settings)
    if sentence is not None:
        say(sentence)
    for problem in problems_of(str(handle.mountpoint)):
        say(f"warning: {problem}")


def _make_directory(paths: MountPaths) -> bool:
    """Make the mountpoint; True if it shall go with the mount."""
    try:
        paths.mountpoint.mkdir(mode=0o700)
    except FileExistsError:
        return paths.is_below_root  # a server that was killed may have left it
    except OSError:
        return False  # the checks say what is wrong
    return True


def _start(request: MountRequest, lock: MountLock, say: Say) -> MountHandle:
    paths = request.paths
    front, server = clients.pair()
    with server:
        try:
            entry = start_mount(request, lock, say, server)
            return MountHandle(paths, entry, MountClient(front), request.made)
        except (OSError, ValueError) as error:
            front.close()
            raise FuseRefusedError(
                f"The mount at {paths.mountpoint} ended as soon as it had started."
            ) from error
        except BaseException:
            front.close()
            raise


# --- ending ---------------------------------------------------------------------------------------


def release(handle: MountHandle, say: Say) -> bool:
    """Be a client no more; as the last one, wait until mount and server are gone.

    Returns whether other runs use a mount that ends with the last one of them.
    """
    if handle.client is None:
        return False
    PATIENCE.renew()  # what the command did in between is over
    last = handle.client.leave()
    handle.client.close()
    if last is False:
        return handle.client.identity.born == "run"
    if last is None:
        _clear_after_death(handle, say)
        return False
    deadline = time.monotonic() + ENDING_SECONDS
    if not preflight.wait_unmounted(handle.entry, ENDING_SECONDS):
        say(f"the mount at {handle.mountpoint} did not end and was taken away.")
        with contextlib.suppress(ImagenetfsError):
            mounts.detach(handle.entry, lazy=True)
    with PATIENCE.waiting(deadline - time.monotonic()) as seconds:
        wait_for_end(handle.client.identity.pid, seconds)
    return False


def _clear_after_death(handle: MountHandle, say: Say) -> None:
    """The server has gone; if it could not unmount, do so for it."""
    is_gone = preflight.wait_unmounted(handle.entry, FOREIGN_SECONDS)
    if not is_gone and preflight.health(handle.entry) is preflight.Health.LIVE:
        return
    try:
        clear_dead_mount(handle.entry, handle.paths, say)
    except ImagenetfsError as error:
        say(str(error))
    if handle.made:
        with contextlib.suppress(OSError):
            handle.mountpoint.rmdir()
