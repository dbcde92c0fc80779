"""``imagenetfs stage [SOURCE] VERSION[/SPLIT]...``: fill the read cache before, or while, it is needed."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagenetfs.cli import options
from imagenetfs.cli.indexing import catalogue_of
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import in_bytes, in_time, say
from imagenetfs.config.sizes import parse_size
from imagenetfs.errors import ImagenetfsError, NoSpaceError, SourceReadError, UsageError
from imagenetfs.job.caching import CachePlace, cache_place

if TYPE_CHECKING:
    from imagenetfs.cache.stage import Progress, Stager
    from imagenetfs.serve.staging import StagePlan


_MOST_LINES = 10


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("stage", cls=options.with_usage("[OPTIONS] [SOURCE] VERSION[/SPLIT]..."))(stage)


def stage(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(metavar="[SOURCE] VERSION[/SPLIT]...", help="What to bring here."),
    ],
    limit: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Bytes a second at most: 500M.", show_default=False),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="The I-th of N equal parts alone.", show_default=False),
    ] = None,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
    cache_dir: options.CacheDirOption = None,
    cache_size: options.CacheSizeOption = None,
    keep_free: options.KeepFreeOption = None,
) -> None:
    """Bring versions into this node's cache, in large requests; mounts with that cache profit at once.

    What is there already is not read again. Ctrl-C keeps what is done.
    """
    named, names = _sort_out(what)
    settings = options.settings_of(context, named)
    rate, part = _rate(limit), _shard(shard)
    place = cache_place(settings, say)
    if place is None:
        raise UsageError("Staging needs a cache: name a directory on this node by --cache-dir.")
    catalogue = catalogue_of(settings).catalogue
    from imagenetfs.cache.stage import Pace, Stager
    from imagenetfs.serve.caching import cached_reads, unpacked_of
    from imagenetfs.serve.staging import STREAMS, StagePlan, splits_of

    splits = splits_of(catalogue, names)
    cached = cached_reads(catalogue, place.directory, place.limits)
    unpacked = unpacked_of(catalogue, cached)
    plan = StagePlan(catalogue, cached.volumes, splits, unpacked, part)
    stager = Stager(cached.cache, streams=settings.in_flight or STREAMS, pace=Pace(rate))
    _run(stager, plan, place)


def _run(stager: Stager, plan: StagePlan, place: CachePlace) -> None:
    from imagenetfs.cache.policy import NoRoomError

    began = time.monotonic()

    def tell(progress: Progress) -> None:
        bar.update(progress.done / 1e6, plan.total / 1e6)

    try:
        with ProgressBar("Staging", unit="MB") as bar:
            stager.run(plan, tell)
            tell(stager.progress)
    except NoRoomError as error:
        raise NoSpaceError(
            f"The cache in {place.directory} is full ({in_bytes(place.limits.size)} at most, "
            f"{in_bytes(place.limits.floor)} of the disk stay free): {in_bytes(stager.progress.done)} of "
            f"{in_bytes(plan.total)} are there. Clear it, raise --cache-size, or lower --keep-free."
        ) from error
    except OSError as error:
        raise NoSpaceError(
            f"The cache in {place.directory} cannot be written to: {error.strerror}. "
            f"{in_bytes(stager.progress.done)} are there."
        ) from error
    except ImagenetfsError as error:
        there = f"{in_bytes(stager.progress.done)} of {in_bytes(plan.total)} are there and stay"
        raise SourceReadError(f"The source fails again and again: {error} {there}.") from error
    except KeyboardInterrupt:
        say(f"{in_bytes(stager.progress.done)} of {in_bytes(plan.total)} are there and stay.")
        raise
    fetched, seconds = stager.progress.fetched, time.monotonic() - began
    print(
        f"{in_bytes(stager.progress.done)} are local, {in_bytes(fetched)} of them fetched in "
        f"{in_time(seconds)}."
    )
    _tell_what_is_left_out({**plan.left_out, **stager.left_out})


def _tell_what_is_left_out(left_out: dict[str, Exception]) -> None:
    """A line for each archive, or for the first ones of many; then SourceReadError."""
    for archive, error in list(left_out.items())[:_MOST_LINES]:
        say(f"{archive} is not all there: {error}")
    if left_out:
        raise SourceReadError(
            f"{len(left_out)} of the archives could not be read to the end; stage them once more: what is "
            "there already is not read again."
        )


def _sort_out(what: list[str]) -> tuple[str | None, list[str]]:
    """(SOURCE if it is given, the versions)."""
    first = what[0]
    looks_like_path = first.startswith(("/", ".", "~")) or (len(what) > 1 and Path(first).is_dir())
    named, names = (first, what[1:]) if looks_like_path else (None, what)
    if not names:
        raise UsageError("What shall be staged? For example: imagenetfs stage ILSVRC2012/train")
    return named, [name.strip("/") for name in names]


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        size = parse_size(text.removesuffix("/s"))
    except ValueError:
        size = None
    if size is None or not size.count:
        raise UsageError(f"--limit must be bytes a second such as 500M, not {text!r}.")
    return float(size.count)


def _shard(text: str | None) -> tuple[int, int]:
    if text is None:
        return 1, 1
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    number, parts = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UsageError(f"--shard must be I/N with I from 1 to N, not {text!r}.")
    return number, parts
