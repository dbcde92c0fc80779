"""``imagenetfs info [SOURCE]``: versions, splits, classes, images, bytes,
and where they come from.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from imagenetfs.cli import options
from imagenetfs.cli.index_common import Opened, build_or_keep_none, catalogue_of, shown_in
from imagenetfs.cli.parser import App
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show_json, table
from imagenetfs.config import Settings
from imagenetfs.job.requirements import without_train
from imagenetfs.units import in_bytes

_MOST_NAMED = 20
_HEAD = ("version", "split", "classes", "images", "bytes", "from")


def register(app: App) -> None:
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
    """Show what a source holds, without mounting it, and what of it does not add up.

    Counting images indexes every archive that is not indexed yet, and keeps the index.
    """
    settings = options.settings_of(context, named)
    opened = catalogue_of(settings)
    catalogue = opened.catalogue
    for warning in catalogue.warnings:
        say(f"warning: {warning}")
    if not quick:
        index_splits(opened, settings)
    splits, problems, notes = _splits(opened, count=not quick)
    for problem in problems[:_MOST_NAMED]:
        say(f"warning: {problem}")
    if len(problems) > _MOST_NAMED:
        say(f"warning: {len(problems) - _MOST_NAMED:,} more of this kind: --json has them all.")
    if as_json:
        warnings = [*catalogue.warnings, *problems]
        described = {"source": str(opened.path), "warnings": warnings, "splits": splits}
        show_json(described)
        return
    table(_HEAD, [_row(split) for split in splits])
    shown = [split["split"] for split in splits if split["version"] == "ILSVRC2012"]
    for note in filter(None, [*notes, without_train(shown, opened.path)]):
        say(f"note: {note}")


def index_splits(opened: Opened, settings: Settings) -> None:
    """Make the tables that are counted, and keep them."""
    with ProgressBar("Indexing", unit="archives") as bar:
        for group, archives in opened.groups(()).items():
            build_or_keep_none(
                opened,
                group,
                archives,
                settings.in_flight,
                shown_in(bar),
            )


def _splits(
    opened: Opened, *, count: bool
) -> tuple[list[dict[str, Any]], list[str], list[str | None]]:
    """(what there is, what is broken or does not add up, what is to be known of it): counted, or
    as far as names tell.
    """
    from imagenetfs.tree.ledger import account, preview

    found: list[dict[str, Any]] = []
    problems: list[str] = []
    notes: list[str | None] = []
    for version in opened.catalogue.versions:
        for split in version.splits:
            ledger = account(version, split) if count else preview(version, split)
            sentence = ledger.sentence(str(opened.path))
            notes += [
                ledger.note,
                *(d for d in ledger.doubts if d not in opened.catalogue.warnings),
            ]
            told = [*ledger.problems, *([sentence] if sentence is not None else ())]
            problems += [one for one in told if one not in opened.catalogue.warnings]
            found.append(
                {
                    "version": version.name.decode(),
                    "split": split.name.decode(),
                    "classes": len(split.backend.classes),
                    "images": ledger.images,
                    "bytes": ledger.bytes,
                    "from": split.origin,
                    "ledger": ledger.as_json(),
                }
            )
    return found, problems, notes


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
