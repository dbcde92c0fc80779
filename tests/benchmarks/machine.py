"""What was measured on: the machine and the versions, and what else it was doing."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_QUIET_SECONDS = 0.3
_QUIET_SHARE = 0.1


def describe(data: Path) -> dict[str, str]:
    """The facts that a reader needs to judge a figure, by name; ``data`` is where the data are."""
    return {
        "CPU": _cpu_model(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": f"{_meminfo('MemTotal') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "pyfuse3": _version("pyfuse3"),
        "numpy": _version("numpy"),
        "imagenetfs": _version("imagenetfs") + _commit(),
        "data on": _file_system(data),
    }


def available_memory() -> int:
    """Bytes that the page cache may still take."""
    return _meminfo("MemAvailable")


def slab() -> int:
    """Bytes of kernel memory in slabs, of the whole machine: inodes and names are kept there."""
    return _meminfo("Slab")


@dataclass(frozen=True, slots=True)
class CpuTime:
    """CPU seconds so far: what all CPUs had, what all programs used, what the host of a virtual
    machine took away, and what we used.
    """

    had: float
    used: float
    stolen: float
    ours: float

    def since(self, before: CpuTime) -> CpuTime:
        """What came about since ``before``."""
        return CpuTime(
            self.had - before.had,
            self.used - before.used,
            self.stolen - before.stolen,
            self.ours - before.ours,
        )

    @property
    def others(self) -> float:
        """CPU seconds that other programs used."""
        return max(0.0, self.used - self.ours)


def cpu_time() -> CpuTime:
    """Now. Ours is this process and those of its children that have ended."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    unit = os.sysconf("SC_CLK_TCK")
    idle, stolen = ticks[3] + ticks[4], ticks[7]
    ours = sum(os.times()[:4])
    return CpuTime(sum(ticks) / unit, (sum(ticks) - idle - stolen) / unit, stolen / unit, ours)


def wait_for_quiet(seconds: float) -> None:
    """Wait until others leave the CPUs nearly idle, at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_time()
        time.sleep(_QUIET_SECONDS)
        passed = cpu_time().since(before)
        if passed.others + passed.stolen < _QUIET_SHARE * passed.had:
            return


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system that a path is on: the longest mountpoint above it decides."""
    found = ("", "unknown")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields = line.split()
        kind = fields[fields.index("-") + 1]
        if path.is_relative_to(fields[4]) and len(fields[4]) >= len(found[0]):
            found = (fields[4], kind)
    return found[1]


def _meminfo(name: str) -> int:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) * 1024
    return 0


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _commit() -> str:
    """The commit that is checked out, where git tells."""
    here = Path(__file__).parent
    command = ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return f" ({answer.stdout.strip()})" if answer.returncode == 0 else ""
