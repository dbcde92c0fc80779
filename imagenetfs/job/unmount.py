"""Unmount at a user's wish: no process may lose its files, and nothing may be left behind."""

from __future__ import annotations

import contextlib
import os
import shlex
import time
from collections.abc import Iterator

from imagenetfs.config import resolve as resolve_settings
from imagenetfs.errors import NotMountedError, StillBusyError
from imagenetfs.job import preflight
from imagenetfs.job.cleanup import clear_dead_mount
from imagenetfs.job.clients import MountClient
from imagenetfs.job.mount_paths import MountPaths, find_paths, locked
from imagenetfs.job.processes import elsewhere, holders, wait_for_end
from imagenetfs.job.start import Say
from imagenetfs.job.status import read_status
from imagenetfs.system import mounts
from imagenetfs.system.patience import PATIENCE

BUSY_SECONDS = 5.0
END_SECONDS = 30.0
LOOK_SECONDS = 2.0


class HasClientsError(StillBusyError):
    """A run uses the mount."""


def unmount(path: str, *, lazy: bool, say: Say) -> None:
    """Unmount and wait. Raises NotMountedError, StillBusyError, MountpointStaleError."""
    entry = _find(path)
    os.chdir("/")  # or this very process might be the one that keeps it busy
    if preflight.health(entry) is preflight.Health.DEAD:
        clear_dead_mount(entry, _place_of(entry), say)
        return
    pid = _server_pid(entry)
    if lazy:
        mounts.detach(entry, lazy=True)
    else:
        _detach_when_free(entry)
    if not preflight.wait_unmounted(entry, END_SECONDS):
        raise StillBusyError(f"{entry.mountpoint} is still in the mount table.")
    if pid is None or _ends_within(pid, LOOK_SECONDS):
        return
    sentence = _seen_elsewhere(entry)
    if lazy:
        say(sentence or "unmounted; its server ends when the last open file is closed.")
        return
    if sentence:
        say(f"{sentence} (Waiting for that.)")
    if not _ends_within(pid, END_SECONDS):
        raise StillBusyError(
            _seen_elsewhere(entry)
            or f"{entry.mountpoint} is unmounted, but its server (process {pid}) has not ended. "
            "A process in another mount namespace (a container, a service) may still have it: "
            f"as root, grep -l '{entry.device} ' /proc/*/mountinfo"
        )


def _ends_within(pid: int, wanted: float) -> bool:
    with PATIENCE.waiting(wanted) as seconds:
        return wait_for_end(pid, seconds)


def _seen_elsewhere(entry: mounts.MountEntry) -> str:
    """Which processes still have the mount, and what takes it away there; empty for none."""
    viewers = elsewhere(entry.device)
    if not viewers:
        return ""
    first = viewers[0]
    return (
        f"{entry.mountpoint} is unmounted here, and still mounted in another mount namespace (a "
        f"container, unshare -m), of {', '.join(map(str, viewers))}. Its server ends with them, "
        f"or as root with: nsenter -t {first.pid} -m umount --lazy {shlex.quote(first.mountpoint)}"
    )


def _find(path: str) -> mounts.MountEntry:
    mountpoint = mounts.resolve(path)
    entry = mounts.find_mount(mountpoint)
    if entry is None:
        around = mounts.covering_mount(mountpoint)
        if around is not None and around.is_ours:
            raise NotMountedError(
                f"{mountpoint} is a part of the mount at {around.mountpoint}: imagenetfs umount "
                f"{shlex.quote(around.mountpoint)} takes that away."
            )
        raise NotMountedError(
            f"Nothing is mounted at {mountpoint} on this node: `imagenetfs status` lists your "
            "mounts here. A mount is seen on no other node than its own."
        )
    if not entry.is_ours:
        raise NotMountedError(f"What is mounted at {mountpoint} is {entry.fstype}, not imagenetfs.")
    return entry


def _server_pid(entry: mounts.MountEntry) -> int | None:
    """The server's process: from the mount itself, else from its socket."""
    pid = (read_status(entry.mountpoint) or {}).get("pid")
    if isinstance(pid, int):
        return pid
    visit = MountClient.visit(_place_of(entry))
    if visit is None:
        return None
    visit.close()
    return visit.identity.pid


def _place_of(entry: mounts.MountEntry) -> MountPaths:
    return find_paths(mounts.resolve(entry.mountpoint), resolve_settings())


@contextlib.contextmanager
def _unless_a_run_uses_it(entry: mounts.MountEntry) -> Iterator[None]:
    """For what takes the mount away: no run is a client of it, and none becomes one until then.

    Raises HasClientsError where one has. Between two files its command holds nothing open.
    """
    paths = _place_of(entry)
    if not paths.socket_path.exists():  # another user's mount, or of another run directory
        yield
        return
    with locked(paths, BUSY_SECONDS):
        visit = MountClient.visit(paths)
        if visit is not None:
            found = visit.holders()
            visit.close()
            if found:
                raise HasClientsError(
                    f"{entry.mountpoint} is in use by {_runs(found)}: end that first; umount "
                    "--lazy takes the mount away all the same."
                )
        yield


def _runs(pids: list[int]) -> str:
    known = ", ".join(str(pid) for pid in pids if pid)
    count = "a run" if len(pids) == 1 else f"{len(pids)} runs"
    return f"{count} (process {known})" if known else count


def _detach_when_free(entry: mounts.MountEntry) -> None:
    """A reader that is just ending gets a moment; then its name is told."""
    with PATIENCE.waiting(BUSY_SECONDS) as seconds:
        _detach_within(entry, seconds)


def _detach_within(entry: mounts.MountEntry, seconds: float) -> None:
    deadline, pause = time.monotonic() + seconds, 0.02
    while True:
        try:
            with _unless_a_run_uses_it(entry):
                mounts.detach(entry, lazy=False)
            return
        except HasClientsError:
            raise
        except StillBusyError as error:
            if time.monotonic() > deadline:
                raise _with_holders(entry, error) from error
        time.sleep(pause)
        pause = min(pause * 2, 0.5)


def _with_holders(entry: mounts.MountEntry, error: StillBusyError) -> StillBusyError:
    found = holders(entry.mountpoint)
    if not found:
        return error
    return StillBusyError(
        f"{entry.mountpoint} is in use by {', '.join(found)}: end that first "
        "(a shell need only cd out of it), or use umount --lazy."
    )
