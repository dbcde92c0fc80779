"""``imagenetfs status [MOUNTPOINT] [--json]``: the mounts of this user, and what they are doing."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from imagenetfs.cli.terminal import in_bytes, in_time, say, show_json, table
from imagenetfs.job.status import MountStatus, collect

_STATES = {
    "stale": "stale: its server has gone (imagenetfs umount takes it away)",
    "silent": "does not answer",
}


def register(app: typer.Typer) -> None:
    """Add this command."""
    app.command("status")(status)


def status(
    mountpoint: Annotated[
        str | None,
        typer.Argument(metavar="[MOUNTPOINT]", help="One mount; all of this user without it."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, for programs.")] = False,
) -> None:
    """Show mounts: source, server, workers, and what was read from where."""
    found = collect(mountpoint)
    if as_json:
        show_json([entry.as_json() for entry in found])
        return
    if not found:
        say("this user has no mount of imagenetfs here.")
    for entry in found:
        table(("mountpoint", entry.mountpoint), list(_lines(entry)))


def _lines(entry: MountStatus) -> Iterator[tuple[str, str]]:
    yield "source", entry.source
    if entry.state != "live":
        yield "state", _STATES[entry.state]
        return
    details = entry.details
    yield "server", f"process {details.get('pid', '?')}, imagenetfs {details.get('version', '?')}"
    if isinstance(details.get("started"), int | float):
        yield "up for", in_time(time.time() - details["started"])
    yield "workers", _workers(details)
    versions = details.get("versions")
    if isinstance(versions, Mapping | list):
        yield "versions", ", ".join(versions)
    if isinstance(details.get("cache"), Mapping):
        yield "cache", _cache(details["cache"])
    yield from _counters(details.get("counters", {}))
    if details.get("log"):
        yield "log", str(details["log"])
    for warning in details.get("warnings", []):
        yield "warning", str(warning)


def _workers(details: Mapping[str, Any]) -> str:
    workers = details.get("workers", [])
    waiting = sum(1 for worker in workers if "source" in str(worker.get("state")))
    text = f"{len(workers)}, {details.get('worker_restarts', 0)} restarts"
    text += f", {waiting} in the source" if waiting else ""
    silent = [
        str(worker.get("pid"))
        for worker in workers
        if str(worker.get("state")).startswith("does not answer")
    ]
    return (
        f"{text}; stopped, and answering nothing: process {', '.join(silent)}" if silent else text
    )


def _cache(cache: Mapping[str, Any]) -> str:
    text = f"{cache.get('directory')}, at most {_number('bytes', cache.get('size'))}"
    trouble = cache.get("steps_aside")
    return f"{text}; steps aside now: {trouble}" if trouble else text


def _counters(counters: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Whatever the server counts: a line for each number, one for each group of numbers."""
    for name, value in counters.items():
        label = name.replace("_", " ")
        if isinstance(value, Mapping):
            yield (
                label,
                ", ".join(f"{key} {_number(key, n)}" for key, n in value.items() if n) or "0",
            )
        else:
            yield label, _number(name, value)


def _number(name: str, value: Any) -> str:
    if not isinstance(value, int | float):
        return str(value)
    return in_bytes(value) if "bytes" in name else f"{value:,}"
