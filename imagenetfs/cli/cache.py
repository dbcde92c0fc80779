"""``imagenetfs cache ls|verify|clear``: what is in the read cache of this node."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from imagenetfs.cli import completion, options
from imagenetfs.cli.parser import App, Group
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show, show_json, table
from imagenetfs.errors import NoSpaceError, UsageError, did_you_mean
from imagenetfs.units import in_bytes, in_time

if TYPE_CHECKING:
    from imagenetfs.cache.directory import CacheDirectory
    from imagenetfs.cache.inventory import VolumeUsage


def register(app: App) -> None:
    """Add these commands."""
    group = App(cls=Group, help="Look into the read cache of this node, verify it, clear it.")
    group.command("ls")(ls)
    group.command("verify")(verify)
    group.command("clear")(clear)
    app.add_typer(group, name="cache", no_args_is_help=True)


@contextmanager
def _directory(context: typer.Context) -> Iterator[CacheDirectory]:
    """The cache's directory; raises UsageError where none is set or there."""
    from imagenetfs.cache.directory import CacheDirectory

    path = options.settings_of(context).cache_dir
    if path is None:
        raise UsageError("No cache is set: name its directory by --cache-dir.")
    if not os.path.lexists(path):
        raise UsageError(f"There is no cache in {path}: nothing has been kept there yet.")
    directory = CacheDirectory(path)
    try:
        yield directory
    except OSError as error:
        raise NoSpaceError(f"The cache in {path} cannot be used: {error.strerror}.") from error
    finally:
        directory.close()


def ls(
    context: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    cache_dir: options.CacheDirOption = None,
) -> None:
    """Show what is kept of each archive, and what that saved."""
    from imagenetfs.cache.inventory import list_volumes
    from imagenetfs.cache.segment_handles import TELL_SECONDS

    with _directory(context) as directory:
        found = list_volumes(directory)
        if as_json:
            show_json([asdict(one) for one in found])
            return
        head = ("version", "archive", "kept", "part", "hits", "misses", "saved", "last used")
        table(head, [_line(one) for one in found])
        allocated = sum(one.allocated for one in found)
        say(
            f"{in_bytes(allocated)} in {directory.path}. Hits and misses are those of all mounts; "
            f"a running one adds its own every {TELL_SECONDS:.0f} s, as long as it is read from."
        )


def _line(one: VolumeUsage) -> tuple[str, ...]:
    part = f"{100 * one.bytes / one.size:.0f} %" if one.size else "-"
    ago = f"{in_time(time.time() - one.used)} ago"
    counts = (f"{one.hits:,}", f"{one.misses:,}", in_bytes(one.saved))
    return (one.version, one.archive, in_bytes(one.bytes), part, *counts, ago)


def verify(context: typer.Context, cache_dir: options.CacheDirOption = None) -> None:
    """Look at the checksum of every block; what is wrong is thrown away,
    and read again when needed.
    """
    from imagenetfs.cache.inventory import verify as look

    with _directory(context) as directory:
        with ProgressBar("Verifying", unit="MB", size=1e6) as bar:
            verdict = look(directory, bar.update)
        show(f"{verdict.right:,} blocks are right, {verdict.wrong:,} were damaged and are gone.")
        if verdict.files:
            show(f"{verdict.files:,} files were no segments any more and are gone.")


def clear(
    context: typer.Context,
    versions: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[VERSION]...",
            help="Of these versions alone; all without it.",
            autocompletion=completion.versions,
        ),
    ] = None,
    cache_dir: options.CacheDirOption = None,
) -> None:
    """Throw away what is kept. Running mounts go on, and read from the source."""
    from imagenetfs.cache.inventory import clear as remove

    with _directory(context) as directory:
        _check_versions(directory, versions or ())
        freed = remove(directory, lambda one: not versions or one.version in versions)
        show(f"{in_bytes(freed)} freed in {directory.path}.")


def _check_versions(directory: CacheDirectory, versions: Sequence[str]) -> None:
    """Raise UsageError for a name that is no version's, unless the cache
    holds something of that name.
    """
    from imagenetfs.cache.inventory import list_volumes
    from imagenetfs.tree.published_counts import VERSIONS

    if not versions:
        return
    there = {one.version for one in list_volumes(directory)}
    for name in versions:
        if name not in there and name not in VERSIONS:
            known = sorted(there | VERSIONS)
            raise UsageError(
                f"There is no version {name}: there are "
                f"{', '.join(known)}.{did_you_mean(name, known)}"
            )
