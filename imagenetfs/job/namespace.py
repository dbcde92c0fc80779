"""``run --namespace``: the mount lies in a mount namespace that the job's own processes keep alive.

It needs no fusermount3, and the kernel takes it away with the last of those processes, whatever
killed them. Nothing of it is outside: mountpoint, lock and socket lie in a directory in memory,
laid over an empty directory of the system; within the namespace they are what they are for a plain
mount. Other runs of the job find the namespace by a socket (rendezvous.py) and join it by setns(2).
docs/namespace.md says what does not work inside.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from imagenetfs.config import Settings
from imagenetfs.errors import FuseUnavailableError, NotMountedError, UsageError
from imagenetfs.job import preflight
from imagenetfs.job.mount_handle import MountHandle, join_mount, join_or_start
from imagenetfs.job.mount_paths import LOCK_SECONDS, MountPaths, locked
from imagenetfs.job.rendezvous import (
    ForeignSocketError,
    NamespaceServer,
    NameWait,
    RendezvousAddress,
    answer,
    connect,
    connect_own,
    list_addresses,
    listen,
)
from imagenetfs.job.run_dir import digest, ensure_private, job_name, prepare_root
from imagenetfs.job.start import Say
from imagenetfs.system import mounts, namespaces

MOUNTPOINT_NAME = "imagenet"

SAID_ONCE = (
    "mounted in a namespace of its own: nothing of it can stay behind. Inside, setuid programs "
    "(sudo, sg, su), chgrp to another group, and on some systems ssh do not work; "
    "docs/namespace.md has the rest."
)

_QUIET_DIRECTORIES = (Path("/media"), Path("/srv"), Path("/mnt"))
_NAMES = 4
"""How many names are tried before a run goes on alone."""


class _GoneError(Exception):
    """The namespace ended before it could be joined."""


def acquire(
    source: Path, settings: Settings, at: Path | None, environ: Mapping[str, str], say: Say
) -> MountHandle:
    """The job's namespaced mount, joined or started; this process is in its namespace afterwards.

    Raises ImagenetfsError; FuseUnavailableError where there are no user namespaces.
    """
    preflight.check_fuse(needs_helper=False)
    addresses = _addresses(source, settings, at, environ)
    for number in range(_NAMES):
        try:
            numbered = [replace(address, number=number) for address in addresses]
            return _join_or_make(numbered, source, settings, at, say)
        except ForeignSocketError:
            continue
        except PermissionError:
            break  # a container's: not ours to join
    else:
        say(
            "processes of other users have the names by which the runs of a job find one "
            "another, so this run has a mount of its own."
        )
    return _make_and_start(addresses[0].job, source, settings, at, say)


def _join_or_make(
    addresses: list[RendezvousAddress],
    source: Path,
    settings: Settings,
    at: Path | None,
    say: Say,
) -> MountHandle:
    """Join by one of these names, or start by the first. Raises ForeignSocketError where another
    user's process has that, and PermissionError.
    """
    own = addresses[0]
    deadline = time.monotonic() + LOCK_SECONDS
    wait = NameWait(own)
    while time.monotonic() < deadline:
        try:
            for address in addresses:
                host = _connect(address, must_be_ours=address is own)
                if host is not None:
                    return _join_and_use(host, address.job, source, settings, say)
            listener = listen(own)
            if listener is not None:
                with listener:
                    return _make_and_start(own.job, source, settings, at, say, listener)
        except _GoneError:
            wait = NameWait(own)
        wait.wait()
    raise ForeignSocketError


def _connect(address: RendezvousAddress, *, must_be_ours: bool) -> NamespaceServer | None:
    try:
        return connect(address)
    except ForeignSocketError:
        if must_be_ours:
            raise
        return None


def enter(job: str | None, environ: Mapping[str, str], say: Say) -> MountHandle:
    """Join a job's namespace: the one named, else this job's, else the only one there is.

    Raises NotMountedError where there is none, and UsageError where there are several.
    """
    wanted = job or environ.get("SLURM_JOB_ID")
    with contextlib.ExitStack() as stack:
        found = []
        for address in list_addresses():
            connection = _connect_own(address) if _is_of(address, wanted) else None
            if connection is not None:
                found.append((address, stack.enter_context(connection)))
        if not found:
            which = f"of the job {wanted} " if wanted else ""
            raise NotMountedError(
                f"No namespace {which}made by `imagenetfs run --namespace` is on this node."
            )
        if len(found) > 1:
            names = ", ".join(_names([address for address, _ in found]))
            raise UsageError(f"There are several namespaces here; name one of {names}.")
        address, connection = found[0]
        try:
            host = answer(connection)
            handle = host and _use(_join_host(host, address.job), say)
        except (PermissionError, _GoneError):
            handle = None
    if not handle:
        raise NotMountedError(f"The namespace of {address.job} could not be entered: it is ending.")
    return handle


def _connect_own(address: RendezvousAddress) -> socket.socket | None:
    """A connection where the process that listens is this user's."""
    try:
        return connect_own(address)
    except ForeignSocketError:
        return None


