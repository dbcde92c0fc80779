"""``imagenetfs enter [JOB] [-- COMMAND]``: a shell or command where a
namespaced mount can be seen.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer

from imagenetfs.cli.commands import Arranged
from imagenetfs.cli.parser import App, with_usage
from imagenetfs.cli.terminal import say
from imagenetfs.job import command as commands
from imagenetfs.job import signals
from imagenetfs.job.mount_handle import release
from imagenetfs.job.namespace import enter as enter_namespace


def register(app: App) -> None:
    """Add this command."""
    usage = "[JOB] [-- COMMAND [ARGUMENT]...]"
    app.command("enter", cls=with_usage(usage))(enter)


def enter(
    context: typer.Context,
    job: Annotated[
        str | None,
        typer.Argument(
            metavar="JOB", help="The job; this one, or the only one here.", show_default=False
        ),
    ] = None,
) -> int:
    """Open a shell, or run a command, within the namespace of `run --namespace`.

    From outside its mount is not to be seen. `{mnt}` and $IMAGENETFS_MOUNT are as in `run`.
    """
    arranged = context.obj
    command = arranged.command if isinstance(arranged, Arranged) else None
    signals.raise_when_told_to_end()
    handle = enter_namespace(job, os.environ, say)
    try:
        filled = commands.fill_in(command or [_shell()], str(handle.mountpoint))
        return commands.run(filled, {**os.environ, **handle.variables})
    finally:
        release(handle, say)


def _shell() -> str:
    return os.environ.get("SHELL") or "/bin/sh"
