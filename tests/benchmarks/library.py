"""`python -m tests.benchmarks.library`: the tree in the process against files and mounts.

Shuffled passes by four processes over extracted files, a mount, ratarmount's where it is installed,
and ``split.read``, in turn each round; a source whose every request takes a millisecond, read one
by one and in batches of 256, by the library and by a mount with ImageFolder, without and with eight
workers. One table is printed; ratios are taken within a round. ``--full SOURCE`` lists train of a
source of ImageNet's size (``imagenetfs sample --full-size``) from a ready index, and torchvision's
list beside it.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import random
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

import imagenetfs

from .data import Data, Size, prepare
from .peers import find_peers
from .processes import pss
from .systems import mounted, ratarmount
from .workspace import Workspace, workspace

PROCESSES = 4
BATCH = 256
WORKERS = 8
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


def passes(space: Workspace, data: Data, index: Path, rounds: int) -> Rounds:
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
                with peer_mount(space, data) as peer:
                    if peer is not None:
                        in_tars = [name.replace("/", ".tar/") for name in names]
                        of_peer = names if Path(peer, names[0]).exists() else in_tars
                        readers["ratarmount"] = reader_of(peer, of_peer)
                    for turn in ("first", "second"):
                        for title, read in readers.items():
                            rate = by_processes(read, order)
                            found.setdefault(f"{title}, {turn} pass", []).append(rate)
    return found


@contextlib.contextmanager
def peer_mount(space: Workspace, data: Data) -> Iterator[Path | None]:
    """ratarmount's mount of train; None where it is not installed."""
    program = find_peers(install=False).ratarmount
    if program is None:
        yield None
        return
    with mounted(ratarmount(program, data.tar, None, data.tar), space) as mount:
        yield mount.train


def reader_of(root: Path, names: Sequence[str]) -> Read:
    """Reads an image by its number, as a loader reads a file."""
    paths = [f"{root}/{name}" for name in names]
    return lambda at: read_file(paths[at])


def batches(space: Workspace, data: Data, rounds: int, workers: int) -> Rounds:
    """One process, and ``workers`` of a DataLoader, on a source of 1 ms a request."""
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
        index = space.path("slow-index")
        with (
            imagenetfs.open(slow, index_dir=index) as tree,
            imagenetfs.mount(slow, index_dir=index) as mount,
        ):
            faces = {"library": tree[SPLIT], "mount": f"{mount.path}/{SPLIT}"}
            datasets = {face: folder(root) for face, root in faces.items()}
            count = len(datasets["library"])
            order = random.Random(0).sample(range(count), min(24 * BATCH, count))
            few = order[: 4 * BATCH]  # for one process, which takes as much longer
            for _ in range(rounds):
                for face, beside, is_batched in product(datasets, {0, workers}, (False, True)):
                    _forget(slow)
                    some = order if beside else few
                    forget_mount(datasets["mount"], some)
                    rate = by_loader(datasets[face], some, beside, is_batched=is_batched)
                    found.setdefault(slow_title(face, beside, is_batched), []).append(rate)
                    gc.collect()  # ends the workers, which have the source open
    finally:
        subprocess.run(["fusermount3", "-uz", slow], check=False)
        server.wait(10)
    return found


def slow_title(face: str, workers: int, is_batched: bool) -> str:
    """What a row says."""
    how = f"batches of {BATCH}" if is_batched else "one by one"
    return f"1 ms, {face}, {f'{workers} workers' if workers else 'one process'}, {how}"


def folder(root: object) -> Any:
    """An ImageFolder whose samples are their files' sizes: what is measured is reading."""
    from imagenetfs.torch import ImageFolder

    return ImageFolder(root, loader=size_of)  # type: ignore[arg-type]  # a path or a split


def size_of(file: Any) -> int:
    """Read a file, a path or an open one."""
    if isinstance(file, str):
        with open(file, "rb") as opened:
            return len(opened.read())
    return len(file.read())


