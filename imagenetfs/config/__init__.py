"""Settings: one table, and who has the last word on each.

Strongest first: the command's option, ``$IMAGENETFS_<NAME>``, the user's
``imagenetfs/config.toml`` (in ``$XDG_CONFIG_HOME``, else ``~/.config``), the site's
``/etc/imagenetfs.toml``, the default. The site's file may also hold a table ``[ceilings]``; what is
above a ceiling is lowered to it, whatever set it, and a note says so.

The table is the class ``Settings`` (:mod:`imagenetfs.config.settings`). A leaf: only ``cli`` and
``job`` import this package, and it knows nothing of what the settings do.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass
from pathlib import Path
from typing import Any

from imagenetfs.config.settings import (
    Settings,
    cpus,
    help_of,
    names_of_mount,
    table,
)
from imagenetfs.config.value_types import Size, ValueKind, at_home
from imagenetfs.errors import UsageError
from imagenetfs.limits import DEFAULT_MAX_IN_FLIGHT
from imagenetfs.system.files import open_regular

__all__ = [
    "SITE_CONFIG",
    "Settings",
    "as_text",
    "at_home",
    "cpus",
    "help_of",
    "names_of_mount",
    "option_name",
    "resolve",
    "site_config_path",
    "table",
    "texts_of_mount",
    "user_config_path",
    "variable_name",
]

SITE_CONFIG = Path("/etc/imagenetfs.toml")
SITE_CONFIG_VARIABLE = "IMAGENETFS_SITE_CONFIG"
VARIABLE_PREFIX = "IMAGENETFS_"
CEILINGS = "ceilings"
_ALMOST = 0.87


def option_name(name: str) -> str:
    """``index_dir`` -> ``--index-dir``."""
    return "--" + name.replace("_", "-")


def variable_name(name: str) -> str:
    """``index_dir`` -> ``IMAGENETFS_INDEX_DIR``."""
    return VARIABLE_PREFIX + name.upper()


def as_text(value: object) -> str:
    """A setting's value as its option takes it; empty where there is none."""
    if isinstance(value, tuple):
        pairs = (each if isinstance(each, tuple) else (each,) for each in value)
        return os.pathsep.join("=".join(map(str, pair)) for pair in pairs)
    return "" if value is None else str(value)


def texts_of_mount(settings: Settings) -> dict[str, str]:
    """The settings that a mount keeps, each as its option takes it."""
    return {name: as_text(getattr(settings, name)) for name in names_of_mount()}


# --- files ----------------------------------------------------------------------------------------


def user_config_path() -> Path:
    """The user's own file, whether or not it exists."""
    from platformdirs import user_config_path as config_home

    return at_home(config_home("imagenetfs")) / "config.toml"


def site_config_path(environ: Mapping[str, str]) -> Path:
    """The site's file; the variable is there for tests and for trying a file out."""
    return Path(environ.get(SITE_CONFIG_VARIABLE) or SITE_CONFIG)


def _load(path: Path) -> dict[str, Any]:
    try:
        with os.fdopen(open_regular(path), "rb") as file:
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
    kind: ValueKind = entry.metadata["kind"]
    problem = UsageError(f"{path}: {name} must be {kind.expects}, not {raw!r}.")
    if type(raw) not in kind.types:
        raise problem
    try:
        value = kind.parse(_raw_text(raw))
    except ValueError as error:
        raise problem from error
    # A relative path would mean another place in every directory that a command starts from.
    if not all(path.startswith(("/", "~")) for path in kind.paths_in(_raw_text(raw))):
        raise UsageError(f"{path}: {name} must be an absolute path, not {raw!r}.")
    return value


def _raw_text(raw: object) -> str:
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
        kind: ValueKind = entry.metadata["kind"]
        try:
            values[entry.name] = kind.parse(_raw_text(raw))
        except ValueError as error:
            message = f"{origin(entry.name)} must be {kind.expects}, not {_raw_text(raw)!r}."
            raise UsageError(message) from error
    return _Layer(origin, values)


def _variables_layer(environ: Mapping[str, str]) -> _Layer:
    given = {entry.name: environ.get(variable_name(entry.name)) or None for entry in table()}
    return _text_layer(lambda name: "$" + variable_name(name), given)


def _misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable whose name is almost a setting's.

    Others may be a job script's own.
    """
    names = {variable_name(entry.name) for entry in table()}
    notes = []
    for name in sorted(environ):
        if not name.startswith(VARIABLE_PREFIX) or name in names:
            continue
        near = difflib.get_close_matches(name, names, n=1, cutoff=_ALMOST)
        if near:
            notes.append(f"${name} is no setting, and has no effect: did you mean ${near[0]}?")
    return notes


# --- ceilings -------------------------------------------------------------------------------------


def _ceilings_of(path: Path, content: Mapping[str, Any]) -> dict[str, int | Size]:
    raw = content.get(CEILINGS, {})
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: {CEILINGS} must be a table.")
    allowed = {entry.name: entry for entry in table() if entry.metadata["ceiling"]}
    _check_keys(path, raw, set(allowed), where=f"{CEILINGS}.")
    return {
        name: _value_of_file(path, allowed[name], value, f"{CEILINGS}.{name}")
        for name, value in raw.items()
    }


def _lowered(asked: int | Size | None, ceiling: int | Size) -> int | Size | None:
    """A value under its ceiling."""
    if isinstance(asked, Size) and isinstance(ceiling, Size):
        return asked.under(ceiling)
    assert not isinstance(asked, Size) and not isinstance(ceiling, Size)
    # It is not set: the default that it would grow to counts.
    return asked if (DEFAULT_MAX_IN_FLIGHT if asked is None else asked) <= ceiling else ceiling


def _lower(
    values: dict[str, Any], origins: dict[str, str], ceilings: Mapping[str, int | Size], path: Path
) -> list[str]:
    """Lower what is above a ceiling; a line for each value that was asked for."""
    notes = []
    for name, ceiling in ceilings.items():
        asked = values[name]
        lowered = _lowered(asked, ceiling)
        if lowered == asked:
            continue
        if origins[name] != "default":
            notes.append(f"{name} lowered from {asked} to {lowered}, the site's ceiling ({path}).")
        values[name] = lowered
        origins[name] = f"ceiling of {path}"
    return notes


# --- all together ---------------------------------------------------------------------------------


def resolve(
    options: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    called: Callable[[str], str] = option_name,
) -> Settings:
    """All settings. ``options`` are those of the command line, by name; None means not given.
    ``called``: how the caller of a function or of a command writes the option of that name.

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
        _text_layer(called, options or {}),
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
    # The variable is for trying a file out: it is no way around the ceilings of the real file.
    if site_path != SITE_CONFIG:
        notes += _lower(values, origins, _ceilings_of(SITE_CONFIG, _load(SITE_CONFIG)), SITE_CONFIG)
    notes += _misspelt(environ)
    return Settings(**values, origins=origins, notes=tuple(notes))
