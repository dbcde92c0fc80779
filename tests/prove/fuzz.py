"""Random damage to tars of every form, for a time: ``python -m tests.prove.fuzz --seconds N``.

A process a CPU, each with a seed that its first line says; an input that breaks a promise is
written beside the log and ends the run. tests/faults/fuzz_tar.py has the promises, and a
coverage-guided fuzzer for those who have atheris.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import os
import random
import sys
import tempfile
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tests.faults.fuzz_tar import check, mutated, resealed, specimens


def one_seed(seed: int, seconds: float) -> tuple[int, str]:
    """Damage archives until the time is over: how many, and what went wrong if anything did."""
    choose, archives, done = random.Random(seed), specimens(), 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        data = mutated(choose.choice(archives), choose)
        for each in (data, resealed(data)):
            try:
                check(each)
            except Exception:
                return done, f"seed {seed}: {_keep(each)}\n{traceback.format_exc()}"
            done += 1
    return done, ""


def _keep(data: bytes) -> Path:
    path = Path(tempfile.gettempdir()) / f"fuzz-{hashlib.sha256(data).hexdigest()[:16]}.tar"
    with contextlib.suppress(OSError):
        path.write_bytes(data)
    return path


def main(words: list[str]) -> int:
    """Run on all CPUs; 1 if an input broke a promise."""
    parser = argparse.ArgumentParser("tests.prove.fuzz")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32)
    arguments = parser.parse_args(words)
    cpus = len(os.sched_getaffinity(0))
    print(f"seeds {arguments.seed} to {arguments.seed + cpus - 1}", flush=True)
    seeds = range(arguments.seed, arguments.seed + cpus)
    with ProcessPoolExecutor(cpus) as pool:
        results = list(pool.map(one_seed, seeds, [arguments.seconds] * cpus))
    for _, wrong in results:
        if wrong:
            print(wrong)
    print(f"PROVED: {sum(done for done, _ in results):,} inputs")
    return 1 if any(wrong for _, wrong in results) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
