"""What there is to prove, how much of it is the full form, and by which command."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Exercise:
    """One long form. ``full`` of its ``unit`` take about ``seconds`` on two CPUs.

    A ``timed`` exercise is given seconds and says itself how much it did; another is given an
    amount, by ``variable`` in the environment, and at least ``least`` of it.
    """

    name: str
    what: str
    command: tuple[str, ...]
    unit: str
    full: int
    seconds: int
    variable: str = ""
    least: int = 1
    missing: Callable[[], str] = field(default=lambda: "")
    """What the machine lacks for it, as the end of a sentence; empty if nothing."""

    @property
    def timed(self) -> bool:
        """Whether it is given a time, not an amount."""
        return not self.variable

    def amount(self, budget: int | None) -> int:
        """How much to ask for within ``budget`` seconds: all of it where there is no budget."""
        if budget is None or budget >= self.seconds:
            return self.full
        if self.timed:
            return min(self.full, budget)
        return max(self.least, self.full * budget // self.seconds)


def _module(name: str) -> tuple[str, ...]:
    return (sys.executable, "-m", f"tests.prove.{name}")


def _tests(*paths: str) -> tuple[str, ...]:
    return (sys.executable, "-E", "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", *paths)


def _no_machine() -> str:
    if shutil.which("qemu-system-x86_64") and shutil.which("busybox"):
        return ""
    return "qemu-system-x86 and busybox-static are not installed (make test-nfs installs them)"


HOUR = 3600

EXERCISES = (
    Exercise(
        "load",
        "readers compare every image with the tar's bytes",
        _module("load"),
        "s",
        4 * HOUR,
        4 * HOUR,
    ),
    Exercise(
        "fuzz",
        "damaged tars keep every promise of the header walk",
        _module("fuzz"),
        "s",
        HOUR,
        HOUR,
    ),
    Exercise(
        "fuzz-zip",
        "damaged zips and npz files are read or refused, and no byte outside of them is asked for",
        _module("fuzz_zip"),
        "s",
        HOUR,
        HOUR,
    ),
    Exercise(
        "machine",
        "library and mount against a model of our own, whatever happens to source and workers",
        _tests("tests/prove/test_machine.py"),
        "runs",
        1000,
        4 * HOUR,
        "IMAGENETFS_TEST_MACHINE_RUNS",
        least=50,
    ),
    Exercise(
        "jobs",
        "each way for a Slurm job to end leaves nothing",
        _tests("tests/jobs/test_slurm.py"),
        "rounds",
        20,
        2400,
        "IMAGENETFS_TEST_ROUNDS",
    ),
    Exercise(
        "places",
        "every byte of a tar and of a devkit damaged",
        _tests("tests/faults/test_tar_broken.py", "tests/unit/tree/test_devkit.py"),
        "places",
        1_000_000,
        2400,
        "IMAGENETFS_TEST_PLACES",
    ),
    Exercise(
        "trees",
        "random trees: no image is unaccounted for",
        _tests("tests/unit/tree/test_ledger_random_trees.py"),
        "trees",
        20_000,
        900,
        "IMAGENETFS_TEST_TREES",
        least=100,
    ),
    Exercise(
        "properties",
        "properties of formats and tables, by many times the examples",
        _tests("-m", "hypothesis", "tests/unit"),
        "times",
        100,
        3600,
        "IMAGENETFS_TEST_EXAMPLES",
    ),
    Exercise(
        "surroundings",
        "the test run under nohup, beside busy loops, with a bare environment and the like",
        _module("surroundings"),
        "times",
        1,
        3 * HOUR,
        "IMAGENETFS_TEST_SURROUNDINGS",
    ),
    Exercise(
        "kill-workers",
        "workers killed while files are read",
        _tests("tests/faults/test_kill.py"),
        "kills",
        2000,
        900,
        "IMAGENETFS_TEST_WORKER_KILLS",
        least=10,
    ),
    Exercise(
        "kill-indexing",
        "processes killed while they index",
        _tests("tests/faults/test_kill_indexing.py"),
        "kills",
        300,
        900,
        "IMAGENETFS_TEST_INDEX_KILLS",
        least=10,
    ),
    Exercise(
        "kill-cache",
        "workers and stagers killed over a read cache",
        _tests("tests/cache/test_cache_kill.py"),
        "kills",
        1000,
        1200,
        "IMAGENETFS_TEST_KILLS",
        least=10,
    ),
    Exercise(
        "terminate",
        "SIGTERM in the midst of reads: no process stays",
        _tests("tests/faults/test_term.py"),
        "times",
        200,
        900,
        "IMAGENETFS_TEST_TERMS",
    ),
    Exercise(
        "faults",
        "reads over a source that fails, hangs and cuts short",
        _tests("tests/nfs/test_faults.py"),
        "faults",
        100_000,
        1800,
        "IMAGENETFS_TEST_FAULTED_READS",
        least=500,
    ),
    Exercise(
        "limits",
        "status names what limits the readers: a throttled source, slow readers, a slow cache disk",
        _tests("-k", "named", "tests/cache/test_limits.py"),
        "looks at each",
        10,
        420,
        "IMAGENETFS_TEST_LIMITS",
        least=2,
    ),
    Exercise(
        "coordination",
        "jobs that start at once index each archive once",
        _tests("tests/unit/index/test_coordination.py"),
        "processes",
        500,
        600,
        "IMAGENETFS_TEST_JOBS",
        least=10,
    ),
    Exercise(
        "segments",
        "damaged cache segments never give a wrong byte",
        _tests("tests/unit/cache/test_segment.py"),
        "mutations",
        50_000,
        900,
        "IMAGENETFS_TEST_MUTATIONS",
        least=50,
    ),
    Exercise(
        "nfs",
        "the kernel's own NFS server and client",
        ("bash", "tests/nfs/real/run.sh", sys.executable),
        "runs",
        1,
        1800,
        "IMAGENETFS_TEST_NFS_RUNS",
        missing=_no_machine,
    ),
)
