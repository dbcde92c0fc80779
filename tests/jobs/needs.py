"""What the tests with machines of their own need of this one; where it is not there they are skipped."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

CGROUP = Path("/sys/fs/cgroup")
CGROUP2 = (CGROUP / "unified", CGROUP)
"""Where control groups of version 2 may be mounted."""

_SYSTEMD = Path("/lib/systemd/systemd")


def _missing(programs: tuple[str, ...]) -> str:
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    absent = [name for name in programs if shutil.which(name, path=path) is None]
    return f"needs {', '.join(absent)}" if absent else ""


def _without_root() -> str:
    return "" if os.geteuid() == 0 else "needs root"


def _without_groups(paths: tuple[Path, ...]) -> str:
    closed = [str(path) for path in paths if not os.access(path / "cgroup.procs", os.W_OK)]
    return f"needs the control groups at {', '.join(closed)}" if closed else ""


def why_no_slurm() -> str:
    """A reason, or nothing: Slurm's cgroup plugin is set up for version 1 here."""
    version_1 = (CGROUP / "memory", CGROUP / "freezer")
    programs = ("slurmctld", "slurmd", "sbatch", "munged")
    return _without_root() or _missing(programs) or _without_groups(version_1)


def why_no_systemd() -> str:
    """A reason, or nothing."""
    if not _SYSTEMD.exists():
        return f"needs {_SYSTEMD}"
    wanted = next((path for path in CGROUP2 if (path / "cgroup.procs").exists()), CGROUP2[0])
    return _without_root() or _without_groups((wanted,))


slurm = pytest.mark.skipif(bool(why_no_slurm()), reason=why_no_slurm())
systemd = pytest.mark.skipif(bool(why_no_systemd()), reason=why_no_systemd())
