"""``imagenetfs status --metrics FILE``: metrics in Prometheus' text format.

For node_exporter's textfile collector, which reads whatever ends in ``.prom``: so FILE is replaced
by one that is whole, under whose name nothing else ever stands.
"""

from __future__ import annotations

import itertools
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from imagenetfs.errors import PlaceRefusedError
from imagenetfs.job.status import MountStatus

_FOR_ALL = 0o644
"""The collector is another user."""

_LIMITS = [2**power / 1e9 for power in range(14, 36)]
"""Of the histogram: from 16 microseconds to 34 seconds, always the same."""

Labels = Mapping[str, str]


class Metric(NamedTuple):
    """A metric and what it is of one mount: (suffix of its name, labels, value) each."""

    name: str
    kind: str
    help: str
    values: Sequence[tuple[str, Labels, float]]


def write_metrics(path: Path, found: Sequence[MountStatus]) -> None:
    """Replace a file by one that says what these mounts do. Raises PlaceRefusedError."""
    text = metrics_text(found)
    new: Path | None = None
    try:
        # A name that no other writer has, in a container with the same process number either.
        fd, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        new = Path(name)
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            os.fchmod(fd, _FOR_ALL)
            file.write(text)
        new.replace(path)
    except OSError as error:
        if new is not None:
            new.unlink(missing_ok=True)
        raise PlaceRefusedError(
            f"The metrics cannot be written to {path}: {error.strerror}. Name a file in a "
            "directory that is there, and in which you may write."
        ) from error


def metrics_text(found: Sequence[MountStatus]) -> str:
    """All mounts' metrics; those of one name stand together, as the format wants it."""
    by_name: dict[str, list[Metric]] = {}
    for entry in found:
        for metric in _metrics_of(entry):
            by_name.setdefault(metric.name, []).append(metric)
    return "".join(itertools.chain.from_iterable(map(_lines, by_name.values())))


def _lines(metrics: list[Metric]) -> Iterator[str]:
    first = metrics[0]
    yield f"# HELP {first.name} {first.help}\n"
    yield f"# TYPE {first.name} {first.kind}\n"
    for metric in metrics:
        for suffix, labels, value in metric.values:
            pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
            yield f"{metric.name}{suffix}{{{pairs}}} {_number(value)}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return repr(value)


# --- what is said ---------------------------------------------------------------------------------

_COUNTERS = (
    ("images_read", "images_read_total", "Images that the kernel asked for."),
    ("bytes_served", "served_bytes_total", "Bytes handed to the kernel."),
    ("errors", "errors_total", "Requests that were answered with an error."),
    ("source_requests", "source_requests_total", "Requests to the source."),
    ("source_bytes", "source_read_bytes_total", "Bytes read from the source."),
    ("cache_hits", "cache_hits_total", "Reads that the read cache answered."),
    ("cache_misses", "cache_misses_total", "Reads that it did not."),
    ("cache_bytes", "cache_read_bytes_total", "Bytes read from the read cache."),
)


def _metrics_of(entry: MountStatus) -> Iterator[Metric]:
    of = {"mountpoint": entry.mountpoint}
    details = entry.details

    def one(name: str, kind: str, text: str, value: Any, **labels: str) -> Iterator[Metric]:
        if isinstance(value, int | float):
            yield Metric(f"imagenetfs_{name}", kind, text, [("", {**of, **labels}, value)])

    yield from one("up", "gauge", "Whether the mount answers.", int(entry.state == "live"))
    yield from one(
        "start_time_seconds", "gauge", "When it was mounted, since 1970.", details.get("started")
    )
    counters = details.get("counters", {})
    for key, name, text in _COUNTERS:
        yield from one(name, "counter", text, counters.get(key))
    yield from _by_label(
        "requests_total", "counter", "Requests of the kernel.", of, counters.get("requests"), "kind"
    )
    now = details.get("now") or {}
    yield from one("workers", "gauge", "Worker processes.", len(details.get("workers", ())))
    yield from one(
        "worker_restarts_total", "counter", "Workers that died.", details.get("worker_restarts")
    )
    yield from one("worker_busy_ratio", "gauge", "How busy workers were just now.", now.get("busy"))
    yield from one(
        "requests_under_way", "gauge", "Requests in their hands, on average.", now.get("under_way")
    )
    yield from _latency(of, details.get("source_latency"))
    cache = details.get("cache") or {}
    yield from one("cache_limit_bytes", "gauge", "How large it may be.", cache.get("size"))
    yield from one("cache_used_bytes", "gauge", "What it takes on disk.", cache.get("used"))
    yield from _by_label(
        "cache_held_bytes", "gauge", "What it holds of the data.", of, cache.get("held"), "data"
    )
    yield from one("problems", "gauge", "Problems that there are.", _length(details, "problems"))
    yield from _limit(of, details.get("limit"))
    yield from _background(of, details.get("progress"))


def _length(details: Mapping[str, Any], name: str) -> int | None:
    return len(details[name]) if name in details else None


def _by_label(
    name: str, kind: str, text: str, of: Labels, found: object, label: str
) -> Iterator[Metric]:
    if isinstance(found, Mapping) and found:
        values = [("", {**of, label: str(key)}, value) for key, value in found.items()]
        yield Metric(f"imagenetfs_{name}", kind, text, values)


def _latency(of: Labels, found: object) -> Iterator[Metric]:
    """A histogram: of Prometheus' buckets each holds those before it."""
    if not isinstance(found, Mapping):
        return
    counted = list(zip(found["below"], found["requests"], strict=True))
    total = sum(count for _, count in counted)
    values: list[tuple[str, Labels, float]] = [
        (
            "_bucket",
            {**of, "le": f"{limit:.9g}"},
            sum(count for below, count in counted if below <= limit),
        )
        for limit in _LIMITS
    ]
    values += [("_bucket", {**of, "le": "+Inf"}, total)]
    values += [("_sum", of, float(found["seconds"])), ("_count", of, total)]
    yield Metric(
        "imagenetfs_source_request_duration_seconds",
        "histogram",
        "How long the workers' requests to the source took.",
        values,
    )


def _limit(of: Labels, found: object) -> Iterator[Metric]:
    if isinstance(found, Mapping):
        values = [("", {**of, "by": str(found.get("by"))}, 1)]
        yield Metric("imagenetfs_limit_info", "gauge", "What limits the readers.", values)


def _background(of: Labels, found: Iterable[Mapping[str, Any]] | None) -> Iterator[Metric]:
    for each in found or ():
        labels = {**of, "what": str(each["what"]), "of": str(each["of"])}
        done = each["done"] / each["total"] if each["total"] else 1.0
        yield Metric(
            "imagenetfs_background_done_ratio",
            "gauge",
            "How much of a background task is done.",
            [("", labels, float(done))],
        )
