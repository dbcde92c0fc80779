"""``imagenetfs status [MOUNTPOINT]``: the mounts of this user, and what they are doing."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from imagenetfs.cli import completion
from imagenetfs.cli.status_view import lines_of, show_lines
from imagenetfs.cli.terminal import say, show, show_json
from imagenetfs.errors import UsageError
from imagenetfs.job.status import add_cache_fill, collect

NO_MOUNT = "this user has no mount of imagenetfs here."


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("status")(status)


def status(
    mountpoint: Annotated[
        str | None,
        typer.Argument(
            metavar="[MOUNTPOINT]",
            help="One mount; all of this user without it.",
            autocompletion=completion.mountpoints,
        ),
    ] = None,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            "-w",
            help="Go on until Ctrl-C: a live screen, or a line every ten seconds where "
            "standard output is no terminal.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    metrics: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write Prometheus metrics to FILE, for node_exporter's textfile collector; "
            "with --watch every ten seconds.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Show what mounts do now, what limits the readers, progress, and problems."""
    if as_json and (watch or metrics is not None):
        raise UsageError("--json goes with neither --watch nor --metrics.")
    if watch:
        from imagenetfs.cli.status_watch import watch as go_on

        go_on(mountpoint, metrics)
        return
    found = collect(mountpoint)
    add_cache_fill(found)
    if metrics is not None:
        from imagenetfs.cli.status_metrics import write_metrics

        write_metrics(metrics, found)
        return
    if as_json:
        show_json([entry.as_json() for entry in found])
        return
    if not found:
        say(NO_MOUNT)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    for at, entry in enumerate(found):
        if at and width is not None:
            show("")
        show_lines(lines_of(entry), width)
