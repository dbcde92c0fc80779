"""``imagenetfs verify [SOURCE]``: does the source hold what it should?"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagenetfs.cli import options
from imagenetfs.cli.index_common import catalogue_of
from imagenetfs.cli.info import index_splits
from imagenetfs.cli.parser import App
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show, show_json
from imagenetfs.config import Settings
from imagenetfs.errors import ExitCode
from imagenetfs.job import preflight
from imagenetfs.limits import DEFAULT_CONCURRENCY

if TYPE_CHECKING:
    from imagenetfs.tree.catalogue import Catalogue

_ILSVRC2012 = b"ILSVRC2012"

MOST_LINES = 10
"""Lines on one archive, and archives of one directory; how many more there are is said in one."""


def register(app: App) -> None:
    """Add this command."""
    app.command("verify")(verify)


def verify(
    context: typer.Context,
    named: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="What to verify.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    quick: Annotated[
        bool, typer.Option("--quick", help="No md5 sums: archives are not read from end to end.")
    ] = False,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> int:
    """Compare archives with their md5 sums, classes with the devkit, totals
    with what is documented.

    Names every archive that is broken, though an extracted directory takes its place,
    every image whose first bytes are no JPEG or PNG, and those in zips whose checksum does
    not hold. The exit code is 0 where all is as it should be, else 42.
    """
    settings = options.settings_of(context, named)
    # numpy's linear algebra starts threads when it is imported; indexing forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    path = settings.source or preflight.default_source()
    preflight.check_source(path)
    parts = _verify(settings, quick=quick, tell=not as_json)
    wrong = sum(len(found) for found in parts.values())
    if as_json:
        show_json({"source": str(path), "wrong": wrong, **parts})
    else:
        show(_sentence(wrong))
        if parts["counts"]:
            show(_of_counts(len(parts["counts"])))
    return ExitCode.VERIFY_FAILED if wrong else ExitCode.OK


def _sentence(wrong: int) -> str:
    if not wrong:
        return "All is as it should be."
    if wrong == 1:
        return "1 thing is not as it should be."
    return f"{wrong:,} things are not as they should be."


def _of_counts(count: int) -> str:
    """What a number that differs from the published one need not mean."""
    lines = "1 of these is a count" if count == 1 else f"{count:,} of these are counts"
    return (
        f"{lines} that the published data set has otherwise: expected of a sample or a subset, "
        "and damage in a copy of the whole."
    )


def _verify(settings: Settings, *, quick: bool, tell: bool) -> dict[str, list[str]]:
    """What is wrong, part by part; told as it is found."""
    from imagenetfs.job.verify import check_archives, check_counts, check_images

    opened = catalogue_of(settings)
    catalogue = opened.catalogue
    index_splits(opened, settings)
    threads = settings.in_flight or DEFAULT_CONCURRENCY
    found = {
        "warnings": _told(catalogue.warnings, tell),
        "archives": _told(
            (told for told in check_archives(catalogue) if told not in catalogue.warnings), tell
        ),
        "counts": _told(check_counts(catalogue), tell),
    }
    with ProgressBar("Looking at", unit="images") as bar:
        found["images"] = _told(check_images(catalogue, threads, bar.update), tell)
    if not quick:
        found["sums"] = _sums(catalogue, tell)
    return found


def _sums(catalogue: Catalogue, tell: bool) -> list[str]:
    from imagenetfs.job.verify import check_sums, sums

    if _ILSVRC2012 not in dict(catalogue.source.names(b"")):
        return []
    todo, wrong = sums(catalogue.source, _ILSVRC2012)
    _told(wrong, tell)
    with ProgressBar("Summing", unit="MB", size=1e6) as bar:
        return [*wrong, *_told(check_sums(catalogue.source, todo, bar.update), tell)]


def _told(found: Iterable[Any], tell: bool) -> list[str]:
    """All that was found; of each directory the first archives, of each archive the first lines are
    told, then how many more.
    """
    sentences: list[str] = []
    directories: dict[str, Counter[str]] = {}
    ranks: dict[str, int] = {}
    for sentence in found:
        sentences.append(sentence)
        archive = _about(sentence)
        counts = directories.setdefault(archive.rpartition("/")[0], Counter())
        counts[archive] += 1
        rank = ranks.setdefault(archive, len(counts))
        if tell and rank <= MOST_LINES and counts[archive] <= MOST_LINES:
            say(sentence)
    if tell:
        for directory, counts in directories.items():
            _tell_how_many_more(directory, list(counts.items()))
    return sentences


def _tell_how_many_more(directory: str, counts: list[tuple[str, int]]) -> None:
    for archive, count in counts[:MOST_LINES]:
        if count > MOST_LINES:
            say(f"{archive}: and {count - MOST_LINES:,} more of this kind; --json has them all.")
    others = [count for _, count in counts[MOST_LINES:]]
    if others:
        say(
            f"{directory or 'the source'}: and {sum(others):,} more of this kind in "
            f"{len(others):,} other places; --json has them all."
        )


def _about(sentence: str) -> str:
    """The archive, or the split, that a sentence is about: its file, or VERSION/SPLIT."""
    head, colon, _ = sentence.partition(": ")
    if colon and " " not in head:
        return head
    return "/".join(sentence.split(" ", 1)[0].split("/")[:2])
