"""``imagenetfs stage [SOURCE] VERSION[/SPLIT]...``: fill the read cache
before, or while, it is needed.
"""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagenetfs.cli import completion, options
from imagenetfs.cli.error_report import INTERRUPTED
from imagenetfs.cli.index_common import catalogue_of
from imagenetfs.cli.parser import App, with_usage
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show
from imagenetfs.config.value_types import parse_size
from imagenetfs.errors import ImagenetfsError, NoSpaceError, SourceReadError, UsageError
from imagenetfs.job.storage import prepare_cache
from imagenetfs.units import as_given, in_bytes, in_time

if TYPE_CHECKING:
    from imagenetfs.cache.quota import CacheSetup
    from imagenetfs.cache.stager import StageProgress, Stager
    from imagenetfs.server.stage_plan import StagePlan


_MOST_LINES = 10
_LITTLE = 1 << 23
"""Bytes: what several requests take.

With so little above --keep-free it is the disk that is full.
"""

_NO_CACHE = "Staging needs a cache: name a directory on this node by --cache-dir."


def register(app: App) -> None:
    """Add this command."""
    app.command("stage", cls=with_usage("[OPTIONS] [SOURCE] VERSION[/SPLIT]..."))(stage)


def stage(
    context: typer.Context,
    what: Annotated[
        list[str],
        typer.Argument(
            metavar="[SOURCE] VERSION[/SPLIT]...",
            help="What to bring here.",
            autocompletion=completion.splits,
        ),
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
    """Bring versions into this node's cache, in large requests; mounts with
    that cache profit at once.

    What is there already is not read again. Ctrl-C keeps what is done.
    """
    named, names = _sort_out(what)
    settings = options.settings_of(context, named)
    rate, part = _rate(limit), _shard(shard)
    if settings.cache_dir is None:
        raise UsageError(_NO_CACHE)
    catalogue = catalogue_of(settings).catalogue
    from imagenetfs.cache.stager import RateLimiter, Stager
    from imagenetfs.read.read_path import cache_backend, inflated_arrays
    from imagenetfs.server.stage_plan import STREAMS, StagePlan, splits_of

    splits = splits_of(catalogue, names)
    place = prepare_cache(settings, say)
    if place is None:
        raise UsageError(_NO_CACHE)
    cached = cache_backend(catalogue, place)
    unpacked = inflated_arrays(catalogue, cached)
    plan = StagePlan(catalogue, cached.volumes, splits, unpacked, part)
    stager = Stager(
        cached.cache, streams=settings.in_flight or STREAMS, rate_limiter=RateLimiter(rate)
    )
    _run(stager, plan, place)


def _run(stager: Stager, plan: StagePlan, place: CacheSetup) -> None:
    from imagenetfs.cache.quota import QuotaExceededError

    began = time.monotonic()

    def tell(progress: StageProgress) -> None:
        there = progress.done - progress.fetched
        bar.update(progress.done, plan.total, there=max(0, there))

    try:
        with ProgressBar("Staging", unit="MB", size=1e6) as bar:
            stager.run(plan, tell)
            tell(stager.progress)
    except QuotaExceededError as error:
        raise NoSpaceError(f"{_no_room(place)} {_there(plan, place)}.") from error
    except OSError as error:
        raise NoSpaceError(
            f"The cache in {place.directory} cannot be written to: {error.strerror}. "
            f"{_there(plan, place)}."
        ) from error
    except ImagenetfsError as error:
        raise SourceReadError(
            f"The source fails again and again: {error} {_there(plan, place)} and stay."
        ) from error
    except KeyboardInterrupt:
        say(f"{_there(plan, place)} and stay.")
        if stager.is_stuck:  # its threads wait for the source, and an exit would wait for them
            os._exit(INTERRUPTED)
        raise
    fetched, seconds = stager.progress.fetched, time.monotonic() - began
    show(
        f"{in_bytes(stager.progress.done)} are local, {in_bytes(fetched)} of them fetched in "
        f"{in_time(seconds)}."
    )
    _tell_what_is_left_out({**plan.left_out, **stager.left_out})


def _there(plan: StagePlan, place: CacheSetup) -> str:
    from imagenetfs.cache.directory import CacheDirectory

    directory = CacheDirectory(place.directory)
    try:
        kept = plan.kept(directory)
    finally:
        directory.close()
    return f"{in_bytes(kept)} of {in_bytes(plan.total)} are there"


def _no_room(place: CacheSetup) -> str:
    """What is full, and what to do about it."""
    room = os.statvfs(place.directory)
    free = room.f_bavail * room.f_frsize
    if free - place.limits.floor < _LITTLE:
        return (
            f"The disk of {place.directory} is full: {in_bytes(free)} are free, of which the "
            f"cache leaves {as_given(place.limits.floor)} free. Make room there, lower "
            "--keep-free, or name another --cache-dir."
        )
    return (
        f"The cache in {place.directory} is full ({as_given(place.limits.size)} at most). Clear "
        "it, or raise --cache-size."
    )


def _tell_what_is_left_out(left_out: dict[str, Exception]) -> None:
    """A line for each archive, or for the first ones of many; then SourceReadError."""
    for archive, error in list(left_out.items())[:_MOST_LINES]:
        say(f"{archive} is not all there: {error}")
    if left_out:
        raise SourceReadError(
            f"{len(left_out)} of the archives could not be read to the end; stage them once more: "
            "what is there already is not read again."
        )


def _sort_out(what: list[str]) -> tuple[str | None, list[str]]:
    """(SOURCE if it is given, the versions)."""
    first = what[0]
    looks_like_path = first.startswith(("/", ".", "~")) or (len(what) > 1 and Path(first).is_dir())
    named, names = (first, what[1:]) if looks_like_path else (None, what)
    if not names:
        raise UsageError("What shall be staged? For example: imagenetfs stage ILSVRC2012/train")
    paths = [name for name in names if name.startswith(("/", ".", "~"))]
    if paths:
        raise UsageError(
            f"{paths[0]} is a path, not a version: SOURCE comes first (imagenetfs stage "
            f"{paths[0]} {names[0]})."
        )
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
