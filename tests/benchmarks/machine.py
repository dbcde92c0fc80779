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
    """CPU seconds so far: what all CPUs had, what anybody (the host included) used, and what we did."""

    had: float
    used: float
    ours: float

    def others_since(self, before: CpuTime) -> float:
        """CPU seconds that others used since ``before``."""
        return max(0.0, (self.used - before.used) - (self.ours - before.ours))


def cpu_time() -> CpuTime:
    """Now. Ours is this process and those of its children that have ended."""
    ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    idle = ticks[3] + ticks[4]
    unit = os.sysconf("SC_CLK_TCK")
    times = os.times()
    return CpuTime(sum(ticks) / unit, (sum(ticks) - idle) / unit, sum(times[:4]))


def wait_for_quiet(seconds: float) -> None:
    """Wait until others leave the CPUs nearly idle, at most so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        before = cpu_time()
        time.sleep(_QUIET_SECONDS)
        now = cpu_time()
        if now.others_since(before) < _QUIET_SHARE * (now.had - before.had):
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
