"""Where a mount keeps things on this node, by the settings: its read cache, and its indexes."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from imagenetfs.cache.directory import CacheDirectory, prepare, unfit_type
from imagenetfs.cache.quota import CacheSetup, Limits, limits_of
from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError, NoSpaceError, UsageError
from imagenetfs.system import child_call
from imagenetfs.system.patience import ask

Say = Callable[[str], None]

_LOOK_SECONDS = 5.0

ADVICE = (
    "Give another directory: --index-dir DIR or $IMAGENETFS_INDEX_DIR (`none` keeps it in memory)."
)


# --- the cache ------------------------------------------------------------------------------------


def prepare_cache(settings: Settings, say: Say | None = None) -> CacheSetup | None:
    """The cache, its directory made; None where there is none.

    A directory that a user has named and that cannot be used raises PlaceRefusedError or
    NoSpaceError; where it is $SLURM_TMPDIR's, by default, there is no cache
    then, and a line says why.
    """
    directory, named = settings.cache_dir, settings.origins.get("cache_dir") != "default"
    if directory is None:
        if settings.stage:
            raise UsageError("Staging needs a cache: name a directory on this node by --cache-dir.")
        return None
    kind = None if named else unfit_type(directory)
    try:
        if kind is not None:
            raise NoSpaceError(
                f"{directory} is on {kind}, where a cache makes no sense unless "
                "--cache-dir names it."
            )
        prepare(directory)
        return CacheSetup(directory, _limits(directory, settings))
    except ImagenetfsError as error:
        if named or settings.stage:
            raise
        if say is not None:
            say(f"there is no cache: {error}")
        return None


def _limits(directory: Path, settings: Settings) -> Limits:
    opened = CacheDirectory(directory)
    try:
        return limits_of(opened, settings.cache_size.of, settings.keep_free.of)
    except OSError as error:
        raise NoSpaceError(
            f"The cache directory {directory} cannot be used: {os.strerror(error.errno or 0)}."
        ) from error
    finally:
        opened.close()


# --- the index ------------------------------------------------------------------------------------


def index_dir_problem(directory: Path | None) -> str | None:
    """Why no index file can be written there, with what to do; None where
    one can, or none is wanted.

    The directory need not exist. Nothing is written.
    """
    if directory is None:
        return None
    try:
        reason = ask(lambda: _obstacle(directory), _LOOK_SECONDS)
    except child_call.NoAnswerError:
        reason = "its file system does not answer"
    except OSError as error:
        reason = error.strerror
    if reason is None:
        return None
    return f"no index can be kept in {directory}, so each mount indexes anew: {reason}. {ADVICE}"


@dataclass(frozen=True, slots=True)
class IndexLocations:
    """Where indexes are written (None: nowhere) and looked for, and why not where the settings say,
    for people.
    """

    written: Path | None
    path: tuple[Path, ...]
    problem: str | None


def index_places(settings: Settings) -> IndexLocations:
    """The places of the settings; a directory that another user could exchange is only read."""
    written, path = settings.index_dir, settings.index_path
    problem = index_dir_problem(written)
    if written is not None and problem and belongs_to_another(written):
        path, written = (written, *path), None
    return IndexLocations(written, path, problem)


def belongs_to_another(directory: Path) -> bool:
    """Whether another user than root could exchange what is written there."""
    try:
        return bool(ask(lambda: _whose(_existing(directory)), _LOOK_SECONDS))
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
