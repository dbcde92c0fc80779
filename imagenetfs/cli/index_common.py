"""What the commands share that index: the source's catalogue, the named splits,
waiting for another's work.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from imagenetfs import config
from imagenetfs.cli import completion
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say
from imagenetfs.config import Settings
from imagenetfs.errors import (
    ImagenetfsError,
    NoSpaceError,
    PlaceRefusedError,
    UsageError,
    did_you_mean,
)
from imagenetfs.job import preflight
from imagenetfs.job.storage import ADVICE

if TYPE_CHECKING:
    from imagenetfs.index.bulk_build import BuildProgress, Outcome
    from imagenetfs.index.group_build import Shard
    from imagenetfs.index.search_path import IndexSearchPath
    from imagenetfs.tree.catalogue import Catalogue
    from imagenetfs.tree.dataset import Split

_LOOK_AGAIN_SECONDS = 0.5
ANOTHER_PLACE = "give another directory with --index-dir"

T = TypeVar("T")

Named = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[SOURCE] [VERSION[/SPLIT]...]",
        help="The source, and what of it (default: all).",
        show_default=False,
        autocompletion=completion.index_words,
    ),
]


def named(what: Sequence[str] | None, source: str | None) -> tuple[str | None, list[str]]:
    """SOURCE, where one is given, and the names: the first argument is SOURCE if it is a directory
    or written as a path, unless ``--source`` names one.
    """
    words = list(what or ())
    first = words[0] if words else ""
    if source is None and first and (first.startswith(("/", ".", "~")) or Path(first).is_dir()):
        return first, words[1:]
    return None, words


@dataclass(frozen=True, slots=True)
class Opened:
    """A source's catalogue, and where its index files are; ``said``: what is said once."""

    path: Path
    places: IndexSearchPath
    catalogue: Catalogue
    said: set[str] = field(default_factory=set)

    def groups(self, names: Sequence[str]) -> dict[str, list[int]]:
        """The archives of the named versions and splits (all where none is named) by index file."""
        from imagenetfs.tree.catalogue import archives_of

        splits = {
            f"{version.name.decode()}/{split.name.decode()}": split
            for version in self.catalogue.versions
            for split in version.splits
        }
        chosen: list[Split] = list(splits.values()) if not names else []
        for name in names:
            wanted = name.rstrip("/")
            found = [s for key, s in splits.items() if wanted in (key, key.partition("/")[0])]
            if not found:
                raise UsageError(
                    f"{self.path} has no version or split `{name}` (and there is no directory "
                    "of that "
                    f"name here, were it meant for SOURCE); it has {', '.join(splits)}."
                    f"{did_you_mean(wanted, [*splits, *(key.partition('/')[0] for key in splits)])}"
                )
            chosen += found
        return self.catalogue.groups(archives_of(chosen))


def catalogue_of(settings: Settings, *, indexed: bool = True) -> Opened:
    """Look at the source. ``indexed``: use the index files that there are."""
    # numpy's linear algebra starts threads when it is imported; indexing forks.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.search_path import IndexSearchPath
    from imagenetfs.source.source import Source
    from imagenetfs.tree.catalogue import build_catalogue

    path = settings.source or preflight.default_source()
    preflight.refuse_others_source(path)
    places = IndexSearchPath(settings.index_dir, path, settings.index_path)
    catalogue = build_catalogue(
        Source(path),
        places=places if indexed else IndexSearchPath(None, path, beside=False),
        in_flight=settings.in_flight,
        prefer=settings.prefer,
    )
    return Opened(path, places, catalogue)


def build_group(
    opened: Opened,
    group: str,
    archives: list[int],
    in_flight: int | None,
    progress: Callable[[BuildProgress], None],
    shard: Shard | None = None,
) -> Outcome:
    """Index a group, or wait until another process has. Raises OSError where it cannot be
    written.
    """
    from imagenetfs.index.group_build import index_group, unite_shards

    file = opened.places.file(group)
    assert file is not None
    index = opened.catalogue.index

    def build() -> Outcome:
        return index_group(
            index,
            archives,
            file,
            in_flight=in_flight,
            processes=config.cpus(),
            progress=progress,
            shard=shard,
        )

    outcome = in_turn(build, f"{group} is being indexed")
    if shard is not None:
        in_turn(lambda: unite_shards(index, file, shard), f"The shards of {group} are being united")
    return outcome


def shown_in(bar: ProgressBar) -> Callable[[BuildProgress], None]:
    """Shows how many archives are done; those that were before are no speed and no time."""
    there: int | None = None

    def show(now: BuildProgress) -> None:
        nonlocal there
        if there is None:
            there = now.done
        bar.update(now.done, now.total, there=there)

    return show


def counted(number: int, noun: str) -> str:
    """``1 table``, ``1,234 tables``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def not_writable(what: str, error: OSError, advice: str) -> ImagenetfsError:
    """The project's own error for one of the system's while a file of the index is written."""
    kind = NoSpaceError if error.errno in (errno.ENOSPC, errno.EDQUOT) else PlaceRefusedError
    return kind(f"{what} cannot be written: {error.strerror}; {advice}.")


def build_or_keep_none(
    opened: Opened,
    group: str,
    archives: list[int],
    in_flight: int | None,
    progress: Callable[[BuildProgress], None],
) -> None:
    """Index a group, and keep that where it can be kept; elsewhere it serves this command."""
    from imagenetfs.index.bulk_build import build_all

    if opened.places.file(group) is not None:
        try:
            build_group(opened, group, archives, in_flight, progress)
            return
        except OSError as error:
            sentence = f"no index is kept in {opened.places.directory}: {error.strerror}. {ADVICE}"
            if sentence not in opened.said:
                say(sentence)
                opened.said.add(sentence)
    build_all(
        opened.catalogue.index,
        archives,
        in_flight=in_flight,
        processes=config.cpus(),
        progress=progress,
    )


def in_turn(attempt: Callable[[], T], what: str) -> T:
    """What ``attempt()`` returns when no other process has the lease; says once for which process
    it waits.
    """
    from imagenetfs.index.leases import HeldElsewhereError

    told = False
    while True:
        try:
            return attempt()
        except HeldElsewhereError as held:
            if not told:
                say(f"{what} by {held.holder}: waiting for it.")
        told = True
        time.sleep(_LOOK_AGAIN_SECONDS)
