"""``imagenetfs doctor [SOURCE]``: why it does not work here, or is slow, and what to do."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from imagenetfs.cli import options
from imagenetfs.cli.parser import App
from imagenetfs.cli.terminal import say, show, show_graded, show_json, wrapped
from imagenetfs.config import Settings
from imagenetfs.config.value_types import parse_size
from imagenetfs.errors import ExitCode
from imagenetfs.job import cleanup, preflight, status
from imagenetfs.job.doctor import cache, directories, node, source
from imagenetfs.job.doctor.findings import Finding, Grade
from imagenetfs.job.mount_paths import find_paths
from imagenetfs.system import mounts
from imagenetfs.system.text import printable

_INDENT = 7
"""Columns of a line's grade."""

_CODES = {
    Grade.GREEN: ExitCode.OK,
    Grade.YELLOW: ExitCode.DOCTOR_YELLOW,
    Grade.RED: ExitCode.DOCTOR_RED,
}


def register(app: App) -> None:
    """Add this command."""
    app.command("doctor")(doctor)


def doctor(
    context: typer.Context,
    named: Annotated[
        str | None,
        typer.Argument(metavar="[SOURCE]", help="What shall be mounted.", show_default=False),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
    heal: Annotated[bool, typer.Option("--heal", help="Take dead mounts away.")] = False,
    source: options.SourceOption = None,
    index_dir: options.IndexDirOption = None,
    cache_dir: options.CacheDirOption = None,
    cache_size: options.CacheSizeOption = None,
) -> int:
    """Look at everything that a mount needs, and at what will limit its speed.

    Each line is green, yellow (it works, with a limit) or red (it does not), with what to do; the
    last one sums up. Measures the source for some seconds. Without SOURCE or a setting that names
    one, the source of your mount is looked at. The exit code is the worst line's: 0, 40 or 41.
    """
    settings = options.settings_of(context, named)
    if heal or (not as_json and _offer()):
        _heal(settings)
    if settings.source is None:
        settings = _of_running_mount(context) or settings
    found: list[Finding] = []
    for title, findings in _groups(settings):
        if not as_json:
            _head(title, is_first=not found)
        for finding in findings:
            found.append(finding)
            if not as_json:
                _show(finding)
    worst = max(finding.grade for finding in found)
    if as_json:
        lines = [finding.as_json() for finding in found]
        show_json({"worst": worst.name.lower(), "lines": lines})
    else:
        show("")
        for line in _wrapped(_last_line(found, settings), 0):
            show(line)
    return _CODES[worst]


def _of_running_mount(context: typer.Context) -> Settings | None:
    """The settings with the source of this user's only mount; None where there is not just one."""
    live = [one for one in status.collect() if one.state == "live"]
    if len(live) != 1:
        return None
    say(f"looking at the source of your mount at {live[0].mountpoint}.")
    return options.settings_of(context, live[0].source)


def _groups(settings: Settings) -> Iterator[tuple[str, Iterable[Finding]]]:
    yield "This node", (*node.fuse(), *node.kernel(), *node.user_groups(), *node.job(os.environ))
    yield "Your mounts", node.own_mounts()
    yield "Directories of yours", directories.places(settings, os.environ)
    sizes: dict[str, int] = {}

    def of_source() -> Iterator[Finding]:
        for finding in source.source(settings):
            sizes.update(finding.facts.get("sizes", {}))
            yield finding

    yield "The source", of_source()
    yield "The read cache", cache.cache(_with_cache_of_mount(settings), sizes)


def _with_cache_of_mount(settings: Settings) -> Settings:
    """With the cache of a mount of this source, where no setting speaks of one."""
    if settings.source is None or settings.origins["cache_dir"] != "default":
        return settings
    source = str(mounts.resolve(settings.source))
    for one in status.collect():
        held = one.details.get("cache")
        if one.state == "live" and one.source == source and isinstance(held, Mapping):
            directory, size = Path(str(held["directory"])), parse_size(str(held["size"]))
            return replace(settings, cache_dir=directory, cache_size=size)
    return settings


def _last_line(found: Sequence[Finding], settings: Settings) -> str:
    """Whether all is well, and what to type next."""
    red = sum(finding.grade is Grade.RED for finding in found)
    yellow = sum(finding.grade is Grade.YELLOW for finding in found)
    where = shlex.quote(str(settings.source)) if settings.source is not None else ""
    run = " ".join(filter(None, ("imagenetfs run", where, "-- ls {mnt}")))
    if red:
        lines = "1 line is" if red == 1 else f"{red} lines are"
        return f"{lines} red: it does not work so. Do what its arrow says, then ask again."
    if yellow:
        lines = "1 line is" if yellow == 1 else f"{yellow} lines are"
        return f"It works; {lines} yellow: a limit to know of. Try it: {run}"
    return f"All is well. Try it: {run}"


def _head(title: str, *, is_first: bool) -> None:
    if not is_first:
        show("")
    show(title)


def _show(finding: Finding) -> None:
    colour = finding.grade.name.lower()
    first, *others = _wrapped(f"{finding.about}: {finding.what}", _INDENT)
    show_graded(colour, first)
    for line in others:
        show(" " * _INDENT + line)
    if finding.advice:
        first, *others = _wrapped(finding.advice, _INDENT + 3)
        show(f"{' ' * _INDENT}-> {first}")
        for line in others:
            show(" " * (_INDENT + 3) + line)


def _wrapped(text: str, indent: int) -> list[str]:
    """The lines of a text behind an indent; one line where there is no terminal."""
    if not sys.stdout.isatty():
        return [text]
    room = max(30, shutil.get_terminal_size().columns - indent)
    return wrapped(printable(text), room, break_long_words=False)


def _dead() -> list[mounts.MountEntry]:
    own = mounts.our_mounts(uid=os.geteuid())
    return [entry for entry in own if preflight.health(entry) is preflight.Health.DEAD]


def _offer() -> bool:
    """On a terminal: whether dead mounts shall be taken away, if there are any."""
    if not sys.stdin.isatty() or not sys.stdout.isatty():
        return False
    dead = _dead()
    names = ", ".join(entry.mountpoint for entry in dead)
    return bool(dead) and typer.confirm(printable(f"Take away dead mounts ({names})?"))


def _heal(settings: Settings) -> None:
    for entry in _dead():
        cleanup.clear_dead_mount(entry, find_paths(mounts.resolve(entry.mountpoint), settings), say)
