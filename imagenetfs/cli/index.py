"""``imagenetfs index``: build the member index before the first job needs it, check it, carry it along."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from imagenetfs import config
from imagenetfs.cli import indexfiles, options
from imagenetfs.cli.indexing import Named, build_group, catalogue_of, named
from imagenetfs.cli.progress import ProgressBar
from imagenetfs.cli.terminal import say
from imagenetfs.errors import BrokenArchivesError, NoSpaceError, UsageError

if TYPE_CHECKING:
    from imagenetfs.index.groups import Shard
    from imagenetfs.index.warm import Outcome, Progress

_BUILD = "index"
_USAGE = "[OPTIONS] [SOURCE] [VERSION[/SPLIT]...]"
_EPILOG = (
    "`imagenetfs index check` verifies an index, `index export` and `index import` carry it to another "
    "site; each has a `--help`. A directory of such a name is given as `./check`."
)


class _IndexGroup(TyperGroup):
    """Commands below ``index``, and ``index`` itself, which takes everything that is none of them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        named = args[:1] and args[0] != _BUILD and args[0] in self.commands
        return list(super().parse_args(ctx, args if named else [_BUILD, *args]))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _BUILD else name, command, rest


def register(app: typer.Typer) -> None:
    """Add this command."""
    group = typer.Typer(cls=_IndexGroup, add_help_option=False, no_args_is_help=False)
    build = options.with_usage(_USAGE)
    group.command(_BUILD, cls=build, epilog=_EPILOG)(index)
    indexfiles.register(group)
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

    A mount indexes what is touched by itself; this does it ahead, once for all later mounts. What is
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
    broken: list[str] = []
    requests = settings.in_flight or config.IN_FLIGHT_BY_ITSELF
    for group, archives in opened.groups(names).items():
        target = opened.places.file(group)
        assert target is not None
        start = time.monotonic()
        with ProgressBar(f"Indexing {group}", unit="members") as bar:

            def progress(now: Progress, bar: ProgressBar = bar) -> None:
                # Members in all are not known beforehand; containers are.
                total = now.members * now.total / now.done if now.done else None
                bar.update(now.members, total)

            try:
                outcome = build_group(opened, group, archives, requests, progress, part)
            except OSError as error:
                raise NoSpaceError(
                    f"the index file {target} cannot be written: {error.strerror}; "
                    "give another directory with --index-dir."
                ) from error
            bar.update(outcome.members, outcome.members)
        seconds = time.monotonic() - start
        print(_summary(group, outcome, part.file(target) if part else target, seconds))
        broken += outcome.broken
    if broken:
        raise BrokenArchivesError(
            "broken archives, of which only the whole members serve: " + "; ".join(broken)
        )


def _shard(text: str | None) -> Shard | None:
    from imagenetfs.index.groups import Shard

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
    each = (
        f", index {size / outcome.members:.1f} bytes a member" if outcome.members and size else ""
    )
    kept = "" if outcome.made else ", all indexed before"
    return (
        f"{group}: {outcome.containers:,} tables, {outcome.members:,} members{kept}{each}, "
        f"in {seconds:.1f} s"
    )
