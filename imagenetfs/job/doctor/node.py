"""The node and the job: FUSE, kernel settings, groups, dead mounts, CPUs and memory."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Iterator, Mapping
from pathlib import Path

from imagenetfs import config
from imagenetfs.errors import FuseUnavailableError
from imagenetfs.fuse.protocol import BACKGROUND
from imagenetfs.job import preflight, status
from imagenetfs.job.doctor.findings import Finding, green, red, yellow
from imagenetfs.job.nfs_access import SENT, User
from imagenetfs.system import child_call, mounts
from imagenetfs.system.namespaces import may_mount
from imagenetfs.system.work_watch import call_watched
from imagenetfs.units import in_bytes

BACKGROUND_REQUESTS = Path("/sys/module/fuse/parameters/max_user_bgreq")
WANTED_BACKGROUND = 64
"""Reads that may be under way: with the kernel's usual 12, thirteen stuck
ones hold up all others.
"""

MOUNT_TABLE = Path("/etc/mtab")
"""Where fusermount3 looks for a mount before it unmounts it; images of containers may lack it."""

FEW_FILES = 256

_LEAST_MEMORY = 2e9

CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)

_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000


def fuse() -> Iterator[Finding]:
    """The device, fusermount3, user namespaces."""
    namespaces = has_namespaces()
    try:
        preflight.check_fuse(needs_helper=not may_mount())
        helper = mounts.find_fusermount()
        yield green(
            "FUSE", f"/dev/fuse may be opened; fusermount3: {helper or 'none, and root needs none'}"
        )
        if helper and not may_mount() and not MOUNT_TABLE.exists():
            yield yellow(
                "unmounting",
                f"there is no {MOUNT_TABLE}, and fusermount3 unmounts nothing that is not there",
                f"in the image, as root: ln -s /proc/self/mounts {MOUNT_TABLE}",
            )
    except FuseUnavailableError as error:
        yield red("FUSE", str(error))
    if namespaces:
        yield green(
            "namespaces", "they work: with `run --namespace` nothing of a mount can be left behind"
        )
    else:
        yield yellow(
            "namespaces",
            "user namespaces are off for this user",
            "a mount may outlive a job that is killed; `imagenetfs doctor` takes what is left away",
        )


def has_namespaces() -> bool:
    """Whether this user may make a user and a mount namespace: tried in a child."""

    def attempt() -> bool:
        libc = ctypes.CDLL(None, use_errno=True)
        return bool(libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNS) == 0)

    try:
        return bool(call_watched(attempt, preflight.ANSWER_SECONDS))
    except (OSError, child_call.NoAnswerError):
        return False


def kernel() -> Iterator[Finding]:
    """Settings that matter."""
    release = os.uname().release
    try:
        background = int(BACKGROUND_REQUESTS.read_text())
    except (OSError, ValueError):
        background = None
    if background is not None and background < WANTED_BACKGROUND:
        yield yellow(
            "kernel",
            f"Linux {release}: no more than {background} reads of a mount are under way at once",
            f"an administrator writes {WANTED_BACKGROUND} or more to {BACKGROUND_REQUESTS}",
            background=background,
        )
    else:
        yield green(
            "kernel",
            f"Linux {release}: up to {min(background or BACKGROUND, BACKGROUND)} reads of a mount "
            "are under way at once",
            background=background,
        )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files < FEW_FILES:
        yield red(
            "open files",
            f"a process may open {files} files",
            f"`ulimit -n {4 * FEW_FILES}` before the mount",
        )
    else:
        yield green("open files", f"a process may open {files:,}")


def user_groups() -> Iterator[Finding]:
    """Whether a server would hear of all groups."""
    user = User.here()
    if user.hidden:
        yield yellow(
            "groups",
            f"you are in {len(user.groups)} groups; NFSv3 tells a server your "
            f"primary one and {SENT} more",
            "where that matters for the source, run and mount start again under "
            "the right group (sg)",
            hidden=sorted(user.hidden),
        )
    else:
        count = len(user.groups)
        noun = "group" if count == 1 else "groups"
        told = f"{count} {noun}; a file server is told of all of them" if count else "no groups"
        yield green("groups", f"you are in {told}")


def own_mounts() -> Iterator[Finding]:
    """Mounts of this user: those that run, and what is wrong there; those whose servers have gone,
    or do not answer.
    """
    found = status.collect()
    for one in found:
        facts = {"mountpoint": one.mountpoint, "state": one.state}
        if one.state == "stale":
            yield red(
                "mounts",
                f"the mount at {one.mountpoint} is dead: its server has gone",
                f"`imagenetfs doctor --heal`, or `imagenetfs umount {one.mountpoint}`",
                **facts,
            )
        elif one.state == "silent":
            yield yellow(
                "mounts",
                f"the mount at {one.mountpoint} does not answer",
                f"if it stays so: `imagenetfs umount --lazy {one.mountpoint}`",
                **facts,
            )
        else:
            yield _running(one, facts)
    if not found:
        yield green("mounts", "you have none on this node")


def _running(one: status.MountStatus, facts: dict[str, str]) -> Finding:
    """A mount that answers, and its problems."""
    what = f"{one.source} is mounted at {one.mountpoint}"
    problems = [str(problem) for problem in one.details.get("problems", ())]
    if not problems:
        return green("mounts", f"{what}, without problems", **facts)
    more = f" (and {len(problems) - 1:,} more)" if len(problems) > 1 else ""
    return yellow(
        "mounts",
        f"{what}; {problems[0].rstrip('.')}{more}",
        f"`imagenetfs status {one.mountpoint}` has all of it, and where the log is",
        **facts,
    )


def job(environ: Mapping[str, str]) -> Iterator[Finding]:
    """What the job has: CPUs, memory, the local disk."""
    cpus, memory = config.cpus(), memory_bytes()
    name = f"job {environ['SLURM_JOB_ID']}" if environ.get("SLURM_JOB_ID") else "no job"
    what = f"{name}: {cpus} CPUs, {in_bytes(memory)} of memory"
    if memory < _LEAST_MEMORY:
        yield yellow(
            "job", what, "ask for 2 GB at least: the kernel keeps 1 KB for each image listed"
        )
    else:
        yield green("job", what, cpus=cpus, memory=memory)
    local = environ.get("SLURM_TMPDIR")
    if environ.get("SLURM_JOB_ID") and not local and not environ.get("IMAGENETFS_CACHE_DIR"):
        yield yellow(
            "local disk",
            "$SLURM_TMPDIR is not set, so there is no read cache by default",
            "ask the site for a node-local directory, and give it as --cache-dir",
        )
    elif local and not Path(local).is_dir():
        yield red(
            "local disk", f"$SLURM_TMPDIR is {local}, and that is no directory", "tell the site"
        )


def memory_bytes() -> int:
    """The job's memory: the machine's, or less where a control group says so."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in CGROUP_LIMITS:
        try:
            memory = min(memory, int(path.read_text()))
        except (OSError, ValueError):  # not there, or "max"
            continue
    return memory
