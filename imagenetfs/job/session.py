"""``run``'s mount: found or started, leased while the command runs, ended with the last one."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.config import Settings
from imagenetfs.errors import FuseRefusedError, ImagenetfsError, MountpointInUseError
from imagenetfs.job import checks, groups, leases
from imagenetfs.job.leases import Lease
from imagenetfs.job.places import Place, digest, job_name, locked, place_at, root_of
from imagenetfs.job.processes import wait_for_end
from imagenetfs.job.server import MountRequest
from imagenetfs.job.starting import Say, start_mount
from imagenetfs.system import mounts

MOUNT_VARIABLE = "IMAGENETFS_MOUNT"

ENDING_SECONDS = 15.0
FOREIGN_SECONDS = 3.0


class OccupiedError(MountpointInUseError):
    """Another mount lies at this place; at the default place the next name is tried."""


@dataclass(slots=True)
class Session:
    """A mount in use by this process. Without a lease it is somebody else's, and only used."""

    place: Place
    entry: mounts.MountEntry
    lease: Lease | None
    made: bool = False

    @property
    def mountpoint(self) -> Path:
        return self.place.mountpoint


# --- joining --------------------------------------------------------------------------------------


def _same(source: str, other: str) -> bool:
    return mounts.resolve(source) == mounts.resolve(other)


def _join(place: Place, source: Path | None, say: Say) -> Session | None:
    """Join the mount at a place, under its lock; None if there is none (any more).

    Raises OccupiedError where the mount there shows another source, or cannot be seen from here.
    """
    entry = mounts.top(place.mountpoint)
    if entry is not None and entry.is_ours:
        groups.check_mount(entry)
    lease = Lease.visit(place)
    if entry is None:
        if lease is None:
            return None
        lease.close()
        raise OccupiedError(
            f"A mount at {place.mountpoint} belongs to another mount namespace (a container, or "
            "another step): choose another place with --at."
        )
    if not entry.is_ours:
        raise OccupiedError(f"Something is mounted at {place.mountpoint} already ({entry.fstype}).")
    shown = entry.source if lease is None else lease.identity.source
    if source is not None and not _same(shown, str(source)):
        raise OccupiedError(
            f"{shown} is mounted at {place.mountpoint}, not {source}: choose another place "
            "with --at."
        )
    if lease is not None:
        with contextlib.suppress(OSError, ValueError):  # it may have died this very moment
            lease.take()
            return Session(place, entry, lease)
    return _use_without_lease(place, entry, say)


def _use_without_lease(place: Place, entry: mounts.MountEntry, say: Say) -> Session | None:
    """No server of this user listens: the mount is dead, on its way out, or somebody else's."""
    if checks.health(entry) is checks.Health.DEAD:
        checks.heal(entry, say)
        return None
    if entry.user_id == os.geteuid() and mounts.wait_gone(entry, FOREIGN_SECONDS):
        return None
    return Session(place, entry, lease=None)


def _join_or_start(place: Place, source: Path, settings: Settings, say: Say) -> Session:
    with locked(place) as lock:
        session = _join(place, source, say)
        if session is not None:
            _check_views(session, settings)
            return session
        made = _make_directory(place)
        try:
            return _start(place, source, settings, made, lock, say)
        except BaseException:
            if made:
                with contextlib.suppress(OSError):
                    place.mountpoint.rmdir()
            raise


def _check_views(session: Session, settings: Settings) -> None:
    """A mount that is joined shows the views that it was mounted with, and no others."""
    shown = session.mountpoint / "views"
    missing = [name for name, _ in settings.view if not (shown / name).is_dir()]
    if missing:
        if session.lease is not None:
            session.lease.close()
        raise OccupiedError(
            f"The mount at {session.mountpoint} does not show the view {missing[0]}: choose another "
            "place with --at."
        )


def _make_directory(place: Place) -> bool:
    """Make the mountpoint; True if it shall go with the mount."""
    try:
        place.mountpoint.mkdir(mode=0o700)
    except FileExistsError:
        return place.is_below_root  # a server that was killed may have left it
    except OSError:
        return False  # the checks say what is wrong
    return True


