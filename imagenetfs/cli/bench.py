"""``imagenetfs bench [SOURCE|MOUNT]``: how many images a second each part on the way brings, and
which of them is the limit.
"""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagenetfs import config
from imagenetfs.cli import options
from imagenetfs.cli.terminal import say, show, show_json
from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError, NotMountedError, SourceUnknownError, UsageError
from imagenetfs.job import preflight

if TYPE_CHECKING:
    from imagenetfs.library.rates import Images, Rate, Work
    from imagenetfs.library.tree import Tree

_SECONDS = 30.0
_LEAST_SECONDS = 1.0
_MOST_WORKERS = 64
_CLASSES, _IMAGES, _DECODED = 8, 20_000, 64
_SCRATCH_BYTES = 1 << 28
_ENOUGH = 0.9
"""More workers than bring this part of the most are not worth theirs."""

_NAMES = {"source": "source", "disk": "cache disk", "mount": "mount", "decoding": "decoding"}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("bench")(bench)


def bench(
    context: typer.Context,
    named: Annotated[
        str | None,
        typer.Argument(
            metavar="[SOURCE|MOUNT]", help="What to measure: a source, or a mount of one."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    seconds: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to measure, about (default: 30).")
    ] = _SECONDS,
    most: Annotated[
        int | None,
        typer.Option(
            "--processes",
            metavar="N",
            help="The most processes to try: the CPUs of the job by default.",
            show_default=False,
        ),
    ] = None,
    source: options.SourceOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
    cache_dir: options.CacheDirOption = None,
) -> None:
    """Measure how many images a second the source, the cache's disk, a mount and decoding bring, by
    one to many processes; say which is the limit, and what to set.

    Reads random images of a split for half a minute. Without a mount it makes one, and removes it.
    """
    if seconds < _LEAST_SECONDS:
        raise UsageError(f"--seconds is {_LEAST_SECONDS:.0f} at least.")
    if most is not None and not 1 <= most <= _MOST_WORKERS:
        raise UsageError(f"--processes is a number from 1 to {_MOST_WORKERS}.")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # it forks
    mounted = _mount_at(named)
    settings = options.settings_of(context, mounted[1] if mounted is not None else named)
    path = settings.source or preflight.default_source()
    preflight.check_source(path)
    report = Report(str(path), _steps(most or config.cpus()), seconds)
    with _tree(settings, path) as tree:
        images = _some_images(tree, path)
        _measure(report, settings, tree, images, mounted[0] if mounted is not None else None)
    if as_json:
        show_json(report.as_json())
        return
    for line in report.lines():
        show(line)


def _mount_at(named: str | None) -> tuple[Path, str] | None:
    """The mount at a path and its source; None where there is none of ours."""
    from imagenetfs.job.status import collect

    if named is None:
        return None
    try:
        [found] = collect(named)
    except NotMountedError:
        return None
    if found.state != "live":
        raise NotMountedError(f"The mount at {found.mountpoint} does not answer ({found.state}).")
    return Path(found.mountpoint), found.source


def _steps(most: int) -> list[int]:
    """1, 2, 4, ... and the most."""
    return [*(1 << at for at in range(most.bit_length()) if 1 << at < most), most]


def _tree(settings: Settings, path: Path) -> Tree:
    """The source without a cache, as the library has it."""
    from imagenetfs.library.settings import resolve_spec
    from imagenetfs.library.tree import Tree

    given: dict[str, object] = {"cache_dir": "none", "prefer": settings.prefer}
    if settings.index_dir is not None:
        given["index_dir"] = settings.index_dir
    else:
        given["index_dir"] = "none"
    return Tree(resolve_spec(path, given))


def _some_images(tree: Tree, path: Path) -> Images:
    """Images of some classes of the largest split, in random order."""
    from imagenetfs.library.rates import Images

    classes = {name: tree[name].classes for name in tree.splits if not name.startswith("views/")}
    for name in sorted(classes, key=lambda one: -len(classes[one])):
        below = [f"{name}/{one}" for one in classes[name]] or [name]
        random.shuffle(below)
        found = [f"{one}/{image}" for one in below[:_CLASSES] for image in tree.listdir(one)]
        if found:
            random.shuffle(found)
            return Images(found[:_IMAGES])
    raise SourceUnknownError(f"{path} has no image to measure with.")


# --- measuring ------------------------------------------------------------------------------------


@dataclass(slots=True)
class Report:
    """What was measured by how many processes, and what was not and why."""

    source: str
    steps: list[int]
    seconds: float
    rates: dict[str, list[Rate]] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)

    def most(self, part: str) -> Rate | None:
        """The best rate of a part."""
        return max(self.rates.get(part, []), key=lambda one: one.images, default=None)

    @property
    def limit(self) -> str | None:
        """The part that brings the fewest images; once it is there, the cache's disk stands for
        the source.
        """
        found = {part: best for part in self.rates if part != "disk" and (best := self.most(part))}
        return min(found, key=lambda part: found[part].images, default=None)

    @property
    def workers(self) -> int:
        """The fewest processes that bring most of what the limit has."""
        rates = self.rates.get(self.limit or "", [])
        enough = _ENOUGH * max((one.images for one in rates), default=0.0)
        return next((one.workers for one in rates if one.images >= enough), self.steps[-1])

    def advice(self) -> list[str]:
        """What to set."""
        found = [f"num_workers={self.workers}"]
        source, disk, decoding = (self.most(part) for part in ("source", "disk", "decoding"))
        if source is None:
            return found
        if decoding is not None and source.images > decoding.images:
            return [*found, "no cache is needed: the source brings more than is decoded"]
        if disk is None:
            return [*found, "a --cache-dir on this node, and --stage: the source is slower"]
        if disk.images < source.images:
            return [*found, "--cache-dir none: the cache's disk is slower than the source"]
        return [*found, "--cache-dir with --stage, which the next epochs come from"]

    def lines(self) -> Iterator[str]:
        """Five lines for people."""
        for part, title in _NAMES.items():
            rates = self.rates.get(part)
            if rates is None:
                yield f"{title:<11}not measured: {self.absent.get(part, '')}"
                continue
            counts = "  ".join(f"{one.workers}: {one.images:,.0f}" for one in rates)
            note = self.notes.get(part)
            yield f"{title:<11}{counts} images/s" + (f"  ({note})" if note else "")
        if self.limit is None:
            yield "limit      unknown: nothing could be measured"
            return
        yield f"limit      {_NAMES[self.limit]}; set {', '.join(self.advice())}"

    def as_json(self) -> Mapping[str, Any]:
        """The same for programs."""
        rates = {part: [asdict(one) for one in found] for part, found in self.rates.items()}
        return {
            "source": self.source,
            "rates": rates,
            "notes": self.notes,
            "not_measured": self.absent,
            "limit": self.limit,
            "workers": self.workers if self.limit is not None else None,
            "advice": self.advice() if self.limit is not None else [],
        }


