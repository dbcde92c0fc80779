"""The read cache's directory and limits, from the settings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from imagenetfs.cache.directory import CacheDirectory, prepare, unfit_type
from imagenetfs.cache.quota import Limits, limits_of
from imagenetfs.config import Settings
from imagenetfs.errors import ImagenetfsError, NoSpaceError, UsageError
from imagenetfs.server.mount_plan import CacheSetup

Say = Callable[[str], None]


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
