"""Start a mount in the background: checks, server, and the proof that it can be read."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import ExitCode, FuseRefusedError, ImagenetfsError
from imagenetfs.job import daemon, logs, preflight
from imagenetfs.job.daemon import Ready
from imagenetfs.job.mount_paths import MountLock
from imagenetfs.job.requirements import without_train
from imagenetfs.job.server import MountRequest, serve_mount
from imagenetfs.job.status import read_status
from imagenetfs.job.storage import prepare_cache
from imagenetfs.system import child_call, mounts, namespaces
from imagenetfs.system.patience import ask

LIST_SECONDS = 60.0

Say = Callable[[str], None]


def check_all(request: MountRequest, say: Say) -> None:
    """Everything that can be known before mounting; raises the matching error."""
    mountpoint = request.paths.mountpoint
    source = preflight.check_source(request.source)
    preflight.check_mountpoint(mountpoint, source, say)
    places = {
        "index directory": request.settings.index_dir,
        "cache directory": request.settings.cache_dir,
        "log file": logs.log_path(request.paths, request.settings),
        "run directory": request.paths.root,
    }
    preflight.check_places(mountpoint, places)
    preflight.check_fuse(needs_helper=not namespaces.may_mount())
    prepare_cache(request.settings, say)


def start_mount(
    request: MountRequest, lock: MountLock, say: Say, first_client: socket.socket | None = None
) -> mounts.MountEntry:
    """Check, start a server in the background, and read the mount once.

    The caller holds the mount's lock; the server releases it. Raises ImagenetfsError, and then
    nothing is mounted.
    """
    check_all(request, say)
    log = logs.prepare(request.paths, request.settings)
    full = replace(request, log=None if isinstance(request.settings.log, SystemLog) else log)

    def serve(ready: Ready) -> None:
        serve_mount(full, lock, ready, first_client)

    kept = (lock, first_client, request.listener)
    keep = [one.fileno() for one in kept if one is not None]
    try:
        started = daemon.start(
            serve,
            keep=keep,
            log=log,
            log_to=lambda: logs.install(request.settings, log),
            say=say,
        )
    except ImagenetfsError as error:
        if error.exit_code is not ExitCode.FUSE_REFUSED or not namespaces.in_user_namespace():
            raise
        raise FuseRefusedError(
            f"{error} This process is in a user namespace (of run --namespace, or a container's), "
            "where fusermount3 may have no rights: use imagenetfs run, or mount outside."
        ) from error
    try:
        entry = _read_once(request.paths.mountpoint)
    except BaseException:
        daemon.stop(started.pid)
        raise
    for warning in started.warnings:
        say(f"warning: {warning}")
    if not request.settings.require and _is_of_own_group(entry):
        _tell_forgotten(request, say)
    return entry


def _tell_forgotten(request: MountRequest, say: Say) -> None:
    """Of a user who has not said which splits are needed."""
    versions = (read_status(str(request.paths.mountpoint)) or {}).get("versions", {})
    note = without_train(versions.get("ILSVRC2012", ()), request.source)
    if note is not None:
        say(f"note: {note}")


def _is_of_own_group(entry: mounts.MountEntry) -> bool:
    """Whether this process may read a mount: one that is shown to the user's usual group it may
    not, once it has left that group to read the source.
    """
    return entry.group_id in (None, os.getegid())


def _read_once(mountpoint: Path) -> mounts.MountEntry:
    entry = mounts.find_mount(mountpoint)
    if entry is None or not entry.is_ours:
        raise FuseRefusedError(f"The mount at {mountpoint} did not appear in the mount table.")
    if not _is_of_own_group(entry):
        return entry
    try:
        ask(lambda: len(list(mountpoint.iterdir())), LIST_SECONDS)
    except (child_call.NoAnswerError, OSError) as error:
        with contextlib.suppress(ImagenetfsError):
            mounts.detach(entry, lazy=True)
        raise FuseRefusedError(
            f"The mount at {mountpoint} could not be read and was taken away again: "
            f"{child_call.reason_of(error)}."
        ) from error
    return entry
