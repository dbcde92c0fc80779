"""What to mount where, as the server's process is told: values alone, nothing that is open.

``job`` makes a plan of a user's settings (:class:`imagenetfs.config.Settings`); the server makes
its parts of it (:mod:`imagenetfs.server.mount_context`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from imagenetfs.cache.quota import CacheSetup

if TYPE_CHECKING:
    from imagenetfs.source.file_state import Ownership


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The settings by which a mount is served; each has the name that it has in the table of
    settings, from which the job fills them in by name.

    ``workers``: the most worker processes. ``in_flight``: requests to the source at one time (None:
    as many as it bears). ``index_dir``: where tables are kept (None: nowhere), ``index_path``:
    where else they are searched for. ``read_timeout`` and ``revalidate`` are in seconds. ``view``:
    name and list file of each. ``stage``: what is fetched ahead, as VERSION or VERSION/SPLIT.
    """

    workers: int
    in_flight: int | None
    index_dir: Path | None
    index_path: tuple[Path, ...] = ()
    read_timeout: float
    revalidate: float = 60.0
    prefer: str = "archives"
    view: tuple[tuple[str, Path], ...] = ()
    stage: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """One mount.

    ``cache``: None for none. ``log_path``: the log that the mount shows, from its byte
    ``log_start`` on. ``shown_to``: the primary
    group of the readers, where it is not this process's. ``root_access``: owner, group and
    permission bits of the root directory in a mount for all users, in which all else has the rights
    of the source. ``idle``: the mount ends when it was unused for so many seconds.
    ``heed_signals``: whether SIGTERM, SIGINT and SIGHUP end the mount; without it a watcher alone
    does. ``warnings``: for the users, beside those that the source gives rise to.
    """

    source: Path
    mountpoint: Path
    settings: ServerSettings
    cache: CacheSetup | None = None
    fuse_options: tuple[str, ...] = ()
    log_path: Path | None = None
    log_start: int = 0
    shown_to: str | None = None
    root_access: Ownership | None = None
    idle: float | None = None
    heed_signals: bool = True
    warnings: tuple[str, ...] = ()
