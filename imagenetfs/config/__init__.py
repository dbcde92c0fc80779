"""Settings: one table, and who has the last word on each.

Strongest first: the command's option, ``$IMAGENETFS_<NAME>``, the user's
``imagenetfs/config.toml`` (in ``$XDG_CONFIG_HOME``, else ``~/.config``), the site's
``/etc/imagenetfs.toml``, the default. The site's file may also hold a table ``[ceilings]``; what is
above a ceiling is lowered to it, whoever asked, and a note says so.

The table is the class ``Settings`` itself: each field carries its kind, its help and whether the
site may put a ceiling on it. A leaf: only ``cli`` and ``job`` import this module, and it knows
nothing of what the settings do.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any

from imagenetfs.config.kinds import (
    DURATION,
    LOG,
    PATH,
    PATH_OR_NONE,
    VIEWS,
    Kind,
    SystemLog,
    choice,
    count,
)
from imagenetfs.errors import UsageError

SITE_CONFIG = Path("/etc/imagenetfs.toml")
SITE_CONFIG_VARIABLE = "IMAGENETFS_SITE_CONFIG"
VARIABLE_PREFIX = "IMAGENETFS_"
CEILINGS = "ceilings"

MOST_WORKERS = 64
"""More never pays: see docs/architecture.md."""

MOST_IN_FLIGHT = 1024

IN_FLIGHT_BY_ITSELF = 16
"""How far requests in flight grow when nobody set ``in_flight``."""


# --- the table ------------------------------------------------------------------------------------


def cpus() -> int:
    """CPUs that this job really has (its affinity mask), not those of the machine."""
    return len(os.sched_getaffinity(0))


def _default_workers() -> int:
    return min(MOST_WORKERS, max(8, 2 * cpus()))


def _default_index_dir() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("imagenetfs") / "index"


def _about(
    kind: Kind, default: object, help: str, *, ceiling: bool = False
) -> Mapping[str, object]:
    """What the table says of a setting. A default that can be called is computed when needed."""
    return {"kind": kind, "default": default, "help": help, "ceiling": ceiling}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value; ``origins`` says where each came from."""

    source: Path | None = field(
        metadata=_about(
            PATH, None, "The directory that holds ImageNet's archives (where none is named)."
        )
    )
    workers: int = field(
        metadata=_about(
            count(MOST_WORKERS),
            _default_workers,
            "The most worker processes there may be; by itself twice the CPUs, from 8 to 64.",
            ceiling=True,
        )
    )
    in_flight: int | None = field(
        metadata=_about(
            count(MOST_IN_FLIGHT),
            None,
            "Requests to the source at one time; by itself 4, and more while it stays quick.",
            ceiling=True,
        )
    )
    index_dir: Path | None = field(
        metadata=_about(
            PATH_OR_NONE, _default_index_dir, "Where indexes are kept; `none` keeps them in memory."
        )
    )
    read_timeout: float = field(
        metadata=_about(
            DURATION, 60.0, "No read waits longer for the source than this (seconds, or 90s, 2m)."
        )
    )
    prefer: str = field(
        metadata=_about(
            choice("archives", "directories"),
            "archives",
            "What is shown where the source has both: `archives`, or the extracted `directories`.",
        )
    )
    view: tuple[tuple[str, Path], ...] = field(
        metadata=_about(
            VIEWS,
            (),
            "NAME=FILE: show under views/NAME the classes or images that FILE lists. Repeatable.",
        )
    )
    log: Path | SystemLog | None = field(
        metadata=_about(
            LOG,
            None,
            "The log: a file, `syslog` or `journal`; by itself a file for each mountpoint in the "
            "user's state directory.",
        )
    )
    idle: float | None = field(
        metadata=_about(
            DURATION,
            None,
            "`mount`: unmount when nothing has used the mount for this time (30m); by itself never.",
        )
    )
    run_dir: Path | None = field(
        metadata=_about(
            PATH, None, "Where `run` mounts, and where locks and sockets live; in /tmp by itself."
        )
    )
    namespace: str = field(
        metadata=_about(
            choice("auto", "always", "never"),
            "auto",
            "Whether `run` mounts in a namespace of its own: `auto` where fusermount3 does not work.",
        )
    )
    origins: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def table() -> tuple[Field[Any], ...]:
    """The settings, in order: name, and kind, default, help, ceiling in the field's metadata."""
    return tuple(entry for entry in fields(Settings) if "kind" in entry.metadata)


def help_of(name: str) -> str:
    """The help text of one setting."""
    return next(str(entry.metadata["help"]) for entry in table() if entry.name == name)


def option_name(name: str) -> str:
    """``index_dir`` -> ``--index-dir``."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """``index_dir`` -> ``IMAGENETFS_INDEX_DIR``."""
    return VARIABLE_PREFIX + name.upper()


# --- files ----------------------------------------------------------------------------------------


def user_config_path() -> Path:
    """The user's own file, whether or not it exists."""
    from platformdirs import user_config_path as config_home

    return config_home("imagenetfs") / "config.toml"


