"""The source: mounted, how, readable, what is in it, how fast; and what then
limits the images a second.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import GroupNeededError, ImagenetfsError
from imagenetfs.fuse.connection import CONNECTIONS, FUSECTL_ADVICE
from imagenetfs.job import preflight, primary_group
from imagenetfs.job.doctor.directories import mount_of
from imagenetfs.job.doctor.findings import Finding, Grade, green, red, yellow
from imagenetfs.job.requirements import without_train
from imagenetfs.limits import DEFAULT_CONCURRENCY
from imagenetfs.system import child_call, mounts
from imagenetfs.system.mounts import Reach
from imagenetfs.system.work_watch import call_watched

if TYPE_CHECKING:
    from imagenetfs.tree.catalogue import Catalogue

_FEW = 64

IMAGE_BYTES = 110_000
"""ImageNet's mean image."""

IMAGES_A_CPU = 8_000
"""Images a second for each CPU when the bytes are at hand and their readers run there too:
16,400 on two in docs/benchmarks.md, where the server's own part is 31 us an image.
"""

_CATALOGUE_SECONDS = 120.0
_MEASURE_SECONDS = 30.0
_PROBES, _PROBE_BYTES = 32, 512
_SPAN_SECONDS = 1.0
_SLOW_SECONDS, _SLOW_BYTES = 0.02, 50e6
_SMALL_READ = 131_072
_NFS = ("nfs", "nfs4")
_REACHED = {
    Reach.NODE: "is on this node",
    Reach.PROGRAM: "is what a program shows, which may have it from another machine",
    Reach.NETWORK: "is a network disk",
}


def source(settings: Settings) -> Iterator[Finding]:
    """All lines about the source; the first red one is the last."""
    try:
        path = settings.source or preflight.default_source()
        preflight.check_source(path)
    except GroupNeededError as need:
        yield yellow("source", str(need), "run and mount start again under that group")
        return
    except ImagenetfsError as error:
        yield red("source", str(error))
        return
    mounted = _mounted(path)
    yield mounted
    if mounted.facts.get("mode") == "hard" and mounts.find_mount(CONNECTIONS) is None:
        yield yellow(
            "connections",
            f"{CONNECTIONS} is not mounted: a mount whose source hangs cannot be ended by force",
            FUSECTL_ADVICE,
        )
    held = _contents(path, settings)
    yield from held
    if held[0].grade is not Grade.RED:
        yield from _speed(path, held[0].facts["largest"])


def _mounted(path: Path) -> Finding:
    """How the source's file system is mounted."""
    entry = mount_of(path)
    if entry is None or entry.fstype not in _NFS:
        kind = entry.fstype if entry is not None else "unknown"
        facts = {"path": str(path), "type": kind}
        return green("source", f"{path} {_REACHED[mounts.reach_of(kind)]} ({kind})", **facts)
    given = dict(option.partition("=")[::2] for option in entry.options.split(","))
    version, size = given.get("vers", "?"), int(given.get("rsize", "0"))
    patience = "soft" if "soft" in given else "hard"
    facts = {"path": str(path), "type": entry.fstype, "vers": version, "mode": patience}
    what = f"{path} is {entry.source}, NFS version {version}, {patience}, rsize {size:,}"
    if 0 < size < _SMALL_READ:
        return yellow("source", what, "an administrator mounts it with rsize=1048576", **facts)
    return green("source", what, **facts)


# --- what is in it --------------------------------------------------------------------------------


def _contents(path: Path, settings: Settings) -> list[Finding]:
    """Versions and archives; then what is wrong with them."""
    try:
        held = call_watched(lambda: _discovery(path, settings), _CATALOGUE_SECONDS)
    except child_call.NoAnswerError as error:
        if not error.is_asked:
            return [yellow("contents", f"{path}: {child_call.reason_of(error)}")]
        return [
            red("contents", f"{path} could not be looked through in {_CATALOGUE_SECONDS:.0f} s")
        ]
    except OSError as error:
        return [red("contents", f"{path}: {error.strerror}")]
    if "error" in held:
        return [
            red(
                "contents",
                held["error"],
                "see that this is the right directory: docs/layouts.md has what is accepted, and "
                "how to mend the rest",
            )
        ]
    text = "; ".join(
        f"{version} ({', '.join(splits)})" for version, splits in held["versions"].items()
    )
    archives = f"{held['archives']:,} archive{'s' * (held['archives'] != 1)}: {text}"
    found = [green("contents", archives + _unread(held), **held)]
    note = without_train(held["versions"].get("ILSVRC2012", ()), path)
    found += [green("contents", note)] if note is not None else []
    for warning in held["warnings"]:
        grade = red if warning in held["lost"] else yellow
        found.append(grade("contents", warning, primary_group.support_for(path)))
    found += [yellow("contents", told) for told in held["off"] if told not in held["warnings"]]
    return found


def _unread(held: dict[str, Any]) -> str:
    """What this look does not cover: thousands of class tars would take minutes."""
    if not held["uncounted"]:
        return ""
    splits = ", ".join(held["uncounted"])
    return f". Images not counted: {splits} (`imagenetfs info` counts, and keeps an index)"


