"""``imagenetfs umount MOUNTPOINT``: take a mount away, and wait until it
and its server are gone.
"""

from __future__ import annotations

from typing import Annotated

import typer

from imagenetfs.cli import completion
from imagenetfs.cli.parser import App
from imagenetfs.cli.terminal import say
from imagenetfs.job.unmount import unmount


def register(app: App) -> None:
    """Add this command."""
    app.command("umount")(umount)


def umount(
    mountpoint: Annotated[
        str,
        typer.Argument(
            metavar="MOUNTPOINT",
            help="Where it is mounted.",
            autocompletion=completion.mountpoints,
        ),
    ],
    lazy: Annotated[
        bool,
        typer.Option(
            "--lazy", "-z", help="Take it away at once; files that are open stay readable a while."
        ),
    ] = False,
) -> None:
    """Unmount, and come back when the mount and its server are gone."""
    unmount(mountpoint, lazy=lazy, say=say)
