"""``imagenetfs index [SOURCE]``: build the member index before the first job needs it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagenetfs import config
from imagenetfs.cli import options
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say
from imagenetfs.errors import BrokenArchivesError, NoSpaceError, UsageError
from imagenetfs.job import checks

if TYPE_CHECKING:
    from imagenetfs.index.warm import Outcome, Progress
    from imagenetfs.tree.catalogue import Catalogue


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("index")(index)


def index(
    context: typer.Context,
    named: Annotated[
        str | None, typer.Argument(metavar="[SOURCE]", help="What to index.", show_default=False)
    ] = None,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Index all archives now, so that no job waits for it: about a second a class less on NFS.

    A mount indexes what is touched by itself; this does it ahead, once for all later mounts. What is
    indexed already is not read again. Ctrl-C keeps what is finished.
    """
    settings = options.settings_of(context, named)
    if settings.index_dir is None:
        raise UsageError("`index` writes index files; give it a directory with --index-dir.")
    # numpy's linear algebra starts threads when it is imported; indexing forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.places import IndexPlaces
    from imagenetfs.source.directory import Source
    from imagenetfs.tree.catalogue import archives_of, build_catalogue

    path = settings.source or checks.default_source()
    places = IndexPlaces(settings.index_dir, path)
    catalogue = build_catalogue(
        Source(path), places=places, in_flight=settings.in_flight, prefer=settings.prefer
    )
    for warning in catalogue.warnings:
        say(f"warning: {warning}")
    splits = [split for version in catalogue.versions for split in version.splits]
    broken: list[str] = []
    for group, archives in catalogue.groups(archives_of(splits)).items():
        target = places.file(group)
        assert target is not None
        requests = settings.in_flight or config.IN_FLIGHT_BY_ITSELF
        broken += _index_group(catalogue, group, archives, target, requests)
    if broken:
        raise BrokenArchivesError(
            "broken archives, of which only the whole members serve: " + "; ".join(broken)
        )


def _index_group(
    catalogue: Catalogue, group: str, archives: list[int], target: Path, in_flight: int
) -> tuple[str, ...]:
    """Index and save one group; what is broken in it."""
    from imagenetfs.index.warm import save, warm

    start = time.monotonic()
    with ProgressBar(f"Indexing {group}", unit="members") as bar:

        def progress(now: Progress) -> None:
            # Members in all are not known beforehand; containers are.
            total = now.members * now.total / now.done if now.done else None
            bar.update(now.members, total)

        try:
            outcome = warm(
                catalogue.index,
                archives,
                in_flight=in_flight,
                processes=config.cpus(),
                progress=progress,
            )
        except KeyboardInterrupt:
            save(catalogue.index, archives, target)
            raise
        bar.update(outcome.members, outcome.members)
    try:
        save(catalogue.index, archives, target)
    except OSError as error:
        raise NoSpaceError(
            f"the index file {target} cannot be written: {error.strerror}; "
            "give another directory with --index-dir."
        ) from error
    print(_summary(group, outcome, target, time.monotonic() - start))
    return outcome.broken


def _summary(group: str, outcome: Outcome, target: Path, seconds: float) -> str:
    size = target.stat().st_size if target.exists() else 0
    each = (
        f", index {size / outcome.members:.1f} bytes a member" if outcome.members and size else ""
    )
    return (
        f"{group}: {outcome.containers:,} tables, {outcome.members:,} members{each}, "
        f"in {seconds:.1f} s"
    )
