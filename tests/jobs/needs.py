"""What the tests with machines of their own need of this one; where it is
not there they are skipped.
"""

from __future__ import annotations

import os
import shutil
import stat
import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

import pytest

from tests.helpers.forkserver import REPOSITORY

CGROUP = Path("/sys/fs/cgroup")
CGROUP2 = (CGROUP / "unified", CGROUP)
"""Where control groups of version 2 may be mounted."""

OWN = tuple(map(Path, ("/tmp", "/run", "/var/tmp", "/dev")))
"""What a machine that is booted here has of its own (boot.sh)."""

_SYSTEMD = Path("/lib/systemd/systemd")


class Groups(Enum):
    """What Slurm may follow a job's processes by: control groups, or
    nothing but who started whom.
    """

    V1 = "v1"
    V2 = "v2"
    NONE = "none"


def groups() -> Groups:
    """The best that there is here; IMAGENETFS_TEST_CGROUPS names another."""
    asked = os.environ.get("IMAGENETFS_TEST_CGROUPS")
    if asked:
        return Groups(asked)
    if all(_is_open(CGROUP / name) for name in ("memory", "freezer")):
        return Groups.V1
    is_version_2 = (CGROUP / "cgroup.controllers").exists()
    return Groups.V2 if is_version_2 and _is_open(CGROUP) else Groups.NONE


def limits_memory() -> bool:
    """Whether a job that takes too much of it can be killed for that."""
    if groups() is Groups.V2:
        return "memory" in (CGROUP / "cgroup.controllers").read_text().split()
    return groups() is Groups.V1


def _is_open(group: Path) -> bool:
    return os.access(group / "cgroup.procs", os.W_OK)


def _missing(programs: tuple[str, ...]) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in programs if shutil.which(name, path=path) is None]
    return f"needs {', '.join(absent)}" if absent else ""


def _without_root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _without_groups(paths: tuple[Path, ...]) -> str:
    closed = [str(path) for path in paths if not _is_open(path)]
    return f"needs the control groups at {', '.join(closed)}" if closed else ""


def closed_to_others(paths: Iterable[Path] = (REPOSITORY, Path(sys.prefix))) -> str:
    """Why other users cannot start the program that is tested, or nothing: both the checkout and
    the environment may have been made with umask 077.
    """
    for path in paths:
        for directory in (path, *path.parents):
            if not directory.stat().st_mode & stat.S_IXOTH:
                return f"needs {directory} open to other users (chmod o+x): jobs are those of one"
    return ""


def why_no_slurm() -> str:
    """A reason, or nothing."""
    missing = _missing(("slurmctld", "slurmd", "sbatch", "munged"))
    return _without_root() or missing or closed_to_others()


def why_no_systemd() -> str:
    """A reason, or nothing."""
    if not _SYSTEMD.exists():
        return f"needs {_SYSTEMD}"
    hidden = [
        path
        for path in OWN
        if REPOSITORY.is_relative_to(path) or Path(sys.prefix).is_relative_to(path)
    ]
    if hidden:
        return (
            f"needs a checkout that does not lie in {hidden[0]}: the machine it boots has its own"
        )
    wanted = next((path for path in CGROUP2 if (path / "cgroup.procs").exists()), CGROUP2[0])
    return _without_root() or _without_groups((wanted,))


slurm = pytest.mark.skipif(bool(why_no_slurm()), reason=why_no_slurm())
systemd = pytest.mark.skipif(bool(why_no_systemd()), reason=why_no_systemd())
