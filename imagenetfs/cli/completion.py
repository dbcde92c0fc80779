"""Values that the shell offers at TAB: versions and splits of the source, mounts, allowed words.

What cannot be found out in time, or at all, is not offered; nothing is said, for the user is still
typing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from imagenetfs import config

SECONDS = 5.0
"""How long the user waits for a source at most."""

_PATHS = ("/", ".", "~")


def choices(name: str, incomplete: str) -> list[str]:
    """The words that a setting may be."""
    kind = next(entry.metadata["kind"] for entry in config.table() if entry.name == name)
    words = kind.expects.removeprefix("one of ").split(", ")
    return [word for word in words if word.startswith(incomplete)]


def prefers(incomplete: str) -> list[str]:
    """Of ``--prefer``."""
    return choices("prefer", incomplete)


def log_levels(incomplete: str) -> list[str]:
    """Of ``--log-level``."""
    return choices("log_level", incomplete)


def mountpoints(incomplete: str) -> list[str]:
    """The mounts of this user, dead ones too."""
    from imagenetfs.system import mounts

    own = mounts.our_mounts(uid=os.geteuid())
    return sorted(entry.mountpoint for entry in own if entry.mountpoint.startswith(incomplete))


def splits(ctx: typer.Context, incomplete: str) -> list[str]:
    """VERSION and VERSION/SPLIT of the source that is named so far; nothing for a path, which the
    shell completes.
    """
    if incomplete.startswith(_PATHS):
        return []
    return [name for name in _of_source(ctx.params) if name.startswith(incomplete)]


def whole_splits(ctx: typer.Context, incomplete: str) -> list[str]:
    """VERSION/SPLIT, behind a comma too."""
    before, comma, last = incomplete.rpartition(",")
    found = [name for name in _of_source(ctx.params) if "/" in name and name.startswith(last)]
    return [f"{before}{comma}{name}" for name in found]


def index_words(ctx: typer.Context, incomplete: str) -> list[str]:
    """The same, and in the first place the commands below `index`."""
    own = () if _named(ctx.params) else ("check", "export", "import")
    return [*(word for word in own if word.startswith(incomplete)), *splits(ctx, incomplete)]


def versions(incomplete: str) -> list[str]:
    """The versions that a cache may have."""
    from imagenetfs.tree.published_counts import VERSIONS

    return sorted(name for name in VERSIONS if name.startswith(incomplete))


def _named(params: Mapping[str, Any]) -> list[str]:
    """The arguments so far, of whatever command."""
    found: Any = next(
        (params[k] for k in ("what", "places", "named", "place") if k in params), None
    )
    if found is None:
        return []
    return [found] if isinstance(found, str) else list(found)


def _of_source(params: Mapping[str, Any]) -> list[str]:
    from imagenetfs.errors import ImagenetfsError
    from imagenetfs.system import child_call

    try:
        source = _source(_named(params), params)
        return child_call.call_in_child(lambda: list(_names(source)), SECONDS) if source else []
    except (ImagenetfsError, OSError, child_call.NoAnswerError):
        return []


def _source(words: Sequence[str], params: Mapping[str, Any]) -> Path | None:
    """The source that is meant."""
    from imagenetfs.job.preflight import default_source

    given = params.get("source")
    if given is None and words and (words[0].startswith(_PATHS) or Path(words[0]).is_dir()):
        given = words[0]
    if given is not None:
        return Path(given).expanduser()
    return config.resolve().source or default_source()


def _names(source: Path) -> Iterator[str]:
    """VERSION and VERSION/SPLIT of a source."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from imagenetfs.index.search_path import IndexSearchPath
    from imagenetfs.source.source import Source
    from imagenetfs.tree.catalogue import build_catalogue

    places = IndexSearchPath(None, source, beside=False)
    for version in build_catalogue(Source(source), places=places).versions:
        name = os.fsdecode(version.name)
        yield name
        yield from (f"{name}/{os.fsdecode(split.name)}" for split in version.splits)
