"""``imagenetfs run [SOURCE] [--at MOUNTPOINT] -- COMMAND``: mount, run, unmount."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from imagenetfs.cli import options
from imagenetfs.cli.commands import Arranged
from imagenetfs.cli.parser import App, with_usage
from imagenetfs.cli.terminal import say
from imagenetfs.errors import UsageError
from imagenetfs.job import command as commands
from imagenetfs.job import signals
from imagenetfs.job.acquire import acquire, source_to_use
from imagenetfs.job.mount_handle import MountHandle, release
from imagenetfs.job.requirements import check_required
from imagenetfs.job.status import problems_of, read_status
from imagenetfs.units import in_bytes

_SummaryOption = Annotated[
    bool,
    typer.Option(
        "--summary",
        help="Say at the end what was read, and from where. Of several runs that share a mount the "
        "last one says it.",
    ),
]


def register(app: App) -> None:
    """Add this command."""
    usage = "[OPTIONS] [SOURCE] -- COMMAND [ARGUMENT]..."
    app.command("run", cls=with_usage(usage))(run)


@options.takes_those_of_a_mount
def run(
    context: typer.Context,
    place: Annotated[
        str | None, typer.Argument(metavar="SOURCE", help="What to mount.", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="MOUNTPOINT", help="Where to mount.", show_default=False),
    ] = None,
    own_namespace: Annotated[
        bool | None,
        typer.Option(
            "--namespace/--no-namespace",
            help="Mount in a namespace of the job's own: needs no fusermount3, and nothing of it "
            "can stay behind. The default where fusermount3 does not work.",
            show_default=False,
        ),
    ] = None,
    summary: _SummaryOption = False,
    **shared: options.OfAMount,
) -> int:
    """Mount, run a command, and unmount when it ends, whatever way it ends.

    `{mnt}` in the command's arguments becomes the mountpoint; $IMAGENETFS_MOUNT holds it too. The
    exit code is the command's; 125 if the mount failed, 126 or 127 if the command did not start.
    Several runs on one node share one mount.
    """
    arranged = context.obj
    command = arranged.command if isinstance(arranged, Arranged) else None
    if not command:
        raise UsageError("Put `--` before the command: imagenetfs run -- python train.py {mnt}")
    asked = {True: {"namespace": "always"}, False: {"namespace": "never"}, None: {}}
    settings = options.settings_of(context, place, asked[own_namespace])
    signals.raise_when_told_to_end()  # until there is a command to pass them on to
    if settings.require:
        check_required(source_to_use(settings, Path(at) if at else None, os.environ), settings, say)
    handle = acquire(settings, Path(at) if at else None, os.environ, say)
    try:
        for doubt in commands.doubts(command):
            say(f"warning: {doubt}")
        filled = commands.fill_in(command, str(handle.mountpoint))
        return commands.run(filled, {**os.environ, **handle.variables})
    finally:
        _end(handle, summary)


def _end(handle: MountHandle, is_summed_up: bool) -> None:
    """Say what is to be said of a mount, and give it back."""
    mountpoint = str(handle.mountpoint)
    for problem in problems_of(mountpoint):
        say(problem, always=True)
    summary = summary_of(mountpoint) if is_summed_up else ""
    if not release(handle, say) and summary:
        say(summary, always=True)


def summary_of(mountpoint: str) -> str:
    """A sentence on what a mount has read so far, and from where; for the end of a run."""
    status = read_status(mountpoint)
    if status is None:
        return "summary: none, for the mount does not answer. Its log may say why."
    counters = status.get("counters", {})
    source, cached = counters.get("source_bytes", 0), counters.get("cache_bytes", 0)
    parts = [f"{in_bytes(source)} from {status.get('source')}"]
    if cached:
        parts.append(f"{in_bytes(cached)} from the read cache")
    if source + cached > counters.get("bytes_served", 0):
        parts[0] += ", with headers and what lies around the images"
    problems = len(status.get("problems", ()))
    said = {0: "no problems", 1: "1 problem, said above"}
    return (
        f"summary: {counters.get('images_read', 0):,} images read, "
        f"{in_bytes(counters.get('bytes_served', 0))} served ({', '.join(parts)}); "
        f"{said.get(problems, f'{problems:,} problems, said above')}."
    )