def _discovery(path: Path, settings: Settings) -> dict[str, Any]:
    """What the catalogue has, as JSON; runs in a child of its own."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.archives import Kind
    from imagenetfs.index.search_path import IndexSearchPath
    from imagenetfs.job.doctor import counting
    from imagenetfs.source.source import Source
    from imagenetfs.tree.catalogue import build_catalogue

    try:
        known = (*([settings.index_dir] if settings.index_dir else []), *settings.index_path)
        catalogue = build_catalogue(
            Source(path), places=IndexSearchPath(None, path, known), prefer=settings.prefer
        )
    except ImagenetfsError as error:
        return {"error": str(error)}
    counted = counting.count(catalogue, counting.COUNT_SECONDS)
    archives = catalogue.index.archives
    files = list({a.file: None for a in archives if a.kind is not Kind.DIRECTORY})[:64]
    sizes = {file: status.st_size for file in files if (status := catalogue.source.status(file))}
    return {
        "versions": {
            version.name.decode(): [split.name.decode() for split in version.splits]
            for version in catalogue.versions
        },
        "archives": len(catalogue.index.archives),
        "sizes": _sizes(catalogue),
        "warnings": list(catalogue.warnings),
        "lost": list(catalogue.lost),
        "off": counted.found,
        "uncounted": counted.uncounted,
        "largest": os.fsdecode(max(sizes, key=lambda file: sizes[file])) if sizes else None,
    }


def _sizes(catalogue: Catalogue) -> dict[str, int]:
    """Bytes of the archives of each split that has them in a few files."""
    found = {}
    for version in catalogue.versions:
        for split in version.splits:
            archives = [catalogue.index.archives[number] for number in split.backend.archives]
            if len(archives) <= _FEW:
                files = {archive.file for archive in archives}
                status = map(catalogue.source.status, files)
                title = f"{version.name.decode()}/{split.name.decode()}"
                found[title] = sum(one.st_size for one in status if one is not None)
    return found


# --- how fast it is -------------------------------------------------------------------------------


def _speed(path: Path, largest: str | None) -> Iterator[Finding]:
    if largest is None:
        return
    try:
        latency, bandwidth, images = call_watched(lambda: measure(path / largest), _MEASURE_SECONDS)
    except (OSError, child_call.NoAnswerError) as error:
        yield red(
            "speed",
            f"{path / largest} could not be read: {child_call.reason_of(error)}",
            primary_group.support(),
        )
        return
    facts = {"latency": latency, "bytes_per_second": bandwidth, "images_per_second": images}
    took = f"{latency * 1000:.2f} ms" if latency >= 1e-5 else "under 0.01 ms"
    what = f"the source answers a request in {took}; one reader gets {bandwidth / 1e6:.0f} MB/s"
    if latency > _SLOW_SECONDS or bandwidth < _SLOW_BYTES:
        yield yellow(
            "speed", what, "stage to a local disk, or use more workers (--workers)", **facts
        )
    else:
        yield green("speed", what, **facts)
    yield limit(images, config.cpus())


def limit(images: float, cpus: int) -> Finding:
    """What limits the images a second: the source as it was measured, or the CPUs."""
    served = IMAGES_A_CPU * cpus
    number, what = min((images, "the source"), (served, f"{cpus} CPUs"))
    text = (
        f"at first reading about {number:,.0f} images a second, limited by {what} (the source "
        f"gives {images:,.0f} at {DEFAULT_CONCURRENCY} requests at a time, "
        f"the CPUs serve {served:,.0f})"
    )
    facts = {"source_images_per_second": images, "cpu_images_per_second": served}
    return green("limit", text, **facts)


def measure(file: Path) -> tuple[float, float, float]:
    """(seconds a request, bytes a second of one reader, images a second of several), past the page
    cache as far as the kernel forgets what it is asked to.
    """
    fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)
        choose = random.Random(size)
        waits = []
        for _ in range(_PROBES):
            offset = choose.randrange(max(1, size - _PROBE_BYTES))
            os.posix_fadvise(fd, offset, _PROBE_BYTES, os.POSIX_FADV_DONTNEED)
            start = time.perf_counter()
            os.pread(fd, _PROBE_BYTES, offset)
            waits.append(time.perf_counter() - start)
        alone = _read_for_a_while(fd, size, 1 << 20, 1)
        images = _read_for_a_while(fd, size, IMAGE_BYTES, DEFAULT_CONCURRENCY)
        return statistics.median(waits), alone, images / IMAGE_BYTES
    finally:
        os.close(fd)


def _read_for_a_while(fd: int, size: int, each: int, readers: int) -> float:
    """Bytes a second of so many readers at random places. Each reads once at least."""
    each = min(each, size)
    done = [0] * readers
    start = time.perf_counter()

    def read(number: int) -> None:
        choose = random.Random(number)
        while not done[number] or time.perf_counter() - start < _SPAN_SECONDS:
            offset = choose.randrange(max(1, size - each + 1))
            os.posix_fadvise(fd, offset, each, os.POSIX_FADV_DONTNEED)
            piece = len(os.pread(fd, each, offset))
            if not piece:
                return
            done[number] += piece

    threads = [threading.Thread(target=read, args=(number,)) for number in range(readers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - start)
