"""Training from a slow source: time from the start to the first batch, and
to the end of two epochs.

The source has a latency a request and a bandwidth for all (slow.c), and none of its pages is kept,
as of a data set larger than memory. Readers let go of each file's pages, so that the
second epoch has them from where they are kept: the cache, the local copy, or the source again.
"""

from __future__ import annotations

import contextlib
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from . import children
from .children import Asked
from .data import Data
from .errors import BenchmarkError
from .pagecache import free_pages
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .slow import SlowSource, slow_program, slow_source
from .systems import OURS, STAGED, System, mounted, ratarmount

LATENCY, BANDWIDTH = 0.001, 1e9
"""Seconds a request, bytes a second for all."""

QUARTER = f"{OURS} --cache-size 25%"
COPIED, REMOTE = "copy, unpack", "extracted on the source"
PROCESSES, BATCH = 4, 256

_UNPACK = """
set -e
cp "$1" "$2/train.tar"
mkdir "$2/tree"
tar -xf "$2/train.tar" -C "$2/tree"
for class in "$2"/tree/*.tar; do
    mkdir "${class%.tar}"
    tar -xf "$class" -C "${class%.tar}"
    rm "$class"
done
"""


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the slow source shows the archive, and the extracted files."""

    source: Path
    tar: Path
    tree: Path


def measure(run: Run) -> Part:
    """All ways in interleaved rounds."""
    assert run.data is not None
    size = run.data.size
    part = run.part(classes=size.classes, images=size.images, processes=PROCESSES, batch=BATCH)
    base = run.data.tree.parent
    with slow_source(run, slow_program(run), base, LATENCY, BANDWIDTH) as slow:
        shown = slow.path / run.data.source.relative_to(base)
        tar = slow.path / run.data.tar.relative_to(base)
        place = _Place(shown, tar, slow.path / run.data.tree.relative_to(base))
        one = partial(_train, run, run.data, place, slow)
        take_turns(run, part, "epochs", _ways(run, place), one, range(run.rounds))
    return part


def _ways(run: Run, place: _Place) -> list[System]:
    cache = run.workspace.path("epochs", "cache")
    ours: list[str | Path] = [
        sys.executable,
        "-m",
        "imagenetfs",
        "mount",
        "--foreground",
        place.source,
        "{mnt}",
    ]
    ours += ["--index-dir", "none", "--cache-dir", cache, "--cache-size", "100%"]
    train, stage = Path("ILSVRC2012/train"), ["--stage", "ILSVRC2012/train"]
    assert run.data is not None
    quarter = ["--cache-size", str(run.data.bytes // 4)]
    ways = [System(OURS, tuple(ours), train, None), System(STAGED, (*ours, *stage), train, None)]
    ways.append(System(QUARTER, (*ours[:-2], *quarter), train, None))
    if run.peers.ratarmount:
        ways.append(ratarmount(run.peers.ratarmount, place.tar, None, None))
    local = run.workspace.path("epochs", "local", "tree")
    return [*ways, System(COPIED, (), local, None), System(REMOTE, (), place.tree, None)]


def _train(run: Run, data: Data, place: _Place, slow: SlowSource, way: System) -> dict[str, float]:
    """Seconds from the start until each point; by the data's own, the bytes that came from the
    source before the first read and in each epoch; and the requests for them, by the images.
    """
    with clean(run):
        free_pages(data.bytes)
        began = slow.bytes
        start = time.perf_counter()
        if way.name == COPIED:
            _copy(run, place, way.train.parent)
        with mounted(way, run.workspace) as mount, client(run.workspace) as asked:
            asked.ask("collect", str(mount.train), timeout=ANSWER_SECONDS)
            listed = (slow.bytes, slow.reads)
            batch = _read(asked, BATCH)
            points = {"batch": time.perf_counter() - start}
            _expect(data, batch + _read(asked, None, BATCH))
            points["epoch 1"] = time.perf_counter() - start
            first = (slow.bytes, slow.reads)
            _expect(data, _read(asked))
            points["epoch 2"] = time.perf_counter() - start
            second = (slow.bytes, slow.reads)
    points["bytes before"] = (listed[0] - began) / data.bytes
    for number, before, after in ((1, listed, first), (2, first, second)):
        points[f"bytes {number}"] = (after[0] - before[0]) / data.bytes
        points[f"requests {number}"] = (after[1] - before[1]) / data.size.files
    return points


@contextlib.contextmanager
def clean(run: Run) -> Iterator[None]:
    """Nothing of an earlier turn is there, and nothing is left."""
    place = run.workspace.path("epochs")
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    try:
        yield
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _copy(run: Run, place: _Place, local: Path) -> None:
    local.mkdir(parents=True)
    log = run.workspace.path("logs", "unpack")
    command: list[str | Path] = ["bash", "-c", _UNPACK, "bash", place.tar, local]
    children.run(command, run.workspace.environ, log, ANSWER_SECONDS)


def _read(asked: Asked, first: int | None = None, skip: int = 0) -> int:
    """Read an epoch, its first images, or all but those; the bytes that came."""
    answer = asked.ask("read", PROCESSES, True, first, skip, timeout=ANSWER_SECONDS)
    if answer["failed"]:
        raise BenchmarkError(f"{answer['failed']} readers failed.")
    return int(answer["bytes"])


def _expect(data: Data, came: int) -> None:
    if came != data.bytes:
        raise BenchmarkError(f"{came:,} bytes of {data.bytes:,} came.")
