"""The settings of a tree in the process: those of ``mount`` that mean something without one.

By name, as the options of the command have them; who has the last word is the same
(:mod:`imagenetfs.config`). What is resolved is kept whole, so that another process opens the same.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from imagenetfs import config
from imagenetfs.cache.quota import CacheSetup
from imagenetfs.config import Settings
from imagenetfs.errors import UsageError, did_you_mean
from imagenetfs.job.preflight import default_source, refuse_others_source
from imagenetfs.job.storage import index_places, prepare_cache

AnyPath = str | os.PathLike[str]


class OpenSettings(TypedDict, total=False):
    """Settings of ``imagenetfs.open``; each is the option of the same name of ``imagenetfs mount``,
    and None stands for one that is not given.
    """

    in_flight: int | None
    index_dir: AnyPath | None
    index_path: Sequence[AnyPath] | AnyPath | None
    cache_dir: AnyPath | None
    cache_size: int | str | None
    keep_free: int | str | None
    revalidate: float | str | None
    prefer: str | None
    view: Mapping[str, AnyPath] | Sequence[str] | None


class MountSettings(OpenSettings, total=False):
    """Settings of ``imagenetfs.mount``."""

    workers: int | None
    read_timeout: float | str | None
    stage: Sequence[str] | str | None
    require: Sequence[str] | str | None
    log: AnyPath | None


@dataclass(frozen=True, slots=True)
class TreeSpec:
    """What a tree is opened by, resolved: it is pickled, and opens the same tree elsewhere.
    ``warnings``: what is to be told about the settings.
    """

    source: Path
    index_dir: Path | None
    index_path: tuple[Path, ...]
    cache: CacheSetup | None
    in_flight: int | None
    revalidate: float
    prefer: str
    views: tuple[tuple[str, Path], ...]
    warnings: tuple[str, ...] = ()


def resolve_spec(source: AnyPath | None, given: Mapping[str, object]) -> TreeSpec:
    """Options, variables, files, defaults. Raises UsageError, SourceMissingError, and what the
    cache's directory may raise.
    """
    options = option_texts("open", OpenSettings.__annotations__, source, given)
    return spec_of(config.resolve(options, called=str))


def spec_of(settings: Settings) -> TreeSpec:
    """The same of settings that are resolved. Raises Source*Error, and what the cache's directory
    may raise.
    """
    found = settings.source or default_source()
    refuse_others_source(found)
    warnings = list(settings.notes)
    cache = prepare_cache(settings, warnings.append)
    places = index_places(settings)
    if places.problem is not None:
        warnings.append(places.problem)
    return TreeSpec(
        source=found.absolute(),
        index_dir=places.written,
        index_path=places.path,
        cache=cache,
        in_flight=settings.in_flight,
        revalidate=settings.revalidate,
        prefer=settings.prefer,
        views=settings.view,
        warnings=tuple(warnings),
    )


def option_texts(
    what: str, known: Collection[str], source: AnyPath | None, given: Mapping[str, object]
) -> dict[str, object]:
    """The settings as the command line would give them. Raises UsageError for one that ``what``
    does not have.
    """
    for name in given:
        if name not in known:
            raise UsageError(
                f"imagenetfs.{what} has no setting {name}; it has {', '.join(sorted(known))}."
                f"{did_you_mean(name, known)}"
            )
    options = {name: _as_text(value) for name, value in given.items() if value is not None}
    if source is not None:
        options["source"] = os.fsdecode(source)
    return options


def _as_text(value: object) -> object:
    """A value, or several, as an option takes it; a mapping is NAME=VALUE each. What comes out
    goes through JSON.
    """
    if isinstance(value, Mapping):
        return [f"{name}={os.fsdecode(path)}" for name, path in value.items()]
    if isinstance(value, str | bytes | os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, Iterable):
        return [str(_as_text(one)) for one in value]
    return value if isinstance(value, int | float) else str(value)
