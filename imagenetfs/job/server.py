"""What the server process does around ``serve``: clients, lock, its directory, tidying up.

Runs in a forked process (daemon.py) or, for ``mount --foreground``, in the command itself. The
mount's lock is held when it starts; it is given back when the mount can be read.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError
from imagenetfs.job import preflight, primary_group, signals
from imagenetfs.job.clients import Born, ClientRegistry, ServerInfo
from imagenetfs.job.daemon import Ready
from imagenetfs.job.mount_paths import MountLock, MountPaths, forget, locked
from imagenetfs.job.preflight import NOT_MOUNTED_FILE, NOT_MOUNTED_TEXT
from imagenetfs.job.rendezvous import NamespaceServer, RendezvousListener
from imagenetfs.job.sd_notify import Notifier
from imagenetfs.job.storage import index_places, prepare_cache
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from imagenetfs.system import mounts

_TIDY_SECONDS = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class MountRequest:
    """Everything that a server needs to know. ``made``: the mountpoint goes with the mount;
    ``listener``: where to answer those who look for this namespace."""

    paths: MountPaths
    source: Path
    settings: Settings
    born: Born
    made: bool = False
    listener: socket.socket | None = None
    fuse_options: tuple[str, ...] = ()
    log: Path | None = None


def serve_mount(
    request: MountRequest, lock: MountLock, ready: Ready, first_client: socket.socket | None = None
) -> None:
    """Mount and serve until the end; ``lock`` is released when the mount can be read, and closed
    where it cannot mount: then ImagenetfsError is raised.
    """
    # No child holds the lock beyond this process's end, and so keeps its file from being removed.
    os.register_at_fork(after_in_child=lock.close)
    paths, notifier = request.paths, Notifier(os.environ)
    watchers: list[ClientRegistry | RendezvousListener | Notifier] = [notifier]
    is_mounted = False

    def mounted(warnings: list[str]) -> None:
        nonlocal is_mounted
        signals.check()
        is_mounted = True
        lock.release()  # closing would not do: the front has it too
        ready(warnings)
        notifier.ready_to_use(f"{request.source} is mounted at {paths.mountpoint}")

    try:
        # Until `serve` takes signals over itself: a server that is told to end while it starts
        # tidies up, from its first line on.
        signals.raise_when_told_to_end()
        # numpy's linear algebra starts threads when it is imported, and a server that forks its
        # workers must have one.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        from imagenetfs.server.supervisor import serve

        plan = _plan(request)
        with signals.blocked():  # an end in the middle would leave a socket behind
            watchers.append(ClientRegistry(paths, _info(request), first_client))
        if request.listener is not None:
            host = NamespaceServer(os.getpid(), str(paths.root), str(paths.mountpoint))
            watchers.append(RendezvousListener(request.listener, host))
        serve(plan, ready=mounted, watchers=watchers)
    finally:
        signals.ignore()
        for watcher in watchers:
            watcher.close()
        if is_mounted:
            _tidy(request)
        else:
            if request.made:
                preflight.remove_made(
                    paths.mountpoint
                )  # the lock is ours, or that of a front that does so too
            lock.close()
            forget(paths)


def _info(request: MountRequest) -> ServerInfo:
    return ServerInfo(
        str(request.source),
        str(request.paths.mountpoint),
        request.born,
        os.getpid(),
        config.texts_of_mount(request.settings),
    )


def make_mountpoint(mountpoint: Path, say: Callable[[str], None]) -> bool:
    """Make a directory to mount on; True if it shall go with the mount. Under the mount's lock.

    What is left of it when the mount is killed says that nothing is mounted.
    """
    preflight.refuse_others_program("mountpoint", mountpoint)
    sign = mountpoint / NOT_MOUNTED_FILE
    entry = mounts.find_mount(mountpoint)
    if entry is not None and entry.is_ours and preflight.health(entry) is preflight.Health.DEAD:
        preflight.remove_dead_mount(entry, say)
    try:
        mountpoint.mkdir(mode=0o755)
        sign.write_text(NOT_MOUNTED_TEXT)
    except FileExistsError:
        return (
            mounts.find_mount(mountpoint) is None and sign.exists()
        )  # ours, from a mount that was killed
    except OSError:
        return False  # the checks say what is wrong
    return True


def _plan(request: MountRequest) -> MountPlan:
    settings = request.settings
    places = index_places(settings)
    served = server_settings(settings)
    served = replace(served, index_dir=places.written, index_path=places.path)
    return MountPlan(
        source=request.source,
        mountpoint=request.paths.mountpoint,
        settings=served,
        cache=prepare_cache(settings),
        fuse_options=request.fuse_options,
        log_path=request.log,
        log_start=_size_of(request.log),
        shown_to=primary_group.usual_group() if request.born == "mount" else None,
        root_access=root_access_of(request.source)
        if "allow_other" in request.fuse_options
        else None,
        idle=settings.idle if request.born == "mount" else None,
        # A job's end may bring SIGTERM to each of its processes. The command shall save its work
        # then, and may read until it has: the mount ends with the command's connection.
        heed_signals=request.born == "mount",
        warnings=() if places.problem is None else (places.problem,),
    )


def _size_of(log: Path | None) -> int:
    """How long the log is before this mount writes to it: earlier mounts of its place are in it."""
    with contextlib.suppress(OSError):
        return 0 if log is None else log.stat().st_size
    return 0


def root_access_of(source: Path) -> tuple[int, int, int]:
    """Owner, group and permission bits of the root directory of a mount for all users
    (allow_other): those of the source, so that it lets in at all whom the source lets in. Only its
    owner may write, as the bits say, and only where he may read: so a copy can be deleted.

    What lies in it has rights of its own, those of its archives (imagenetfs.read.ownership); the
    kernel checks each caller. Raises OSError.
    """
    from imagenetfs.read.ownership import ownership_of  # numpy comes with it

    uid, gid, bits = ownership_of(source.stat())
    return uid, gid, bits & 0o555 | (bits & 0o400) >> 1


def server_settings(settings: Settings) -> ServerSettings:
    """Those of a user's settings by which a mount is served."""
    names = [field.name for field in fields(ServerSettings)]
    return ServerSettings(**{name: getattr(settings, name) for name in names})


def _tidy(request: MountRequest) -> None:
    """Remove what was made for this mount, unless a newer one is just being made there."""
    try:
        with locked(request.paths, _TIDY_SECONDS):
            if request.log is None:
                request.paths.own_log.unlink(missing_ok=True)
            if request.made:
                preflight.remove_made(request.paths.mountpoint)
    except ImagenetfsError as error:
        _log.info("the mountpoint stays: %s", error)
