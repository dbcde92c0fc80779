"""The program that uses the file system under test; a process of its own, asked by JSON lines.

Standard library alone, so that any Python can run it. Each line is ``[command, argument, ...]``,
each answer one JSON object with ``seconds``. Times are taken here, next to what they time.
"""

from __future__ import annotations

import itertools
import json
import math
import mmap
import os
import random
import select
import sys
import time
from collections.abc import Callable
from typing import Any

_BUFFER = 256 * 1024
_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")

_BUCKETS, _FIRST_BUCKET, _STEP = 1024, 1e-5, math.log(1.02)
"""Of a histogram: how many, seconds, and the logarithm of a bucket's width."""

_files: list[str] = []


def collect(root: str) -> dict[str, Any]:
    """Find all files below ``root`` (without stat), in a shuffled order that is always the same."""
    start = time.perf_counter()
    _files[:] = sorted(os.path.join(at, name) for at, _, names in os.walk(root) for name in names)
    seconds = time.perf_counter() - start
    random.Random(0).shuffle(_files)
    return {"seconds": seconds, "files": len(_files)}


def read(
    processes: int, forget: bool = False, first: int | None = None, skip: int = 0
) -> dict[str, Any]:
    """Read all collected files whole, or the ``first`` ones, or all but those that are to ``skip``,
    by so many processes, each its share.

    ``forget``: the kernel shall not keep their pages.
    """
    ready, go = os.pipe(), os.pipe()
    results = os.pipe()
    shares = [_files[skip:first][number::processes] for number in range(processes)]
    pids = [_fork_reader(mine, forget, ready[1], go[0], results[1]) for mine in shares]
    waiting = 0
    while waiting < processes:
        waiting += len(os.read(ready[0], processes))
    start = time.perf_counter()
    os.write(go[1], b"." * processes)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    seconds = time.perf_counter() - start
    total = sum(int.from_bytes(os.read(results[0], 8), "little") for code in codes if not code)
    for pipe in (ready, go, results):
        os.close(pipe[0])
        os.close(pipe[1])
    return {
        "seconds": seconds,
        "files": len(_files),
        "bytes": total,
        "failed": sum(map(bool, codes)),
    }


def watch(processes: int, window: float, windows: int) -> dict[str, Any]:
    """Read the collected files by so many processes: files a second in each ``window`` seconds, and
    the seconds that 99 of 100 files took no longer than.

    Ends after so many windows, or where one process has read its share; if that was in the first
    one, it is as long as that took.
    """
    done = memoryview(mmap.mmap(-1, 8 * processes)).cast("Q")
    start, before = time.perf_counter(), 0
    rates: list[float] = []
    took = memoryview(mmap.mmap(-1, 8 * _BUCKETS * processes)).cast("Q")
    pids = [
        _fork_counter(_files[n::processes], done[n : n + 1], took[n * _BUCKETS :][:_BUCKETS])
        for n in range(processes)
    ]
    watchers = select.poll()
    for pid in pids:
        watchers.register(os.pidfd_open(pid))
    over = False
    while not over and len(rates) < windows:
        left = start + (len(rates) + 1) * window - time.perf_counter()
        over = bool(watchers.poll(1000 * max(0.0, left)))
        if not over or not rates:
            total = sum(done)
            rates.append((total - before) / min(window, time.perf_counter() - start))
            before = total
    for pid in pids:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    counts = [sum(took[bucket::_BUCKETS]) for bucket in range(_BUCKETS)]
    return {"seconds": time.perf_counter() - start, "rates": rates, "slow": _percentile(counts)}


def _bucket(seconds: float) -> int:
    """Which of the buckets, each a fiftieth longer than the one before, a time is in."""
    return min(_BUCKETS - 1, max(0, int(math.log(seconds / _FIRST_BUCKET) / _STEP)))


def _percentile(counts: list[int], part: float = 0.99) -> float:
    """In seconds, from a histogram."""
    below = itertools.accumulate(counts)
    bucket = next(n for n, done in enumerate(below, 1) if done >= part * sum(counts))
    return _FIRST_BUCKET * math.exp(_STEP * bucket)


def _fork_counter(mine: list[str], done: memoryview, took: memoryview) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        for path in mine:
            begin = time.perf_counter()
            _read_files([path], True)
            took[_bucket(time.perf_counter() - begin)] += 1
            done[0] += 1
    finally:
        os._exit(0)


def _fork_reader(mine: list[str], forget: bool, ready: int, go: int, results: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.write(ready, b".")
        os.read(go, 1)
        os.write(results, _read_files(mine, forget).to_bytes(8, "little"))
        code = 0
    finally:
        os._exit(code)


def _read_files(paths: list[str], forget: bool) -> int:
    total = 0
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        while piece := os.read(fd, _BUFFER):
            total += len(piece)
        if forget:
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
    return total


def list_directory(path: str) -> dict[str, Any]:
    """What `ls` does without options: names, sorted."""
    start = time.perf_counter()
    names = sorted(os.listdir(path))
    return {"seconds": time.perf_counter() - start, "entries": len(names), "first": names[:1]}


def walk(root: str) -> dict[str, Any]:
    """os.walk, and os.stat of each file."""
    start = time.perf_counter()
    files = size = 0
    for at, _, names in os.walk(root):
        for name in names:
            size += os.stat(os.path.join(at, name)).st_size
            files += 1
    return {"seconds": time.perf_counter() - start, "files": files, "bytes": size}


def image_folder(root: str) -> dict[str, Any]:
    """Build ImageFolder's list of samples: torchvision's own code where it can be imported."""
    build, by = _image_folder()
    start = time.perf_counter()
    samples = build(root)
    return {"seconds": time.perf_counter() - start, "samples": len(samples), "by": by}


def _image_folder() -> tuple[Callable[[str], list[Any]], str]:
    try:
        import torchvision
    except Exception:
        return _make_dataset, "the same steps as torchvision's ImageFolder"
    return (
        lambda root: torchvision.datasets.ImageFolder(root).samples,
        f"ImageFolder of torchvision {torchvision.__version__}",
    )


def _make_dataset(root: str) -> list[tuple[str, int]]:
    """The steps of torchvision.datasets.folder: find_classes, then make_dataset."""
    classes = sorted(entry.name for entry in os.scandir(root) if entry.is_dir())
    samples = []
    for number, name in enumerate(classes):
        for at, _, names in sorted(os.walk(os.path.join(root, name), followlinks=True)):
            for file_name in sorted(names):
                if file_name.lower().endswith(_EXTENSIONS):
                    samples.append((os.path.join(at, file_name), number))
    return samples


COMMANDS: dict[str, Callable[..., dict[str, Any]]] = {
    "collect": collect,
    "read": read,
    "watch": watch,
    "list": list_directory,
    "walk": walk,
    "image_folder": image_folder,
}


def main() -> None:
    """Answer until standard input ends."""
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(COMMANDS[name](*arguments)), flush=True)


if __name__ == "__main__":
    main()
