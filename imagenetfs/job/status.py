"""What the mounts of this user say of themselves."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from imagenetfs.errors import NotMountedError
from imagenetfs.job import preflight
from imagenetfs.system import child_call, mounts

STATUS_FILE = Path(".imagenetfs/status.json")
ANSWER_SECONDS = 3.0
MAX_PROBLEMS = 10

_MOST_BYTES = 1 << 24


@dataclass(frozen=True, slots=True)
class MountStatus:
    """One mount. ``state``: `live`, `stale` (its server has gone), or `silent` (no answer)."""

    mountpoint: str
    source: str
    state: str
    details: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """What the server says, with what the mount table says on top."""
        return {
            **self.details,
            "mountpoint": self.mountpoint,
            "source": self.source,
            "state": self.state,
        }


def read_status(mountpoint: str) -> dict[str, Any] | None:
    """A mount's status.json; None if no answer came in time, or none that makes sense."""
    path = Path(mountpoint) / STATUS_FILE

    def read() -> str:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode()

    try:
        content = json.loads(child_call.call_in_child(read, ANSWER_SECONDS))
    except (OSError, ValueError, child_call.NoAnswerError):
        return None
    return content if isinstance(content, dict) else None


def problems_of(mountpoint: str, most: int = MAX_PROBLEMS) -> list[str]:
    """What went wrong since the mount began, a sentence each; beyond ``most`` only how many more.

    Empty where the mount does not answer in time: then its log has it.
    """
    found = [str(problem) for problem in (read_status(mountpoint) or {}).get("problems", ())]
    if len(found) <= most:
        return found
    return [*found[:most], f"and {len(found) - most:,} problems more: see the mount's log."]


def source_of(entry: mounts.MountEntry) -> str:
    """The source of a mount, as its server has it; the mount table has no more than ASCII."""
    return str((read_status(entry.mountpoint) or {}).get("source", entry.source))


def collect(path: str | None = None) -> list[MountStatus]:
    """All mounts of this user, or the one at ``path``; raises NotMountedError if there is none."""
    if path is None:
        return [_look_at(entry) for entry in mounts.our_mounts(uid=os.geteuid())]
    mountpoint = mounts.resolve(path)
    entry = mounts.find_mount(mountpoint)
    if entry is None or not entry.is_ours:
        raise NotMountedError(
            f"No mount of imagenetfs is at {mountpoint}: `imagenetfs status` lists your mounts."
        )
    return [_look_at(entry)]


def _look_at(entry: mounts.MountEntry) -> MountStatus:
    details = read_status(entry.mountpoint)
    if details is not None:
        source = str(details.get("source", entry.source))
        return MountStatus(entry.mountpoint, source, "live", details)
    dead = preflight.health(entry) is preflight.Health.DEAD
    return MountStatus(entry.mountpoint, entry.source, "stale" if dead else "silent")