def _start(
    place: Place, source: Path, settings: Settings, made: bool, lock: int, say: Say
) -> Session:
    request = MountRequest(place=place, source=source, settings=settings, born="run", made=made)
    front, server = leases.pair()
    with server:
        try:
            entry = start_mount(request, lock, say, server)
            return Session(place, entry, Lease(front), made)
        except (OSError, ValueError) as error:
            front.close()
            raise FuseRefusedError(
                f"The mount at {place.mountpoint} ended as soon as it had started."
            ) from error
        except BaseException:
            front.close()
            raise


# --- where ----------------------------------------------------------------------------------------


def _candidates(source: Path, settings: Settings, environ: Mapping[str, str]) -> Iterator[Path]:
    """Names at the default place: another source, then another namespace, gets another one."""
    root = root_of(settings)
    name = job_name(environ)
    yield root / name
    which = str(mounts.resolve(source))
    yield root / f"{name}-{digest(which)[:8]}"
    namespace = str(Path("/proc/self/ns/mnt").readlink())
    yield root / f"{name}-{digest(which + namespace)[:8]}"


def _named_mount(
    source: Path | None, settings: Settings, environ: Mapping[str, str], say: Say
) -> Session | None:
    """The live mount that $IMAGENETFS_MOUNT names, if there is one and it shows this source."""
    named = environ.get(MOUNT_VARIABLE)
    if not named:
        return None
    mountpoint = mounts.resolve(named)
    entry = mounts.top(mountpoint)
    if entry is None or not entry.is_ours or checks.health(entry) is not checks.Health.LIVE:
        return None
    place = place_at(mountpoint, settings)
    with locked(place), contextlib.suppress(OccupiedError):
        session = _join(place, source, say)
        if session is not None:
            _check_views(session, settings)
        return session
    return None


def acquire(settings: Settings, at: Path | None, environ: Mapping[str, str], say: Say) -> Session:
    """The mount for ``run``: ``at`` a given place, else the one that the environment names, else at
    the default place. Raises ImagenetfsError."""
    if at is None:
        asked = settings.source if settings.origins["source"].startswith("--") else None
        session = _named_mount(asked, settings, environ, say)
        if session is not None:
            return session
    source = settings.source or checks.default_source()
    if at is not None:
        place = place_at(mounts.resolve(at), settings)
        return _join_or_start(place, source, settings, say)
    refusal: OccupiedError | None = None
    for mountpoint in _candidates(source, settings, environ):
        try:
            place = place_at(mounts.resolve(mountpoint), settings)
            return _join_or_start(place, source, settings, say)
        except OccupiedError as error:
            refusal = error
    assert refusal is not None
    raise refusal


# --- ending ---------------------------------------------------------------------------------------


def release(session: Session, say: Say) -> None:
    """Give the lease back; as the last one, wait until mount and server are gone."""
    if session.lease is None:
        return
    last = session.lease.leave()
    session.lease.close()
    if last is False:
        return
    if last is None:
        _clear_after_death(session, say)
        return
    deadline = time.monotonic() + ENDING_SECONDS
    if not mounts.wait_gone(session.entry, ENDING_SECONDS):
        say(f"the mount at {session.mountpoint} did not end by itself and was taken away.")
        with contextlib.suppress(ImagenetfsError):
            mounts.detach(session.entry, lazy=True)
    wait_for_end(session.lease.identity.pid, deadline - time.monotonic())


def _clear_after_death(session: Session, say: Say) -> None:
    """The server has gone; if it could not unmount, do so in its place."""
    if mounts.wait_gone(session.entry, FOREIGN_SECONDS):
        return
    if checks.health(session.entry) is checks.Health.LIVE:
        return
    try:
        checks.heal(session.entry, say)
    except ImagenetfsError as error:
        say(str(error))
    if session.made or session.place.is_below_root:
        with contextlib.suppress(OSError):
            session.mountpoint.rmdir()
