"""Which mount ``run`` uses: one that is named, one at a given place, the
job's own, or a namespace's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import ExitCode, ImagenetfsError, RunDirRefusedError
from imagenetfs.job import namespace, preflight
from imagenetfs.job.compatibility import OccupiedError
from imagenetfs.job.mount_handle import (
    MOUNT_VARIABLE,
    MountHandle,
    check_joined,
    join_mount,
    join_or_start,
)
from imagenetfs.job.mount_paths import MountPaths, locked, prepare_paths
from imagenetfs.job.run_dir import digest, job_name, prepare_root
from imagenetfs.job.start import Say
from imagenetfs.job.status import source_of
from imagenetfs.system import mounts, namespaces


def acquire(
    settings: Settings, at: Path | None, environ: Mapping[str, str], say: Say
) -> MountHandle:
    """The mount for ``run``: ``at`` a given place, else the one that the environment names, else at
    the default place, or in a namespace of its own. Raises ImagenetfsError.

    The process may be in another namespace afterwards; so it must have one thread only.
    """
    if at is None:
        asked = settings.source if settings.origins["source"].startswith("--") else None
        handle = _named_mount(asked, settings, environ, say)
        if handle is not None:
            return handle
    source = settings.source or preflight.default_source()
    if settings.namespace == "always":
        return namespace.acquire(source, settings, at, environ, say)
    if settings.namespace == "auto" and not can_mount_plainly():
        say("there is no fusermount3 here, so the mount gets a namespace of its own.")
        return namespace.acquire(source, settings, at, environ, say)
    try:
        return _acquire_plainly(source, settings, at, environ, say)
    except ImagenetfsError as error:
        # A namespace needs no fusermount3, and no place that others see.
        is_refused = error.exit_code is ExitCode.FUSE_REFUSED and not namespaces.may_mount()
        has_no_place = isinstance(error, RunDirRefusedError) and at is None
        if not (is_refused or has_no_place) or settings.namespace == "never":
            raise
        say(f"{error} So it gets a namespace of its own.")
        with contextlib.suppress(ImagenetfsError):
            return namespace.acquire(source, settings, at, environ, say)
        raise


def source_to_use(settings: Settings, at: Path | None, environ: Mapping[str, str]) -> Path:
    """The source that the mount will show: the one asked for, else that of the live mount which the
    environment names, else the default one.
    """
    named = environ.get(MOUNT_VARIABLE)
    if at is None and named and not settings.origins["source"].startswith("--"):
        entry = mounts.find_mount(mounts.resolve(named))
        if entry is not None and entry.is_ours and _is_live(entry):
            return Path(source_of(entry))
    return settings.source or preflight.default_source()


def _is_live(entry: mounts.MountEntry) -> bool:
    return preflight.health(entry) is preflight.Health.LIVE


def can_mount_plainly() -> bool:
    """Whether a mount in this mount namespace is worth a try."""
    return namespaces.may_mount() or mounts.find_fusermount() is not None


def _acquire_plainly(
    source: Path, settings: Settings, at: Path | None, environ: Mapping[str, str], say: Say
) -> MountHandle:
    if at is not None:
        paths = prepare_paths(mounts.resolve(at), settings, say)
        return join_or_start(paths, source, settings, say)
    refusal: OccupiedError | None = None
    root = prepare_root(settings, say)
    for mountpoint in _candidates(root, source, settings, environ):
        try:
            return join_or_start(MountPaths(mountpoint, root), source, settings, say)
        except OccupiedError as error:
            refusal = error
    assert refusal is not None
    raise refusal


def _candidates(
    root: Path, source: Path, settings: Settings, environ: Mapping[str, str]
) -> Iterator[Path]:
    """Names below the root: another source, or one shown otherwise, then another namespace, gets
    another one."""
    name = job_name(environ)
    yield root / name
    which = f"{mounts.resolve(source)} {settings.prefer} {config.as_text(settings.view)}"
    yield root / f"{name}-{digest(which)[:8]}"
    yield root / f"{name}-{digest(which + namespaces.mount_namespace())[:8]}"


def _named_mount(
    source: Path | None, settings: Settings, environ: Mapping[str, str], say: Say
) -> MountHandle | None:
    """The live mount that $IMAGENETFS_MOUNT names, if there is one and it shows this source."""
    named = environ.get(MOUNT_VARIABLE)
    if not named:
        return None
    mountpoint = mounts.resolve(named)
    entry = mounts.find_mount(mountpoint)
    if entry is None or not entry.is_ours or not _is_live(entry):
        return None
    paths = prepare_paths(mountpoint, settings)
    with locked(paths), contextlib.suppress(OccupiedError):
        handle = join_mount(paths, source, say)
        if handle is not None:
            check_joined(handle, settings, say)
        return handle
    return None