class OneByOne:
    """The same samples, which a loader cannot ask for as a batch."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.dataset[index]


def by_loader(dataset: Any, order: Sequence[int], workers: int, *, is_batched: bool) -> float:
    """Images a second of a DataLoader with batches of BATCH, whose workers are there already."""
    from torch.utils.data import DataLoader

    now: list[int] = []
    asked: Any = dataset if is_batched else OneByOne(dataset)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="This DataLoader will create")
        loader = DataLoader(
            asked,
            batch_size=BATCH,
            sampler=now,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        list(loader)
        now += order
        start = time.perf_counter()
        seen = sum(len(sizes) for sizes, _ in loader)
    if seen != len(order):
        raise RuntimeError(f"{seen} images of {len(order)} came")
    return seen / (time.perf_counter() - start)


def forget_mount(dataset: Any, order: Sequence[int]) -> None:
    """Have the kernel keep none of the mount's images either."""
    for at in order:
        fd = os.open(dataset.samples[at][0], os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


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


def show_listing(source: Path, rounds: int) -> None:
    """Train of full size from a ready index: seconds and memory until all samples are listed, and
    what each of eight workers takes more after all labels have been seen; torchvision's list, a
    million tuples, beside it.
    """
    with tempfile.TemporaryDirectory() as index:
        with imagenetfs.open(source, index_dir=index) as tree:
            print(f"{len(tree[SPLIT]):,} samples.")
        table = Table("full size, from a ready index", "s", "MB", "MB more in each worker")
        for title, listed in (("split", listed_by_split), ("list of tuples", listed_by_list)):
            told = [in_child(listed, source, index) for _ in range(rounds)]
            table.add_row(title, *(f"{median(values):.2f}" for values in zip(*told, strict=True)))
    Console(width=100).print(table)


def listed_by_split(source: Path, index: str) -> Any:
    """What an ImageFolder over a split has."""
    tree = imagenetfs.open(source, index_dir=index)
    return folder(tree[SPLIT]).samples


def listed_by_list(source: Path, index: str) -> Any:
    """What torchvision's has: a list of tuples of a path and a number."""
    return list(listed_by_split(source, index))


def in_child(listed: Callable[[Path, str], Any], source: Path, index: str) -> list[float]:
    """(seconds, MB, MB in each worker) of a fresh process."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        code = 1
        try:
            before, start = pss(os.getpid()), time.perf_counter()
            samples = listed(source, index)
            seconds, mine = time.perf_counter() - start, pss(os.getpid()) - before
            told = [seconds, mine / 1e6, by_workers(samples) / 1e6]
            os.write(writer, " ".join(map(str, told)).encode())
            code = 0
        finally:
            os._exit(code)
    os.close(writer)
    with open(reader) as pipe:
        text = pipe.read()
    if os.waitpid(pid, 0)[1]:
        raise RuntimeError("a process that lists failed")
    return [float(one) for one in text.split()]


def by_workers(samples: Any) -> float:
    """Bytes of its own that each of eight forked processes has after an epoch of labels."""
    pipes = []
    for _ in range(WORKERS):
        reader, writer = os.pipe()
        if not os.fork():
            code = 1
            try:
                begun = private(os.getpid())
                for at in range(len(samples)):
                    samples[at][1]
                os.write(writer, str(private(os.getpid()) - begun).encode())
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        pipes.append(reader)
    grown = [int(os.read(one, 64)) for one in pipes]
    for _ in pipes:
        os.wait()
    return median(grown)


def private(pid: int) -> int:
    """Bytes that a process alone has written to."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    return sum(
        1024 * int(line.split()[1])
        for line in text.splitlines()
        if line.startswith("Private_Dirty:")
    )


def main(arguments: Sequence[str]) -> int:
    """Measure, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.library", description=__doc__)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--images", type=int, default=1300, help="in each class, of about 100 KB")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=WORKERS, help="of a DataLoader")
    parser.add_argument("--full", type=Path, metavar="SOURCE", help="a source of full size")
    options = parser.parse_args(arguments)
    with workspace(None) as space, tempfile.TemporaryDirectory() as run:
        os.environ["IMAGENETFS_RUN_DIR"] = run
        data = prepare(space, Size(options.classes, options.images), None)
        found = passes(space, data, space.path("library-index"), options.rounds)
        found |= batches(space, data, options.rounds, options.workers)
    against = {
        f"{t}, {p} pass": f"files, {p} pass"
        for t in ("mount", "ratarmount", "split.read")
        for p in ("first", "second")
    }
    for face, workers in product(("library", "mount"), (0, options.workers)):
        against[slow_title(face, workers, True)] = slow_title(face, workers, False)
    show(found, against)
    if options.full is not None:
        show_listing(options.full, options.rounds)
    load = os.getloadavg()[0]
    print(f"{options.classes * options.images:,} images; load {load:.1f} on {os.cpu_count()} CPUs.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
