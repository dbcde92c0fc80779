"""What the mounts of this user say of themselves."""

from __future__ import annotations

import json
import os
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from imagenetfs.errors import NotMountedError
from imagenetfs.job.cache_fill import fills_of
from imagenetfs.system import child_call, mounts
from imagenetfs.system.patience import PATIENCE, ask

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
    try:
        return _parsed(ask(partial(_read, mountpoint), ANSWER_SECONDS))
    except (OSError, child_call.NoAnswerError):
        return None


def _read(mountpoint: str) -> str:
    with (Path(mountpoint) / STATUS_FILE).open("rb") as file:
        return file.read(_MOST_BYTES).decode(errors="replace")


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        content = json.loads(text)
    except ValueError:
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
    """All mounts of this user, or the one at ``path``; raises NotMountedError if there is none.

    What their caches hold, they do not say: see :func:`add_cache_fill`.
    """
    if path is None:
        return _ask(mounts.our_mounts(uid=os.geteuid()))
    mountpoint = mounts.resolve(path)
    entry = mounts.find_mount(mountpoint)
    if entry is None or not entry.is_ours:
        raise NotMountedError(
            f"No mount of imagenetfs is at {mountpoint} on this node: `imagenetfs status` lists "
            "your mounts here. A mount is seen on no other node than its own; make one here: "
            f"imagenetfs mount SOURCE {shlex.quote(str(mountpoint))}"
        )
    return _ask([entry])


def add_cache_fill(found: Sequence[MountStatus]) -> None:
    """Add to what mounts say what their caches hold now (`used` and `held` of `cache`)."""
    for entry, fill in zip(found, fills_of([each.details for each in found]), strict=True):
        if fill is not None:
            entry.details["cache"] |= fill


def _ask(entries: Sequence[mounts.MountEntry]) -> list[MountStatus]:
    """All at once: together they take no longer than one that does not answer."""
    with PATIENCE.waiting(ANSWER_SECONDS) as seconds:
        deadline = time.monotonic() + seconds
        calls = [child_call.ChildCall(partial(_read, entry.mountpoint)) for entry in entries]
        return [_status(entry, call, deadline) for entry, call in zip(entries, calls, strict=True)]


def _status(entry: mounts.MountEntry, call: child_call.ChildCall, deadline: float) -> MountStatus:
    state, details = "silent", None
    try:
        details = _parsed(call.answer(deadline))
    except child_call.NoAnswerError:
        pass
    except OSError as error:
        if mounts.is_of_dead_server(error):
            state = "stale"
    if details is None:
        return MountStatus(entry.mountpoint, entry.source, state)
    source = str(details.get("source", entry.source))
    return MountStatus(entry.mountpoint, source, "live", details)
