"""``imagenetfs doctor [SOURCE]``: why it does not work here, or is slow, and what to do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Annotated

import typer

from imagenetfs.cli import options
from imagenetfs.cli.parser import App
from imagenetfs.cli.terminal import say, show, show_graded, show_json
from imagenetfs.config import Settings
from imagenetfs.errors import ExitCode
from imagenetfs.job import cleanup, preflight
from imagenetfs.job.doctor import directories, node, source
from imagenetfs.job.doctor.findings import Finding, Grade
from imagenetfs.job.mount_paths import find_paths
from imagenetfs.system import mounts
from imagenetfs.system.text import printable

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
) -> int:
    """Look at everything that a mount needs, and at what will limit its speed.

    Each line is green, yellow (it works, with a limit) or red (it does not), with what to do.
    Measures the source for some seconds. The exit code is the worst line's: 0, 40 or 41.
    """
    settings = options.settings_of(context, named)
    if heal or (not as_json and _offer()):
        _heal(settings)
    found = []
    for finding in _examine(settings):
        found.append(finding)
        if not as_json:
            _show(finding)
    worst = max(finding.grade for finding in found)
    if as_json:
        lines = [finding.as_json() for finding in found]
        show_json({"worst": worst.name.lower(), "lines": lines})
    return _CODES[worst]


def _examine(settings: Settings) -> Iterator[Finding]:
    yield from node.fuse()
    yield from node.kernel()
    yield from node.user_groups()
    yield from node.dead_mounts()
    yield from node.job(os.environ)
    yield from directories.places(settings, os.environ)
    yield from source.source(settings)


def _show(finding: Finding) -> None:
    colour = finding.grade.name.lower()
    show_graded(colour, f"{finding.about}: {finding.what}")
    if finding.advice:
        show(f"       -> {finding.advice}")


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
