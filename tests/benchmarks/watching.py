"""`python -m tests.benchmarks.watching`: what a live status costs those who read.

Processes read images in a shuffled order, past the kernel's pages, while `imagenetfs status
--watch` shows its screen on a terminal, and while it is stopped: in turns of a second or so, with
the order of the two changed in every pair. The ratio is taken within a pair.
"""

from __future__ import annotations

import argparse
import os
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles

import imagenetfs

from .data import Size, prepare
from .library import SPLIT, by_processes
from .workspace import workspace

_FIRST_SCREEN_SECONDS = 60.0


@contextmanager
def watcher(mountpoint: str) -> Iterator[int]:
    """The process of a live screen on a terminal that takes all it says."""
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "imagenetfs", "status", "--watch", mountpoint]
    environ = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(command, stdin=terminal, stdout=terminal, env=environ) as process:
        os.close(terminal)
        try:
            if not select.select([main], [], [], _FIRST_SCREEN_SECONDS)[0]:
                raise RuntimeError("the live screen does not come")
            threading.Thread(target=_take, args=(main,), daemon=True).start()
            yield process.pid
        finally:
            process.kill()


def _take(terminal: int) -> None:
    try:
        while os.read(terminal, 1 << 16):
            pass
    except OSError:  # EIO: the last process with it has ended
        os.close(terminal)


def read_past_pages(paths: Sequence[str], at: int) -> None:
    """As a loader does, of what the kernel has not."""
    fd = os.open(paths[at], os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    while os.read(fd, 256 * 1024):
        pass
    os.close(fd)


def measure(mount: Path, seconds: float, passes: int) -> list[tuple[float, float]]:
    """For each pair of turns, (images a second alone, images a second beside the screen)."""
    paths = sorted(map(os.fspath, (mount / SPLIT).rglob("*.JPEG")))
    read = partial(read_past_pages, paths)
    order = [
        at
        for turn in range(passes)
        for at in random.Random(turn).sample(range(len(paths)), len(paths))
    ]
    pairs: list[tuple[float, float]] = []
    end = time.monotonic() + seconds
    with watcher(str(mount)) as pid:
        by_processes(read, order)
        while time.monotonic() < end or not pairs:
            rates = {}
            for is_watched in (True, False) if len(pairs) % 2 else (False, True):
                os.kill(pid, signal.SIGCONT if is_watched else signal.SIGSTOP)
                rates[is_watched] = by_processes(read, order)
            pairs.append((rates[False], rates[True]))
    return pairs


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser("python -m tests.benchmarks.watching", description=__doc__)
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--images", type=int, default=1300, help="in each class, of about 100 KB")
    parser.add_argument("--passes", type=int, default=5, help="over the images, in each turn")
    parser.add_argument("--seconds", type=float, default=120.0)
    options = parser.parse_args(arguments)
    with workspace(None) as space, tempfile.TemporaryDirectory() as run:
        os.environ["IMAGENETFS_RUN_DIR"] = run
        data = prepare(space, Size(options.classes, options.images), None)
        with imagenetfs.mount(data.source, index_dir=space.path("index")) as mount:
            pairs = measure(Path(mount.path), options.seconds, options.passes)
    alone, watched = (median(rates) for rates in zip(*pairs, strict=True))
    ratios = [beside / without for without, beside in pairs]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    print(f"alone {alone:,.0f} images/s, beside status --watch {watched:,.0f} images/s")
    print(
        f"ratio {median(ratios):.3f}, half of the {len(pairs)} pairs from {low:.3f} to {high:.3f}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
