"""``imagenetfs index check``, ``export`` and ``import``: an index as
something to verify and to carry.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imagenetfs import config
from imagenetfs.cli import options
from imagenetfs.cli.index_common import (
    ANOTHER_PLACE,
    build_or_keep_none,
    catalogue_of,
    counted,
    in_turn,
    not_writable,
    shown_in,
)
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show
from imagenetfs.config import Settings
from imagenetfs.errors import ArchiveError, IndexWrongError, UsageError

if TYPE_CHECKING:
    from imagenetfs.index.index import Index

_SOURCE = typer.Argument(metavar="[SOURCE]", help="The source it is of.", show_default=False)
_FILE = typer.Argument(metavar="FILE", help="The file with the index.", show_default=False)
_MOST_NAMED = 5


def register(group: typer.Typer) -> None:
    """Add these commands below ``index``."""
    group.command("check")(check)
    group.command("export")(export)
    group.command("import")(import_)


def check(
    context: typer.Context,
    named: Annotated[str | None, _SOURCE] = None,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Verify every index file of a source against its archives, all headers of which are read.

    Changes nothing. Ends with 14 where an index is wrong, lacks something, or is not there.
    Listings of directories are left out: they hold while the directories' times are the same,
    which every mount looks at.
    """
    settings = options.settings_of(context, named)
    opened = catalogue_of(settings, indexed=False)
    from imagenetfs.index.archives import Kind
    from imagenetfs.index.bulk_build import build_all, containers

    index = opened.catalogue.index
    lines: list[str] = []
    wrong: list[str] = []
    files = listings = 0
    for group, archives in opened.groups(()).items():
        tars = [n for n in archives if index.archives[n].kind is not Kind.DIRECTORY]
        present = [file for file in opened.places.files(group) if file.exists()]
        if not tars:
            listings += len(present)
            continue
        if not present:
            wrong.append(f"{group} has no index")
            continue
        with ProgressBar(f"Reading {group}", unit="archives") as bar:
            build_all(
                index,
                tars,
                in_flight=settings.in_flight,
                processes=config.cpus(),
                progress=shown_in(bar),
            )
        items = [item for item in containers(index, tars) if index.known(*item)]
        for file in present:
            files += 1
            line, fault = _compared(index, items, file)
            lines += [line] if line else []
            wrong += [fault] if fault else []
    for line in lines:
        show(line)
    if wrong:
        raise IndexWrongError(
            f"{'; '.join(wrong)}. `{_command(opened.path, settings)}` makes what is missing."
        )
    beside = f" ({counted(listings, 'file')} of listings beside, not looked at)" if listings else ""
    say(f"the index of {opened.path} is right: {counted(files, 'file')}{beside}.")


def _compared(
    index: Index, items: Sequence[tuple[int, int]], file: Path
) -> tuple[str | None, str | None]:
    """(what an index file has, what is wrong with it); None where there is nothing to say."""
    from imagenetfs.index.index_file import display_path
    from imagenetfs.index.transfer import compare

    shown = display_path(file)
    try:
        found, others = compare(index, items, file)
    except ArchiveError as error:
        return None, f"{shown} cannot be used ({error.reason}): remove that file"
    except OSError as error:
        return None, f"{shown}: {error}"
    line = f"{shown}: {found:,} of {counted(len(items), 'table')}, {len(others):,} wrong"
    if others:
        return line, f"{shown} is wrong about {', '.join(others[:_MOST_NAMED])}: remove that file"
    if found < len(items):
        return line, f"{shown} lacks {counted(len(items) - found, 'table')}"
    return line, None


def _command(source: Path, settings: Settings) -> str:
    """What indexes the source, into the place that was looked at."""
    words = ["imagenetfs", "index", str(source)]
    if settings.index_dir is not None:
        words += ["--index-dir", str(settings.index_dir)]
    return shlex.join(words)


def export(
    context: typer.Context,
    file: Annotated[Path, _FILE],
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Write the index of all archives into one file, for another site.

    What is missing is indexed.
    """
    settings = options.settings_of(context)
    opened = catalogue_of(settings)
    from imagenetfs.index.transfer import export

    archives: list[int] = []
    for group, numbers in opened.groups(()).items():
        with ProgressBar(f"Indexing {group}", unit="archives") as bar:
            build_or_keep_none(opened, group, numbers, settings.in_flight, shown_in(bar))
        archives += numbers
    try:
        carried = export(opened.catalogue.index, archives, file.absolute())
    except OSError as error:
        raise not_writable(str(file), error, "name another file") from error
    show(f"{file}: {counted(carried.tables, 'table')}, {counted(carried.members, 'member')}")


def import_(
    context: typer.Context,
    file: Annotated[Path, _FILE],
    source: options.SourceOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Take over an index that another site has exported, of the archives that are the same here.

    They are known by size and sampled headers; each image's header is looked
    at when it is first read.
    """
    settings = options.settings_of(context)
    if settings.index_dir is None:
        raise UsageError("`index import` writes index files; give it a directory with --index-dir.")
    opened = catalogue_of(settings)
    from imagenetfs.index.index_file import merge_missing
    from imagenetfs.index.transfer import imported

    catalogue = opened.catalogue
    by_path = {archive.path: archive for archive in catalogue.archives}
    try:
        found, carried = imported(catalogue.source, by_path, file)
    except ArchiveError as error:
        raise UsageError(f"{file} is no exported index: {error.reason}.") from error
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.") from error
    for group, numbers in catalogue.groups(sorted(found)).items():
        target = opened.places.file(group)
        assert target is not None
        records = [record for number in numbers for record in found[number]]
        take = partial(catalogue.index.builder.coordinator.lease, target)
        try:
            lease = in_turn(take, f"{group} is being indexed")
            try:
                merge_missing(target, records)
            finally:
                lease.release()
        except OSError as error:
            what = f"the index file {target}"
            raise not_writable(what, error, ANOTHER_PLACE) from error
    for reason in carried.refused:
        say(f"left out: {reason}.")
    show(f"{counted(carried.tables, 'table')}, {counted(carried.members, 'member')}")
    if not carried.tables:
        raise IndexWrongError(f"{file} describes none of the archives of {opened.path}.")
