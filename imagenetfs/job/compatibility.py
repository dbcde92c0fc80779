"""A mount keeps the options that it was made with: what that means for a run that joins it.

Options that change what is shown must agree with the mount's. All others have no effect, and the
run says which.
"""

from __future__ import annotations

import os
from pathlib import Path

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.errors import MountpointInUseError
from imagenetfs.job.clients import ServerInfo


class OccupiedError(MountpointInUseError):
    """Another mount lies at this mountpoint; by default the next name is tried."""


def check_shown(mountpoint: Path, server: ServerInfo | None, settings: Settings) -> None:
    """See that the mount shows what was asked for; raises OccupiedError.

    ``server`` is None where no server answers for the mount: it may be another user's.
    """
    elsewhere = "choose another place with --at."
    if server is None:
        missing = [name for name, _ in settings.view if not (mountpoint / "views" / name).is_dir()]
    else:
        views = config.as_text(settings.view).split(os.pathsep) if settings.view else []
        shown = server.settings.get("view", "").split(os.pathsep)
        missing = [view for view in views if view not in shown]
        prefer = server.settings.get("prefer", settings.prefer)
        if settings.origins["prefer"] != "default" and prefer != settings.prefer:
            raise OccupiedError(
                f"The mount at {mountpoint} (process {server.pid}) prefers {prefer}, and not "
                f"{settings.prefer}: {elsewhere}"
            )
    if missing:
        raise OccupiedError(
            f"The mount at {mountpoint} does not show the view {missing[0]}: {elsewhere}"
        )


def without_effect(server: ServerInfo | None, settings: Settings) -> str | None:
    """A sentence that names what was asked for and does not hold in the mount that is joined;
    None where all of it does.
    """
    asked = config.texts_of_mount(settings)
    names = []
    for name in config.names_of_mount():
        origin = settings.origins[name]
        if server is None:
            differs = origin.startswith(
                "--"
            )  # what all of this user's commands get may be meant for others
        else:
            differs = origin != "default" and server.settings.get(name) != asked[name]
        if differs and name != "view":
            is_typed = origin.startswith(("--", "$"))
            names.append(origin if is_typed else f"{config.option_name(name)} ({origin})")
    if not names:
        return None
    whose = f"the mount of process {server.pid}" if server else "a mount that is there already"
    verb = "has" if len(names) == 1 else "have"
    return f"joined {whose}; {', '.join(names)} {verb} no effect there."
