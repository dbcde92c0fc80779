"""`python -m tests.benchmarks.library`: the tree in the process against files and a mount.

Shuffled passes by four processes over extracted files, a mount, and ``split.read``, in turn each
round; a source whose every request takes a millisecond, read one by one and in batches of 256. One
table is printed; ratios are taken within a round.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

import imagenetfs

from .data import Data, Size, prepare
from .workspace import Workspace, workspace

PROCESSES = 4
BATCH = 256
SPLIT = "ILSVRC2012/train"
_SLOW = Path(__file__).with_name("slow.c")

Read = Callable[[int], object]
Rounds = dict[str, list[float]]


def by_processes(read: Read, order: Sequence[int], processes: int = PROCESSES) -> float:
    """Images a second; the processes are forked, and start together."""
    go, over = os.pipe(), []
    for number in range(processes):
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.read(go[0], 1)
                for at in order[number::processes]:
                    read(at)
                code = 0
            finally:
                os._exit(code)
        over.append(pid)
    start = time.perf_counter()
    os.write(go[1], b"." * processes)
    codes = [os.waitpid(pid, 0)[1] for pid in over]
    seconds = time.perf_counter() - start
    for end in go:
        os.close(end)
    if any(codes):
        raise RuntimeError(f"a reader failed: {codes}")
    return len(order) / seconds


def read_file(path: str) -> None:
    """As a loader does."""
    fd = os.open(path, os.O_RDONLY)
    while os.read(fd, 256 * 1024):
        pass
    os.close(fd)


def passes(data: Data, index: Path, rounds: int) -> Rounds:
    """First and second passes, a fresh mount and a fresh tree each round."""
    found: Rounds = {}
    for number in range(rounds):
        with imagenetfs.open(data.source, index_dir=index) as tree:
            split = tree[SPLIT]
            order = random.Random(number).sample(range(len(split)), len(split))
            names = [split.path(at).removeprefix(f"{SPLIT}/") for at in range(len(split))]
            with imagenetfs.mount(data.source, index_dir=index) as mount:
                readers: dict[str, Read] = {
                    "files": reader_of(data.tree, names),
                    "mount": reader_of(Path(mount.path, SPLIT), names),
                    "split.read": split.read,
                }
                for turn in ("first", "second"):
                    for title, read in readers.items():
                        rate = by_processes(read, order)
                        found.setdefault(f"{title}, {turn} pass", []).append(rate)
    return found


def reader_of(root: Path, names: Sequence[str]) -> Read:
    """Reads an image by its number, as a loader reads a file."""
    paths = [f"{root}/{name}" for name in names]
    return lambda at: read_file(paths[at])


def batches(space: Workspace, data: Data, rounds: int) -> Rounds:
    """One process on a source of 1 ms a request."""
    program, slow = space.path("bin", "slow"), space.path("slow")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "fuse3"], capture_output=True, text=True, check=True
    ).stdout.split()
    subprocess.run(["cc", "-O2", _SLOW, "-o", program, *flags], check=True)
    slow.mkdir(exist_ok=True)
    server = subprocess.Popen([program, data.source, "1000", slow, "-o", "ro"])
    found: Rounds = {}
    try:
        while not os.path.ismount(slow):
            time.sleep(0.05)
        with imagenetfs.open(slow, index_dir=space.path("slow-index")) as tree:
            split = tree[SPLIT]
            order = random.Random(0).sample(range(len(split)), min(4 * BATCH, len(split)))
            for _ in range(rounds):
                for title, size in (("1 ms, one by one", 1), (f"1 ms, batches of {BATCH}", BATCH)):
                    _forget(slow)
                    start = time.perf_counter()
                    for at in range(0, len(order), size):
                        split.read_many(order[at : at + size])
                    rate = len(order) / (time.perf_counter() - start)
                    found.setdefault(title, []).append(rate)
    finally:
        subprocess.run(["fusermount3", "-uz", slow], check=False)
        server.wait(10)
    return found


def _forget(source: Path) -> None:
    for tar in source.rglob("*.tar"):
        fd = os.open(tar, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def show(found: Rounds, against: dict[str, str]) -> None:
    """The table; ``against``: with which other row a row is compared."""
    table = Table("what", "images a second", "times")
    for title, rates in found.items():
        other = found.get(against.get(title, ""))
        ratio = ""
        if other is not None:
            each = [one / two for one, two in zip(rates, other, strict=True)]
            ratio = f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})"
        table.add_row(title, f"{median(rates):,.0f}", ratio)
    Console(width=100).print(table)


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.library", description=__doc__)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=1300, help="in each class, of about 100 KB")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args(arguments)
    with workspace(None) as space, tempfile.TemporaryDirectory() as run:
        os.environ["IMAGENETFS_RUN_DIR"] = run
        data = prepare(space, Size(options.classes, options.images), None)
        found = passes(data, space.path("library-index"), options.rounds)
        found |= batches(space, data, options.rounds)
    against = {
        f"{t}, {p} pass": f"files, {p} pass"
        for t in ("mount", "split.read")
        for p in ("first", "second")
    }
    show(found, {**against, f"1 ms, batches of {BATCH}": "1 ms, one by one"})
    load = os.getloadavg()[0]
    print(f"{options.classes * options.images:,} images; load {load:.1f} on {os.cpu_count()} CPUs.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
