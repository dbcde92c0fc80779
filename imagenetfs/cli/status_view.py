"""What `imagenetfs status` says of a mount to a person: lines made of its status.json.

A line is a label and its parts; how they are laid out, :func:`show_lines` decides. A server of
another version may say less: what it does not say has no line.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from imagenetfs.cli.terminal import show, table, wrapped
from imagenetfs.job.status import MountStatus
from imagenetfs.system.text import printable
from imagenetfs.units import as_given, in_bytes, in_time

STATES = {
    "stale": "stale: its server has gone (imagenetfs umount takes it away)",
    "silent": "does not answer",
}
MOST_PROBLEMS = 10

_LABEL_WIDTH = 11
_GAP = "   "
_MOST_VERSIONS = 2
_LITTLE = 0.005
_BARS = "▁▂▃▄▅▆▇█"
_PLAIN_BARS = "_.-=+*#@"


class Line(NamedTuple):
    """One line: its label, and its parts, each of which stays in one piece where it can."""

    label: str
    parts: Sequence[str]


# --- what is said ---------------------------------------------------------------------------------


def lines_of(entry: MountStatus) -> Iterator[Line]:
    """All lines of one mount."""
    details = entry.details
    yield Line("mountpoint", [entry.mountpoint, *_versions(details), *_age(details)])
    yield Line("source", [entry.source])
    if entry.state != "live":
        yield Line("state", [STATES[entry.state]])
        return
    yield Line("now", _now(details))
    yield from _requests(details)
    if isinstance(details.get("limit"), Mapping):
        yield Line("limit", list(_limit(details["limit"])))
    yield from _origins(details)
    if isinstance(details.get("cache"), Mapping):
        yield Line("cache", list(_cache(details["cache"])))
    for progress in details.get("progress", ()):
        yield Line(str(progress.get("what")), list(_progress(progress)))
    yield from _problems(details)
    yield Line("server", [f"process {details.get('pid', '?')}", _version(details)])
    if details.get("log"):
        yield Line("log", [str(details["log"])])


def _limit(limit: Mapping[str, Any]) -> Iterator[str]:
    """What it is, as it was measured; and what helps."""
    yield str(limit.get("sentence"))
    if limit.get("advice"):
        yield f"-> {limit['advice']}"


def _version(details: Mapping[str, Any]) -> str:
    return f"imagenetfs {details.get('version', '?')}"


def _versions(details: Mapping[str, Any]) -> list[str]:
    names = list(details.get("versions") or ())
    if not names:
        return []
    if len(names) <= _MOST_VERSIONS:
        return [" and ".join(map(str, names))]
    return [f"{names[0]} and {len(names) - 1} more"]


def _age(details: Mapping[str, Any]) -> list[str]:
    started = details.get("started")
    return [f"up {in_time(time.time() - started)}"] if isinstance(started, int | float) else []


def _now(details: Mapping[str, Any]) -> list[str]:
    now, workers = details.get("now"), details.get("workers", [])
    parts = []
    if isinstance(now, Mapping):
        parts = [f"{now['images']:,.0f} images/s", f"{in_bytes(now['bytes'])}/s"]
    text = f"{len(workers)} worker{'' if len(workers) == 1 else 's'}"
    if isinstance(now, Mapping):
        text += f", {_percent(now['busy'])} busy"
    parts.append(text)
    if details.get("worker_restarts"):
        restarts = details["worker_restarts"]
        parts.append(f"{restarts:,} restart{'' if restarts == 1 else 's'}")
    silent = [
        str(worker.get("pid"))
        for worker in workers
        if str(worker.get("state")).startswith("does not answer")
    ]
    if silent:
        parts.append(f"stopped, and answering nothing: process {', '.join(silent)}")
    return parts


def _requests(details: Mapping[str, Any]) -> Iterator[Line]:
    """The requests to the source in the last seconds, where there were any."""
    now, workers = details.get("now"), details.get("workers", [])
    waiting = sum(1 for worker in workers if "in the source" in str(worker.get("state")))
    if not isinstance(now, Mapping) or not (now["source_requests"] or waiting):
        return
    parts = [f"{now['source_requests']:,.0f} a second to the source"]
    if now["median"] is not None:
        parts += [f"median {in_seconds(now['median'])}", f"99 % within {in_seconds(now['p99'])}"]
    yield Line("requests", [*parts, f"{waiting} under way"])


def _origins(details: Mapping[str, Any]) -> Iterator[Line]:
    """Where the bytes came from since the mount began."""
    counters, origins = details.get("counters", {}), details.get("origins")
    read, served = counters.get("images_read"), counters.get("bytes_served")
    if not read or not isinstance(origins, Mapping):
        return
    names = {"cache": "read cache", "source": "source", "memory": "source, in this node's memory"}
    parts = [
        f"{name} {_percent(origins[key])}"
        for key, name in names.items()
        if origins.get(key, 0) >= _LITTLE
    ]
    yield Line("so far", [f"{read:,} images", in_bytes(served or 0), *parts])


def _cache(cache: Mapping[str, Any]) -> Iterator[str]:
    size = cache.get("size")
    limit = as_given(size) if isinstance(size, int) else "?"
    if isinstance(cache.get("used"), int):
        yield f"{in_bytes(cache['used'])} of {limit}"
    else:
        yield f"at most {limit}"
    for name, held in cache.get("held", {}).items():
        yield f"{name} {in_bytes(held)}"
    if cache.get("steps_aside"):
        yield f"steps aside now: {cache['steps_aside']}"
    yield str(cache.get("directory"))


def _progress(progress: Mapping[str, Any]) -> Iterator[str]:
    done, total, rate = progress["done"], progress["total"], progress["per_second"]
    yield f"{progress['of']} {_percent(done / total if total else 1.0)}"
    is_bytes = progress["unit"] == "bytes"
    if is_bytes:
        yield f"{in_bytes(done)} of {in_bytes(total)}"
    else:
        yield f"{done:,} of {total:,} {progress['unit']}"
    if not progress["running"]:
        yield "done" if done >= total else "stopped: the log says why"
        return
    if rate:
        yield f"{in_bytes(rate)}/s" if is_bytes else f"{rate:,.0f} a second"
    if progress["seconds_left"] is not None:
        yield f"{in_time(progress['seconds_left'])} left"


def _problems(details: Mapping[str, Any]) -> Iterator[Line]:
    problems = list(map(str, details.get("problems", ())))
    warnings = [text for text in map(str, details.get("warnings", ())) if text not in problems]
    if not problems and not warnings:
        yield Line("problems", ["none"])
    for label, texts in (("problem", problems), ("warning", warnings)):
        for text in texts[:MOST_PROBLEMS]:
            yield Line(label, [text])
        if len(texts) > MOST_PROBLEMS:
            yield Line(label, [f"and {len(texts) - MOST_PROBLEMS:,} more: see the log"])


def one_line(entry: MountStatus) -> str:
    """A mount in one line, for a log of its life."""
    details, now = entry.details, entry.details.get("now")
    parts = []
    if entry.state != "live":
        parts = [STATES[entry.state]]
    elif isinstance(now, Mapping):
        parts = _now(details)
        for progress in details.get("progress", ()):
            parts.append(f"{progress['what']} {' '.join(list(_progress(progress))[:1])}")
        parts.append(f"limit: {details.get('limit', {}).get('sentence')}")
        problems = len(details.get("problems", ()))
        parts += [f"{problems} problem{'' if problems == 1 else 's'}"] if problems else []
    else:
        parts = ["not known yet"]
    return f"{entry.mountpoint}: {', '.join(parts)}"


# --- the curve ------------------------------------------------------------------------------------


def curve_of(details: Mapping[str, Any], width: int, *, blocks: bool = True) -> list[Line]:
    """Images a second in the last minutes, in one line of at most ``width`` columns, and what it
    shows; none without a history.
    """
    history = details.get("history")
    rates = history.get("images_per_second", []) if isinstance(history, Mapping) else []
    if not rates:
        return []
    most = max(rates)
    minutes = in_time(len(rates) * history.get("seconds", 1)) if history else ""
    return [
        Line("curve", [sparkline(rates, max(1, width - _LABEL_WIDTH), blocks=blocks)]),
        Line("", [f"images/s in the last {minutes}, {most:,.0f} at most"]),
    ]


def sparkline(values: Sequence[float], width: int, *, blocks: bool = True) -> str:
    """Values as bars from nothing to the highest one; several share a column where there are more
    than ``width``.
    """
    bars = _BARS if blocks else _PLAIN_BARS
    count = min(width, len(values))
    edges = [len(values) * at // count for at in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    most = max(means, default=0.0)
    steps = len(bars) - 1
    return "".join(bars[round(steps * mean / most) if most else 0] for mean in means)


# --- how it is laid out ---------------------------------------------------------------------------


def laid_out(lines: Iterable[Line], width: int) -> list[str]:
    """Lines for a terminal: labels in a column of their own, parts side by side as far as they fit,
    none broken that can stay whole; what goes on hangs below its beginning.
    """
    room = max(20, width - _LABEL_WIDTH)
    found = []
    for label, parts in lines:
        rows: list[str] = []
        for part in map(printable, parts):
            if rows and len(rows[-1]) + len(_GAP) + len(part) <= room:
                rows[-1] += _GAP + part
            else:
                rows += wrapped(part, room)
        found += [
            f"{'' if at else label:<{_LABEL_WIDTH}}{row}".rstrip() for at, row in enumerate(rows)
        ]
    return found


def show_lines(lines: Iterable[Line], width: int | None) -> None:
    """On standard output; a line of ``label<TAB>parts`` each where ``width`` is None."""
    if width is None:
        first, *rest = [(label, ", ".join(parts)) for label, parts in lines]
        table(first, rest)
        return
    for row in laid_out(lines, width):
        show(row)


def has_blocks() -> bool:
    """Whether standard output can show block characters."""
    return (sys.stdout.encoding or "").lower().replace("-", "") in ("utf8", "utf8sig")


def in_seconds(seconds: float) -> str:
    """``0.0041`` -> ``4.1 ms``: two digits, for nothing more is known."""
    for unit, factor in (("s", 1.0), ("ms", 1e3), ("µs", 1e6)):
        value = seconds * factor
        if value >= 1 or unit == "µs":
            break
    return f"{value:.1f} {unit}" if value < 10 else f"{value:,.0f} {unit}"


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %"
