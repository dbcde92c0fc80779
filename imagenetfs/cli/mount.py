"""``imagenetfs mount [SOURCE] MOUNTPOINT``, and the bare form without the word."""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from imagenetfs.cli import mount_options as mountoptions
from imagenetfs.cli import options
from imagenetfs.cli.parser import App, with_usage
from imagenetfs.cli.terminal import is_on_terminal, say
from imagenetfs.config import Settings
from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import UsageError
from imagenetfs.job import logs, preflight, signals, slurm_step
from imagenetfs.job.mount_paths import MountLock, locked, prepare_paths
from imagenetfs.job.requirements import check_required
from imagenetfs.job.server import MountRequest, make_mountpoint, serve_mount
from imagenetfs.job.start import check_all, start_mount

_OOption = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        metavar="OPT,...",
        help="Options in the form of mount(8): allow_other, foreground, and each setting by "
        "its name (workers=16).",
    ),
]
_AllowOtherOption = Annotated[
    bool,
    typer.Option(
        "--allow-other",
        help="Let other users in, as far as the archives' modes do; /etc/fuse.conf must allow it.",
    ),
]
_ReadOnlyOption = Annotated[
    bool, typer.Option("--read-only", "-r", help="Of no effect: a mount is never written to.")
]


def register(app: App) -> None:
    """Add this command."""
    app.command("mount", cls=with_usage("[OPTIONS] [SOURCE] MOUNTPOINT"))(mount)


@options.takes_those_of_a_mount
def mount(
    context: typer.Context,
    places: Annotated[
        list[str],
        typer.Argument(metavar="[SOURCE] MOUNTPOINT", help="What to mount, and where."),
    ],
    foreground: Annotated[
        bool, typer.Option("--foreground", "-f", help="Stay here, and log to the terminal.")
    ] = False,
    mount_options: _OOption = None,
    allow_other: _AllowOtherOption = False,
    read_only: _ReadOnlyOption = False,
    idle: options.IdleOption = None,
    make: Annotated[
        bool,
        typer.Option("--make", help="Make the mountpoint, and remove it again with the mount."),
    ] = False,
    **shared: options.OfAMount,
) -> None:
    """Mount ImageNet's archives, and come back when the mount can be read.

    The server goes on in the background until `imagenetfs umount MOUNTPOINT`.
    """
    named = _source_of(places)
    asked = mountoptions.parse([*(mount_options or []), *(["allow_other"] if allow_other else [])])
    settings = options.settings_of(context, named, asked.settings)
    for note in asked.notes:
        say(note)
    mountpoint = preflight.resolved("mountpoint", places[-1])
    root = _root(settings, named, places[-1], mountpoint)
    request = MountRequest(
        paths=prepare_paths(mountpoint, settings, say),
        source=root,
        settings=settings,
        born="mount",
        fuse_options=tuple(asked.fuse),
    )
    signals.raise_when_told_to_end()
    check_required(request.source, settings, say)
    with locked(request.paths) as lock:
        if make:
            request = replace(request, made=make_mountpoint(request.paths.mountpoint, say))
        if foreground or asked.foreground:
            _serve_here(request, lock)
        else:
            _serve_in_background(request, lock)


def _source_of(places: list[str]) -> str | None:
    """The first of two arguments."""
    if len(places) > 2:
        raise UsageError(
            "mount takes SOURCE and MOUNTPOINT, or MOUNTPOINT alone. These are "
            f"{len(places)} words; a path with a space in it stands in quotes."
        )
    return places[0] if len(places) == 2 else None


def _root(settings: Settings, named: str | None, typed: str, mountpoint: Path) -> Path:
    """The source. Raises SourceMissingError where an argument was forgotten, or two are swapped."""
    source = settings.source or preflight.default_source(Path(typed).absolute())
    if named is not None:
        preflight.check_order(source, mountpoint)
    return source


def _serve_in_background(request: MountRequest, lock: MountLock) -> None:
    start_mount(request, lock, say)
    ends = slurm_step.warning_of(os.environ)
    if ends is not None:
        say(f"warning: {ends}")
    if is_on_terminal():
        place = shlex.quote(str(request.paths.mountpoint))
        say(
            f"{request.source} is mounted at {request.paths.mountpoint}. `imagenetfs status` shows "
            f"what it does, `imagenetfs umount {place}` ends it."
        )


def _serve_here(request: MountRequest, lock: MountLock) -> None:
    """Serve in this very process until the mount's end."""
    check_all(request, say)
    if not isinstance(request.settings.log, SystemLog):
        logs.to_stderr(request.settings.log_level)
    if request.settings.log is not None:
        log = logs.prepare(request.paths, request.settings)
        logs.install(request.settings, log)
        if not isinstance(request.settings.log, SystemLog):
            request = replace(request, log=log)

    def ready(warnings: list[str]) -> None:
        for warning in warnings:
            say(f"warning: {warning}")
        say(f"{request.source} is mounted at {request.paths.mountpoint}.")

    serve_mount(request, lock, ready)
