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


def belongs_to_another(directory: Path) -> bool:
    """Whether another user than root could exchange what is written there."""
    try:
        return bool(child_call.call_in_child(lambda: _whose(_existing(directory)), _SECONDS))
    except (child_call.NoAnswerError, OSError):
        return False


def _existing(directory: Path) -> Path:
    return next(path for path in (directory, *directory.parents) if os.path.lexists(path))


def _whose(existing: Path) -> str | None:
    own = (0, os.geteuid())
    if existing.lstat().st_uid not in own:
        kind = "is a symbolic link of" if existing.is_symlink() else "belongs to"
        return f"{existing} {kind} another user"
    return None if existing.stat().st_uid in own else f"{existing} leads to another user's"


def _obstacle(directory: Path) -> str | None:
    existing = _existing(directory)
    if not existing.is_dir():
        return f"{existing} is no directory"
    others = _whose(existing)
    if others is not None:
        return others
    if os.access(existing, os.W_OK | os.X_OK, effective_ids=True):
        return None
    is_read_only = os.statvfs(existing).f_flag & os.ST_RDONLY
    return f"{existing} is {'read-only' if is_read_only else 'not writable for you'}"
