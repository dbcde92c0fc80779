"""``imagenetfs index``: build the member index before the first job needs it,
check it, carry it along.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imagenetfs.cli import index_files, options
from imagenetfs.cli.index_common import (
    ANOTHER_PLACE,
    Named,
    Opened,
    build_group,
    catalogue_of,
    counted,
    named,
    not_writable,
)
from imagenetfs.cli.parser import App, Command, Group, with_usage
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say, show
from imagenetfs.errors import (
    BrokenArchivesError,
    ImagenetfsError,
    SourceUnreadableError,
    UsageError,
)
from imagenetfs.units import in_bytes

if TYPE_CHECKING:
    from imagenetfs.index.bulk_build import BuildProgress, Outcome
    from imagenetfs.index.group_build import Shard
    from imagenetfs.index.index import Index

_BUILD = "index"
_MOST_NAMED = 5
_USAGE = "[OPTIONS] [SOURCE] [VERSION[/SPLIT]...]"
_EPILOG = (
    "`imagenetfs index check` verifies an index, `index export` and `index import` carry it to "
    "another site; each has a `--help`. A directory of such a name is given as `./check`."
)


_PARSER_CONTEXT: Any = Command.context_class


class _IndexGroup(Group):
    """Commands below ``index``, and ``index`` itself, which takes
    everything that is none of them.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1] and args[0] != _BUILD and args[0] in self.commands
        return list(super().parse_args(ctx, args if named else [_BUILD, *args]))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _BUILD else name, command, rest


class _Context(_PARSER_CONTEXT):  # type: ignore[misc]
    """That of a command without a name: its path ends with its parent's."""

    @property
    def command_path(self) -> str:
        return str(super().command_path).rstrip()


class _BuildCommand(with_usage(_USAGE)):  # type: ignore[misc]
    """``index`` itself."""

    context_class = _Context


def register(app: App) -> None:
    """Add this command."""
    group = App(cls=_IndexGroup, add_help_option=False, no_args_is_help=False)
    group.command(_BUILD, cls=_BuildCommand, epilog=_EPILOG)(index)
    index_files.register(group)
    app.add_typer(group, name="index", help=f"{(index.__doc__ or '').splitlines()[0]}")


def index(
    context: typer.Context,
    what: Named = None,
    shard: Annotated[
        str | None,
        typer.Option(
            metavar="I/N",
            help="Do part I of N, counted from 1: for arrays of jobs. The last one unites them.",
        ),
    ] = None,
    source: options.SourceOption = None,
    in_flight: options.InFlightOption = None,
    index_dir: options.IndexDirOption = None,
    prefer: options.PreferOption = None,
) -> None:
    """Index all archives now, or the named versions and splits, so that no job waits for it.

    A mount indexes what is touched; this does it ahead, once for all later mounts. What is
    indexed already is not read again. Ctrl-C keeps what is finished.
    """
    root, names = named(what, source)
    settings = options.settings_of(context, root)
    part = _shard(shard)
    if settings.index_dir is None:
        raise UsageError("`index` writes index files; give it a directory with --index-dir.")
    opened = catalogue_of(settings)
    for warning in opened.catalogue.warnings:
        say(f"warning: {warning}")
    groups = opened.groups(names)
    try:
        _build(opened, groups, settings.in_flight, part)
    except KeyboardInterrupt:
        archives = [number for numbers in groups.values() for number in numbers]
        say(f"interrupted; kept: {_known(opened, archives)}. The next run goes on from there.")
        raise


class _MemberProgress:
    """Shows how many members were found now. How many there will be is not known beforehand: how
    many containers there are to read is.
    """

    def __init__(self, bar: ProgressBar) -> None:
        self._bar = bar
        self._before: int | None = None
        self._found = 0

    def __call__(self, now: BuildProgress) -> None:
        if self._before is None:
            self._before = now.done
        self._found, read = now.members, now.done - self._before
        total = now.members * (now.total - self._before) / read if read else None
        self._bar.update(now.members, total)

    def end(self, members: int) -> None:
        """All is done: there are so many files, those that were known before among them."""
        self._bar.update(members, members, there=max(0, members - self._found))


def _build(
    opened: Opened, groups: dict[str, list[int]], in_flight: int | None, part: Shard | None
) -> None:
    """Index group by group, and tell of each; raise at the end for what could not be indexed."""
    broken: list[str] = []
    unread: list[str] = []
    for group, archives in groups.items():
        target = opened.places.file(group)
        assert target is not None
        start = time.monotonic()
        with ProgressBar(f"Indexing {group}", unit="files") as bar:
            progress = _MemberProgress(bar)
            try:
                outcome = build_group(opened, group, archives, in_flight, progress, part)
            except OSError as error:
                what = f"the index file {target}"
                raise not_writable(what, error, ANOTHER_PLACE) from error
            progress.end(outcome.files)
        seconds = time.monotonic() - start
        show(_summary(group, outcome, part.file(target) if part else target, seconds))
        broken += outcome.broken
        unread += _reasons(opened.catalogue.index, outcome.left)
    _raise_if(broken, unread)


def _known(opened: Opened, archives: list[int]) -> str:
    """How many tables there are by now."""
    from imagenetfs.index.bulk_build import containers

    index = opened.catalogue.index
    return counted(sum(index.known(*item) for item in containers(index, archives)), "table")


def _reasons(index: Index, left: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Why archives were left out, each in half a sentence; of many the first ones."""
    for item in left[:_MOST_NAMED]:
        try:
            index.container(*item)
        except ImagenetfsError as error:
            yield f"{index.title(*item)} ({str(error).rstrip('.')})"
    if len(left) > _MOST_NAMED:
        yield f"{len(left) - _MOST_NAMED:,} others"


def _raise_if(broken: list[str], unread: list[str]) -> None:
    """End with 13 or 11 where something could not be indexed, all of it named."""
    said = []
    if broken:
        said.append("broken archives, of which only the whole members serve: " + "; ".join(broken))
    if unread:
        said.append("not indexed, for they cannot be read: " + "; ".join(unread))
    if said:
        kind = BrokenArchivesError if broken else SourceUnreadableError
        raise kind(f"{'; '.join(said)}. Where there is an extracted directory a mount shows that.")


def _shard(text: str | None) -> Shard | None:
    from imagenetfs.index.group_build import Shard

    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,5})/(\d{1,5})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(
            f"--shard must be I/N with I from 1 to N, not {text!r}; in an array of 4 jobs, "
            "1/4 to 4/4."
        )
    return Shard(int(found[1]), int(found[2]))


def _summary(group: str, outcome: Outcome, target: Path, seconds: float) -> str:
    size = target.stat().st_size if target.exists() else 0
    kept = "" if outcome.made else ", all indexed before"
    index = f", index of {in_bytes(size)}" if size else ""
    return f"{group}: {counted(outcome.files, 'file')}{kept}{index}, in {seconds:.1f} s"