def site_config_path(environ: Mapping[str, str]) -> Path:
    """The site's file; the variable is there for tests and for trying a file out."""
    return Path(environ.get(SITE_CONFIG_VARIABLE) or SITE_CONFIG)


def _load(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise UsageError(f"{path} could not be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from error


def _check_keys(path: Path, values: Mapping[str, Any], known: set[str], where: str = "") -> None:
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(
            f"{path}: unknown setting {where}{unknown[0]}. Known are: {', '.join(sorted(known))}."
        )


def _value_of_file(path: Path, entry: Field[Any], raw: object, name: str) -> Any:
    kind: Kind = entry.metadata["kind"]
    problem = UsageError(f"{path}: {name} must be {kind.expects}, not {raw!r}.")
    if type(raw) not in kind.types:
        raise problem
    try:
        value = kind.parse(_as_text(raw))
    except ValueError as error:
        raise problem from error
    # A relative path would mean another place in every directory that a command starts from.
    if kind.is_path and value is not None and not str(raw).startswith(("/", "~")):
        raise UsageError(f"{path}: {name} must be an absolute path, not {raw!r}.")
    return value


def _as_text(raw: object) -> str:
    """A repeatable option's values, or a list in a file, as the one text that a variable holds."""
    return os.pathsep.join(map(str, raw)) if isinstance(raw, list | tuple) else str(raw)


@dataclass(frozen=True, slots=True)
class _Layer:
    origin: Callable[[str], str]
    values: Mapping[str, Any]


def _file_layer(path: Path, content: Mapping[str, Any]) -> _Layer:
    entries = {entry.name: entry for entry in table()}
    _check_keys(path, content, set(entries))
    values = {name: _value_of_file(path, entries[name], content[name], name) for name in content}
    return _Layer(lambda name: str(path), values)


def _text_layer(origin: Callable[[str], str], given: Mapping[str, object]) -> _Layer:
    values = {}
    for entry in table():
        raw = given.get(entry.name)
        if raw is None:
            continue
        kind: Kind = entry.metadata["kind"]
        try:
            values[entry.name] = kind.parse(_as_text(raw))
        except ValueError as error:
            message = f"{origin(entry.name)} must be {kind.expects}, not {_as_text(raw)!r}."
            raise UsageError(message) from error
    return _Layer(origin, values)


def _variables_layer(environ: Mapping[str, str]) -> _Layer:
    given = {entry.name: environ.get(variable_name(entry.name)) or None for entry in table()}
    return _text_layer(lambda name: "$" + variable_name(name), given)


# --- ceilings -------------------------------------------------------------------------------------


def _ceilings_of(path: Path, content: Mapping[str, Any]) -> dict[str, int]:
    raw = content.get(CEILINGS, {})
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: {CEILINGS} must be a table.")
    allowed = {entry.name: entry for entry in table() if entry.metadata["ceiling"]}
    _check_keys(path, raw, set(allowed), where=f"{CEILINGS}.")
    return {
        name: _value_of_file(path, allowed[name], value, f"{CEILINGS}.{name}")
        for name, value in raw.items()
    }


def _lower(
    values: dict[str, Any], origins: dict[str, str], ceilings: Mapping[str, int], path: Path
) -> list[str]:
    """Lower what is above a ceiling; a line for each value that somebody had asked for."""
    notes = []
    for name, ceiling in ceilings.items():
        asked = values[name]
        # Nobody set it: the number that it would grow to by itself counts.
        if (IN_FLIGHT_BY_ITSELF if asked is None else asked) <= ceiling:
            continue
        if origins[name] != "default":
            notes.append(f"{name} lowered from {asked} to {ceiling}, the site's ceiling ({path}).")
        values[name] = ceiling
        origins[name] = f"ceiling of {path}"
    return notes


# --- all together ---------------------------------------------------------------------------------


def resolve(
    options: Mapping[str, object] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """All settings. ``options`` are those of the command line, by name; None means not given.

    Raises UsageError that names the option, variable or file and key at fault.
    """
    environ = os.environ if environ is None else environ
    site_path, user_path = site_config_path(environ), user_config_path()
    site = _load(site_path)
    site_values = {name: value for name, value in site.items() if name != CEILINGS}
    layers = [
        _file_layer(site_path, site_values),
        _file_layer(user_path, _load(user_path)),
        _variables_layer(environ),
        _text_layer(option_name, options or {}),
    ]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for layer in layers:
        values.update(layer.values)
        origins.update({name: layer.origin(name) for name in layer.values})
    for entry in table():
        if entry.name not in values:
            default = entry.metadata["default"]
            values[entry.name] = default() if callable(default) else default
            origins[entry.name] = "default"
    notes = _lower(values, origins, _ceilings_of(site_path, site), site_path)
    # The variable is for trying a file out: it is no way around the real one's ceilings.
    if site_path != SITE_CONFIG:
        notes += _lower(values, origins, _ceilings_of(SITE_CONFIG, _load(SITE_CONFIG)), SITE_CONFIG)
    return Settings(**values, origins=origins, notes=tuple(notes))
