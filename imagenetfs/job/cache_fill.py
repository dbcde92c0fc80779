"""How full a mount's read cache is, of which data: asked of its directory by the command."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from imagenetfs.system import child_call
from imagenetfs.system.patience import PATIENCE

ANSWER_SECONDS = 1.0
"""A cache's disk that takes longer is not waited for: what the mount says is worth more."""


def fills_of(several: Sequence[Mapping[str, Any]]) -> list[dict[str, Any] | None]:
    """What the cache of each mount holds, by its status.json: ``used`` bytes on the disk, and
    ``held`` bytes of this source, by version or split. None where there is no cache, or no answer
    in time. All are asked at once.
    """
    with PATIENCE.waiting(ANSWER_SECONDS) as seconds:
        deadline = time.monotonic() + seconds
        calls = [_begun(details) for details in several]
        return [_answer(call, deadline) for call in calls]


def _begun(details: Mapping[str, Any]) -> child_call.ChildCall | None:
    cache = details.get("cache")
    if not isinstance(cache, Mapping) or not cache.get("directory"):
        return None
    directory, source = str(cache["directory"]), str(details.get("source"))
    return child_call.ChildCall(partial(_look, directory, source, _splits(details)))


def _answer(call: child_call.ChildCall | None, deadline: float) -> dict[str, Any] | None:
    if call is None:
        return None
    try:
        found = call.answer(deadline)
    except (OSError, child_call.NoAnswerError):
        return None
    return found if isinstance(found, dict) else None


def _splits(details: Mapping[str, Any]) -> dict[str, str]:
    """VERSION/SPLIT by the titles of its archives, where the mount says which these are."""
    versions = details.get("versions")
    if not isinstance(versions, Mapping):
        return {}
    return {
        str(title): f"{version}/{split}"
        for version, splits in versions.items()
        for split, facts in splits.items()
        for title in facts.get("archives", ())
    }


def _look(directory: str, source: str, splits: Mapping[str, str]) -> dict[str, Any]:
    """In a child: what is in a cache's directory. Raises OSError."""
    from imagenetfs.cache.directory import CacheDirectory
    from imagenetfs.cache.inventory import list_volumes
    from imagenetfs.errors import ImagenetfsError

    try:
        opened = CacheDirectory(Path(directory))
    except ImagenetfsError as error:
        raise OSError(0, str(error)) from error
    used, held = 0, dict[str, int]()
    for volume in list_volumes(opened):
        used += volume.allocated
        if volume.source == source:
            name = splits.get(volume.archive.partition(": ")[0], volume.version or "other data")
            held[name] = held.get(name, 0) + volume.bytes
    return {"used": used, "held": held}