def _names(addresses: list[RendezvousAddress]) -> list[str]:
    """What to call each: its job, with the digest where the job has several."""
    jobs = [address.job for address in addresses]
    return [
        f"{address.job}/{address.digest}" if jobs.count(address.job) > 1 else address.job
        for address in addresses
    ]


def _is_of(address: RendezvousAddress, wanted: str | None) -> bool:
    if wanted is None or f"{address.job}/{address.digest}" == wanted:
        return True
    return address.job == wanted or address.job.startswith(f"{wanted}.")


def _use(paths: MountPaths, say: Say) -> MountHandle | None:
    with locked(paths):
        return join_mount(paths, None, say)


# --- which ----------------------------------------------------------------------------------------


def _addresses(
    source: Path, settings: Settings, at: Path | None, environ: Mapping[str, str]
) -> list[RendezvousAddress]:
    """Names to try, the own one first. A step may use what its job's script has made, which
    outlives it; the script must not use a step's.
    """
    what = [
        mounts.resolve(source),
        settings.run_dir,
        settings.view,
        settings.prefer,
        at and mounts.resolve(at),
        os.getegid(),  # the kernel shows a mount to this one only
        # A step or container that sees other mounts shall go on seeing them.
        namespaces.mount_namespace(),
    ]
    name = job_name(environ)
    jobs = dict.fromkeys([name, job_name({**environ, "SLURM_STEP_ID": ""})])
    return [RendezvousAddress(job, digest(repr(what))) for job in jobs]


# --- joining --------------------------------------------------------------------------------------


def _join_and_use(
    host: NamespaceServer, job: str, source: Path, settings: Settings, say: Say
) -> MountHandle:
    return join_or_start(_join_host(host, job), source, settings, say)


def _join_host(host: NamespaceServer, job: str) -> MountPaths:
    """Go into the namespace; raises _GoneError or PermissionError."""
    try:
        namespaces.enter_namespaces(host.pid)
    except (FileNotFoundError, ProcessLookupError) as error:
        raise _GoneError from error
    return MountPaths(Path(host.mountpoint), Path(host.root), job)


# --- making ---------------------------------------------------------------------------------------


def _make_and_start(
    job: str,
    source: Path,
    settings: Settings,
    at: Path | None,
    say: Say,
    listener: socket.socket | None = None,
) -> MountHandle:
    needs_user_namespace = not namespaces.may_mount()
    # Where it takes another primary group, sg is started for that, and must be
    # outside: it is setuid.
    preflight.check_source(source)
    handle = join_or_start(_make(settings, at, job), source, settings, say, listener)
    if needs_user_namespace:
        say(SAID_ONCE)
    return handle


def _make(settings: Settings, at: Path | None, job: str) -> MountPaths:
    """A namespace for this process, with a private directory in it; raises ImagenetfsError."""
    root = _quiet_directory() or prepare_root(settings)
    try:
        namespaces.make_own()
        namespaces.mount_private(root)
    except OSError as error:
        raise FuseUnavailableError(
            f"This node does not let users make a namespace ({error.filename}: {error.strerror}); "
            "an administrator looks at user.max_user_namespaces and AppArmor's rules for them. "
            "Where fusermount3 works, use run --no-namespace."
        ) from error
    ensure_private(root / ".run")
    mountpoint = mounts.resolve(at) if at is not None else root / MOUNTPOINT_NAME
    return MountPaths(mountpoint, root, job)


def _quiet_directory() -> Path | None:
    """An empty directory that every system has and no job uses."""
    for directory in _QUIET_DIRECTORIES:
        try:
            is_free = not directory.is_symlink() and mounts.find_mount(directory) is None
            if is_free and not any(directory.iterdir()):
                return directory
        except OSError:
            continue
    return None
