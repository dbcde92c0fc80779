"""SIGTERM under load, again and again: gone from the mount table first, then its processes.

IMAGENETFS_TEST_TERMS=200 repeats it that often.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.bench import Bench, is_running, until
from tests.helpers.randomness import SEED, seeded

pytestmark = pytest.mark.timeout(3600)

TERMS = int(os.environ.get("IMAGENETFS_TEST_TERMS", "5"))

# Reads files over and over, some held open, until the mount has gone.
LOAD = """
import os, random, sys
root, choose = sys.argv[1], random.Random(sys.argv[2])
names = [os.path.join(d, n) for d, _, files in os.walk(root) for n in files]
print("reading", flush=True)
held = []
while names:  # none: the mount had gone before
    try:
        held.append(open(choose.choice(names), "rb", buffering=0))
        os.posix_fadvise(held[-1].fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert len(held[-1].read()) == os.fstat(held[-1].fileno()).st_size
    except OSError:
        break
    if len(held) > 20:
        held.pop(0).close()
"""


def start_load(train: Path, seed: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", LOAD, str(train), f"{SEED} {seed}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def are_gone(pids: list[int]) -> bool:
    return not any(is_running(pid) for pid in pids)


def term_once(mountpoint: Path, turn: int, pause: float, at: Bench) -> float:
    """End a mount that is read from; the seconds until the last of its processes was gone."""
    status = json.loads((mountpoint / ".imagenetfs" / "status.json").read_text())
    pids = [status["pid"], *(worker["pid"] for worker in status["workers"])]
    train = mountpoint / "ILSVRC2012" / "train"
    loads = [start_load(train, turn * 3 + number) for number in range(3)]
    for load in loads[: turn % 4]:  # sometimes in the middle of the first listing
        assert load.stdout is not None
        load.stdout.readline()
    time.sleep(pause)
    began = time.monotonic()
    os.kill(pids[0], signal.SIGTERM)
    assert until(lambda: at.entries() == []), f"turn {turn}"
    assert until(lambda: are_gone(pids)), f"turn {turn}"
    took = time.monotonic() - began
    for load in loads:
        _, said = load.communicate(timeout=30)
        assert (load.returncode, said) == (0, b""), said
    return took


def test_sigterm_under_load(at: Bench, sample: Path) -> None:
    mountpoint, chance, index = at.mountpoint(), seeded("terms"), at.directory / "index"
    took = []
    for turn in range(TERMS):
        done = at.call("mount", "--index-dir", index, sample, mountpoint)
        assert done.returncode == 0, done.stderr
        took.append(term_once(mountpoint, turn, chance.uniform(0, 0.3), at))
        assert until(lambda: at.leftovers() == []), at.leftovers()
    print(f"{TERMS} times; the last process gone after {max(took):.2f} s at most")
    done = at.call("index", "check", "--index-dir", index, sample)
    assert set(re.findall(r"(\d+) wrong", done.stdout)) == {"0"}, done.stdout
    assert at.call("index", "--index-dir", index, sample).returncode == 0
    check = at.call("index", "check", "--index-dir", index, sample)
    assert check.returncode == 0, check.stdout + check.stderr
