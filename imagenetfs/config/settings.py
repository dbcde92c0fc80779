"""The table of settings: the class ``Settings`` itself. Each field carries its kind, its help, its
default, and whether the site may put a ceiling on it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from imagenetfs.config.value_types import (
    DURATION,
    LOG,
    PATH,
    PATH_OR_NONE,
    PATHS,
    REQUIREMENTS,
    SIZE,
    STAGES,
    TEXT,
    VIEWS,
    Size,
    SystemLog,
    ValueKind,
    at_home,
    choice,
    count,
)
from imagenetfs.limits import MAX_IN_FLIGHT, MAX_WORKERS


def cpus() -> int:
    """CPUs that this job really has (its affinity mask), not those of the machine."""
    return len(os.sched_getaffinity(0))


def _default_workers() -> int:
    return min(MAX_WORKERS, max(8, 2 * cpus()))


def _default_index_dir() -> Path:
    from platformdirs import user_cache_path

    return at_home(user_cache_path("imagenetfs")) / "index"


def _default_cache_dir() -> Path | None:
    """On the disk that the job has for itself on this node; else no cache."""
    directory = os.environ.get("SLURM_TMPDIR")
    return Path(directory) / "imagenetfs-cache" if directory else None


def _about(
    kind: ValueKind,
    default: object,
    help: str,
    *,
    group: str = "Advanced",
    ceiling: bool = False,
    of_mount: bool = False,
) -> Mapping[str, object]:
    """What the table says of a setting. A default that can be called is computed when needed.

    ``ceiling``: the site may cap it. ``of_mount``: a mount keeps it as long as it lives, and a run
    that joins the mount cannot change it. ``group``: its heading in a command's help.
    """
    about = {"kind": kind, "default": default, "help": help, "group": group}
    return {**about, "ceiling": ceiling, "of_mount": of_mount}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value; ``origins`` says where each came from."""

    source: Path | None = field(
        metadata=_about(
            PATH,
            None,
            "The directory that holds ImageNet's archives (where none is named).",
            group="Source",
        )
    )
    workers: int = field(
        metadata=_about(
            count(MAX_WORKERS),
            _default_workers,
            "Maximum number of worker processes (default: twice the CPUs, at least 8, at most 64).",
            ceiling=True,
            of_mount=True,
        )
    )
    in_flight: int | None = field(
        metadata=_about(
            count(MAX_IN_FLIGHT),
            None,
            "Requests to the source at one time (default: 4, and more while it stays quick).",
            ceiling=True,
            of_mount=True,
        )
    )
    index_dir: Path | None = field(
        metadata=_about(
            PATH_OR_NONE,
            _default_index_dir,
            "Where indexes are kept; `none` keeps them in memory (default: "
            "~/.cache/imagenetfs/index).",
            of_mount=True,
            group="Index",
        )
    )
    index_path: tuple[Path, ...] = field(
        metadata=_about(
            PATHS,
            (),
            "Where indexes are looked for that others made: directories, separated by colons.",
            of_mount=True,
            group="Index",
        )
    )
    cache_dir: Path | None = field(
        metadata=_about(
            PATH_OR_NONE,
            _default_cache_dir,
            "The read cache: a directory on this node's disk, or `none` (default: "
            "$SLURM_TMPDIR/imagenetfs-cache where that is set, else none).",
            of_mount=True,
            group="Cache",
        )
    )
    cache_size: Size = field(
        metadata=_about(
            SIZE,
            Size(part=0.5),
            "Maximum size of the read cache: bytes (200G), or a part of what is free there "
            "(default: 50%).",
            ceiling=True,
            of_mount=True,
            group="Cache",
        )
    )
    keep_free: Size = field(
        metadata=_about(
            SIZE,
            Size(part=0.05),
            "What the read cache leaves free on its disk: bytes (10G), or a part (default: 5%).",
            of_mount=True,
            group="Cache",
        )
    )
    stage: tuple[str, ...] = field(
        metadata=_about(
            STAGES,
            (),
            "VERSION[/SPLIT]: bring it into the cache in the background of the mount. Repeatable.",
            of_mount=True,
            group="Cache",
        )
    )
    read_timeout: float = field(
        metadata=_about(
            DURATION,
            60.0,
            "No read waits longer for the source than this (seconds, or 90s, 2m; default: 60).",
            of_mount=True,
        )
    )
    revalidate: float = field(
        metadata=_about(
            DURATION,
            60.0,
            "Check every so many seconds that the archives are unchanged and that you may still "
            "read them (default: 60).",
            of_mount=True,
        )
    )
    prefer: str = field(
        metadata=_about(
            choice("archives", "directories"),
            "archives",
            "What is shown where the source has both: `archives`, or the extracted `directories` "
            "(default: archives).",
            of_mount=True,
            group="Source",
        )
    )
    view: tuple[tuple[str, Path], ...] = field(
        metadata=_about(
            VIEWS,
            (),
            "NAME=FILE: show under views/NAME the classes or images that FILE lists. Repeatable.",
            of_mount=True,
            group="Source",
        )
    )
    require: tuple[str, ...] = field(
        metadata=_about(
            REQUIREMENTS,
            (),
            "VERSION/SPLIT[:complete],...: refuse to mount where one is not there, or its images "
            "do not add up. views/NAME/SPLIT: where the view is empty; with `:complete`, where it "
            "lacks an entry of its list. Repeatable; in `-o` separated by colons.",
            group="Source",
        )
    )
    log: Path | SystemLog | None = field(
        metadata=_about(
            LOG,
            None,
            "The log: a file, `syslog` or `journal` (default: a file for each mountpoint in "
            "~/.local/state/imagenetfs/log).",
            of_mount=True,
        )
    )
    log_level: str = field(
        metadata=_about(
            choice("debug", "info", "warning", "error"),
            "info",
            "How much the log has: `debug`, `info`, `warning` or `error` (default: info; debug "
            "with --debug).",
            of_mount=True,
        )
    )
    idle: float | None = field(
        metadata=_about(
            DURATION,
            None,
            "`mount` only: unmount when nothing has used the mount for this time, such as 30m "
            "(default: never).",
        )
    )
    run_dir: Path | None = field(
        metadata=_about(
            PATH,
            None,
            "Where `run` mounts, and where locks and sockets live (default: /tmp/imagenetfs-UID).",
        )
    )
    namespace: str = field(
        metadata=_about(
            choice("auto", "always", "never"),
            "auto",
            "Whether `run` mounts in a namespace of its own: `always`, `never`, or `auto`, which "
            "does so where fusermount3 does not work (default: auto).",
        )
    )
    opt_in_page: str | None = field(
        metadata=_about(
            TEXT,
            None,
            "Where a user asks for access to the data set: the site's file says it.",
        )
    )
    support_address: str | None = field(
        metadata=_about(TEXT, None, "Whom to write to for help: the site's file says it.")
    )
    support_subject: str = field(
        metadata=_about(TEXT, "ImageNet dataset", "The subject of a letter to the support.")
    )
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def table() -> tuple[Field[Any], ...]:
    """The settings, in order: name, and kind, default, help, ceiling in the field's metadata."""
    return tuple(entry for entry in fields(Settings) if "kind" in entry.metadata)


def help_of(name: str) -> str:
    """The help text of one setting."""
    return next(str(entry.metadata["help"]) for entry in table() if entry.name == name)


def names_of_mount() -> list[str]:
    """The settings that a mount keeps as long as it lives."""
    return [entry.name for entry in table() if entry.metadata["of_mount"]]
