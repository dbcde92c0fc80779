"""What was measured on: the machine and the versions, and what else it was doing."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def describe() -> dict[str, str]:
    """The facts that a reader needs to judge a figure, by name."""
    return {
        "CPU": _cpu_model(),
        "CPUs": str(len(os.sched_getaffinity(0))),
        "memory": f"{_meminfo('MemTotal') / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "Python": platform.python_version(),
        "pyfuse3": _version("pyfuse3"),
        "numpy": _version("numpy"),
        "imagenetfs": _version("imagenetfs") + _commit(),
    }


def available_memory() -> int:
    """Bytes that the page cache may still take."""
    return _meminfo("MemAvailable")


def slab() -> int:
    """Bytes of kernel memory in slabs, of the whole machine: inodes and names are kept there."""
    return _meminfo("Slab")


def load() -> float:
    """Processes that wanted to run, on average over the last minute."""
    return os.getloadavg()[0]


def is_busy(load_before: float) -> bool:
    """Whether so much else ran that figures are noise."""
    return load_before > 0.25 * len(os.sched_getaffinity(0))


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


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
