"""Whether an index can be kept where the settings say."""

from __future__ import annotations

import os
from pathlib import Path

from imagenetfs.system import child_call

_SECONDS = 5.0

ADVICE = (
    "Give another directory: --index-dir DIR or $IMAGENETFS_INDEX_DIR (`none` keeps it in memory)."
)


def index_dir_problem(directory: Path | None) -> str | None:
    """Why no index file can be written there, with what to do; None where
    one can, or none is wanted.

    The directory need not exist. Nothing is written.
    """
    if directory is None:
        return None
    try:
        reason = child_call.call_in_child(lambda: _obstacle(directory), _SECONDS)
    except child_call.NoAnswerError:
        reason = "its file system does not answer"
    except OSError as error:
        reason = error.strerror
    if reason is None:
        return None
    return f"no index can be kept in {directory}, so each mount indexes anew: {reason}. {ADVICE}"


def _obstacle(directory: Path) -> str | None:
    existing = next(path for path in (directory, *directory.parents) if os.path.lexists(path))
    if not existing.is_dir():
        return f"{existing} is no directory"
    if os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return None
    is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
    return f"{existing} is {'read-only' if is_read_only else 'not writable for you'}"
