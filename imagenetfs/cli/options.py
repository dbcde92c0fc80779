"""Options that several commands share. Values stay text: ``config`` knows what each may be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar

import typer

from imagenetfs import config
from imagenetfs.cli import completion
from imagenetfs.cli.terminal import is_debugging, say
from imagenetfs.config import Settings
from imagenetfs.errors import UsageError

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _option(
    name: str, metavar: str, *others: str, complete: Callable[..., list[str]] | None = None
) -> Any:
    return typer.Option(
        config.option_name(name),
        *others,
        metavar=metavar,
        help=config.help_of(name),
        show_default=False,
        autocompletion=complete,
    )


SourceOption = Annotated[str | None, _option("source", "DIR")]
WorkersOption = Annotated[str | None, _option("workers", "N")]
InFlightOption = Annotated[str | None, _option("in_flight", "N")]
IndexDirOption = Annotated[str | None, _option("index_dir", "DIR")]
ReadTimeoutOption = Annotated[str | None, _option("read_timeout", "SECONDS")]
RevalidateOption = Annotated[str | None, _option("revalidate", "SECONDS")]
PreferOption = Annotated[
    str | None, _option("prefer", "archives|directories", complete=completion.prefers)
]
ViewOption = Annotated[list[str] | None, _option("view", "NAME=FILE")]
CacheDirOption = Annotated[str | None, _option("cache_dir", "DIR")]
CacheSizeOption = Annotated[str | None, _option("cache_size", "SIZE")]
KeepFreeOption = Annotated[str | None, _option("keep_free", "SIZE")]
StageOption = Annotated[
    list[str] | None, _option("stage", "VERSION[/SPLIT]", complete=completion.splits)
]
RequireOption = Annotated[
    list[str] | None,
    _option("require", "VERSION/SPLIT[:complete],...", complete=completion.whole_splits),
]
LogOption = Annotated[str | None, _option("log", "FILE|syslog|journal", "--log-file")]
LogLevelOption = Annotated[
    str | None, _option("log_level", "LEVEL", complete=completion.log_levels)
]
IdleOption = Annotated[str | None, _option("idle", "TIME")]

OfAMount = str | list[str] | None
"""The value of an option that is shared by the commands that start a mount."""

OF_A_MOUNT: Mapping[str, Any] = {
    "source": SourceOption,
    "workers": WorkersOption,
    "in_flight": InFlightOption,
    "index_dir": IndexDirOption,
    "read_timeout": ReadTimeoutOption,
    "revalidate": RevalidateOption,
    "prefer": PreferOption,
    "view": ViewOption,
    "cache_dir": CacheDirOption,
    "cache_size": CacheSizeOption,
    "keep_free": KeepFreeOption,
    "stage": StageOption,
    "require": RequireOption,
    "log": LogOption,
    "log_level": LogLevelOption,
}


def takes_those_of_a_mount(command: _Command) -> _Command:
    """A command that starts a mount has these options too: the parser reads a function's signature,
    and gives them to its ``**shared``. :func:`settings_of` takes them from the context.
    """
    signature = inspect.signature(command, eval_str=True)
    own = [one for one in signature.parameters.values() if one.kind is not one.VAR_KEYWORD]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in OF_A_MOUNT.items()
    ]
    described: Any = command
    described.__signature__ = signature.replace(parameters=[*own, *more])
    described.__annotations__ = {**command.__annotations__, **OF_A_MOUNT}
    return command


_OF_THE_CACHE = ("cache_size", "keep_free")


def settings_of(
    context: typer.Context,
    source: str | None = None,
    weaker: Mapping[str, str] | None = None,
) -> Settings:
    """The settings for a command: its own options, the SOURCE argument, and those of ``-o``.

    Tells the user what a ceiling has lowered.
    """
    names = {entry.name for entry in config.table()}
    given: dict[str, object] = dict(weaker or {})
    if is_debugging():
        given.setdefault("log_level", "debug")
    # A repeatable option that is not given comes as an empty sequence:
    # variable and files count then.
    unset: tuple[object, ...] = (None, [], ())
    given.update({k: v for k, v in context.params.items() if k in names and v not in unset})
    if source is not None:
        if given.get("source") not in (None, source):
            raise UsageError("SOURCE is given twice, as an argument and by --source.")
        given["source"] = source
    settings = config.resolve(given)
    for note in settings.notes:
        say(note)
    idle = [config.option_name(name) for name in _OF_THE_CACHE if given.get(name) is not None]
    if idle and settings.cache_dir is None:
        say(
            f"{' and '.join(idle)}: of no effect, for there is no cache; --cache-dir DIR makes one."
        )
    return settings
