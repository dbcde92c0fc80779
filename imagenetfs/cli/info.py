"""``imagenetfs info [SOURCE]``: versions, splits, classes, images, bytes, and where they come from."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagenetfs import config
from imagenetfs.cli import options
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import in_bytes, say, table
from imagenetfs.config import Settings
from imagenetfs.job import checks

if TYPE_CHECKING:
    from imagenetfs.index.places import IndexPlaces
    from imagenetfs.tree.catalogue import Catalogue

_HEAD = ("version", "split", "classes", "images", "bytes", "from")


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("info")(info)


def info(
    context: typer.Context,
    named: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="What to look at.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not count images: nothing is indexed for it.")
    ] = False,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Show what a source holds, without mounting it.

    Counting images indexes every archive that is not indexed yet, and keeps the index.
    """
    settings = options.settings_of(context, named)
    # numpy's linear algebra starts threads when it is imported; indexing forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.places import IndexPlaces
    from imagenetfs.source.directory import Source
    from imagenetfs.tree.catalogue import build_catalogue

    path = settings.source or checks.default_source()
    places = IndexPlaces(settings.index_dir, path)
    catalogue = build_catalogue(
        Source(path), places=places, in_flight=settings.in_flight, prefer=settings.prefer
    )
    for warning in catalogue.warnings:
        say(f"warning: {warning}")
    if not quick:
        index_splits(catalogue, places, settings)
    splits = _splits(catalogue, count=not quick)
    for warning in _without_class(splits):
        say(f"warning: {warning}")
    if as_json:
        warnings = [*catalogue.warnings, *_without_class(splits)]
        described = {"source": str(path), "warnings": warnings, "splits": splits}
        print(json.dumps(described, indent=2))
        return
    table(_HEAD, [_row(split) for split in splits])


def index_splits(catalogue: Catalogue, places: IndexPlaces, settings: Settings) -> None:
    """Make the tables that are counted, and keep them."""
    from imagenetfs.index.warm import Progress, save, warm
    from imagenetfs.tree.catalogue import archives_of

    archives = archives_of([split for version in catalogue.versions for split in version.splits])
    with ProgressBar("Indexing", unit="archives") as bar:

        def progress(now: Progress) -> None:
            bar.update(now.done, now.total)

        in_flight = settings.in_flight or config.IN_FLIGHT_BY_ITSELF
        warm(
            catalogue.index,
            archives,
            in_flight=in_flight,
            processes=config.cpus(),
            progress=progress,
        )
    for group, numbers in catalogue.groups(archives).items():
        target = places.file(group)
        try:
            if target is not None:
                save(catalogue.index, numbers, target)
        except OSError as error:
            say(f"the index file {target} cannot be written: {error.strerror}.")


def _splits(catalogue: Catalogue, *, count: bool) -> list[dict[str, Any]]:
    from imagenetfs.tree.totals import totals

    found = []
    for version in catalogue.versions:
        for split in version.splits:
            counted = totals(split) if count else None
            found.append(
                {
                    "version": version.name.decode(),
                    "split": split.name.decode(),
                    "classes": len(split.shelf.classes),
                    "images": counted.images if counted else None,
                    "bytes": counted.bytes if counted else None,
                    "without_class": counted.without_class if counted else None,
                    "from": split.origin,
                }
            )
    return found


def _without_class(splits: list[dict[str, Any]]) -> list[str]:
    """What only counting shows: a mount reads no labels of npz files before somebody asks for them."""
    return [
        f"{split['version']}/{split['split']}: {split['without_class']:,} images have labels that nobody "
        "knows, and stand in no class."
        for split in splits
        if split["without_class"]
    ]


def _row(split: dict[str, Any]) -> tuple[str, ...]:
    images, size = split["images"], split["bytes"]
    return (
        split["version"],
        split["split"],
        f"{split['classes']:,}",
        "-" if images is None else f"{images:,}",
        "-" if size is None else in_bytes(size),
        split["from"],
    )