def _measure(
    report: Report, settings: Settings, tree: Tree, images: Images, mounted: Path | None
) -> None:
    from imagenetfs.library import rates

    slot = report.seconds / len(_NAMES) / len(report.steps)

    def measure(part: str, work: Work, reads: Images | None = None) -> None:
        """By one to many processes; what a part's failure is said of, others do not suffer."""
        found = report.rates.setdefault(part, [])
        for workers in report.steps:
            found.append(rates.rate(work, workers, slot))
            if reads is not None:
                reads.went(found[-1].images * slot)

    def attempt(part: str, work: Callable[[], None]) -> None:
        try:
            work()
        except (rates.NothingMeasuredError, ImagenetfsError, OSError) as error:
            report.absent[part] = str(error)
            if not report.rates.get(part):
                report.rates.pop(part, None)

    def source() -> None:
        measure("source", rates.of_reads(images, lambda name: len(tree.read(name))), images)
        best = report.most("source")
        assert best is not None
        report.notes["source"] = f"{best.bytes / 1e6:,.0f} MB/s"
        if images.came_again:
            report.notes["source"] += ", some of it from memory"

    def disk() -> None:
        best = report.most("source")
        image = int(best.bytes / best.images) if best is not None else 110_000
        _measure_disk(report, settings, slot, lambda work: measure("disk", work), image)

    def mount() -> None:
        with _mounted(settings, mounted) as place:
            for directory in {(place / name).parent for name in images.names}:
                any(directory.iterdir())  # indexing is no part of it
            there = rates.of_reads(images, lambda name: rates.read_file(place / name))
            measure("mount", there, images)

    def decoding() -> None:
        contents = [tree.read(name) for name in images.names[:_DECODED]]
        _measure_decoding(report, contents, slot, lambda work: measure("decoding", work))

    for part, work in (
        ("source", source),
        ("disk", disk),
        ("mount", mount),
        ("decoding", decoding),
    ):
        attempt(part, work)


def _measure_disk(
    report: Report,
    settings: Settings,
    slot: float,
    measure: Callable[[Work], None],
    image: int,
) -> None:
    from imagenetfs.job.storage import prepare_cache
    from imagenetfs.library.rates import NothingMeasuredError, ScratchDisk

    place = prepare_cache(settings, say)
    if place is None:
        raise NothingMeasuredError("there is no --cache-dir.")
    disk = ScratchDisk(place.directory, _SCRATCH_BYTES, slot)
    try:
        measure(lambda number, workers: disk.work(number, workers, max(1, image)))
    finally:
        disk.close()
    report.notes["disk"] = f"writes {disk.write_rate / 1e6:,.0f} MB/s"


def _measure_decoding(
    report: Report, contents: list[bytes], slot: float, measure: Callable[[Work], None]
) -> None:
    from imagenetfs.library import rates

    name, decode = rates.pillow()
    able = rates.decodable(contents, decode)
    if not able:
        raise rates.NothingMeasuredError("none of the images looked at can be decoded.")
    measure(rates.of_decoding(able, decode))
    report.notes["decoding"] = name
    try:
        other, decode = rates.torchvision()
        best = rates.rate(rates.of_decoding(able, decode), report.steps[-1], slot)
    except rates.NothingMeasuredError:
        return
    report.notes["decoding"] += f"; {other}: {best.images:,.0f} by {best.workers}"


@contextlib.contextmanager
def _mounted(settings: Settings, mounted: Path | None) -> Iterator[Path]:
    """The mount that was named, or one for the measurement."""
    from imagenetfs.job.acquire import acquire
    from imagenetfs.job.mount_handle import release

    if mounted is not None:
        yield mounted
        return
    handle = acquire(replace(settings, namespace="never"), None, {}, say)
    try:
        yield handle.mountpoint
    finally:
        release(handle, say)
