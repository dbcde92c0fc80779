"""The files below .imagenetfs/ that change while the mount lives: status.json and log."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from imagenetfs.cache.inflated_arrays import UnderWay
from imagenetfs.counters import LATENCY_BUCKETS, Counter
from imagenetfs.fuse.activity import Activity, activity_of, limit_of, origins, rates
from imagenetfs.fuse.progress import Progress, ProgressRow
from imagenetfs.fuse.samples import Sample
from imagenetfs.fuse.stats import INDEXER, STAGER, SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.source.failures import FailureRegister
from imagenetfs.system.files import open_regular
from imagenetfs.tree.late_warnings import LateWarnings

_LOG_TAIL = 128 * 1024

NOW_SECONDS = 5
"""What is said of now is the mean of so many samples, a second apart."""


class StatusFiles:
    """Makes their contents from the shared statistics, what was noticed since, and the log file."""

    def __init__(
        self,
        stats: SharedStats,
        late_warnings: LateWarnings,
        log_path: Path | None,
        failures: FailureRegister,
        inflating: Callable[[], Sequence[UnderWay]] = tuple,
        log_start: int = 0,
    ) -> None:
        """``log_start``: the byte of the log at which this mount begins; earlier ones of this place
        stand before. ``failures``: what could not be read, counted by whichever process answers;
        ``inflating()``: the arrays that are being inflated.
        """
        self._inflating = inflating
        self.failures = failures
        self._stats = stats
        self._late_warnings = late_warnings
        self._log_path = log_path
        self._log_start = log_start

    def contents(self, name: str) -> bytes:
        """The contents now."""
        return self._status() if name == "status.json" else self._log()

    def _status(self) -> bytes:
        facts = self._stats.facts()
        now = time.monotonic_ns()
        facts["workers"] = [
            {"pid": pid, "state": _state(self._stats.row(number), now)}
            for number, pid in enumerate(facts.pop("worker_pids", []))
            if pid
        ][:MAX_WORKERS]
        failures = self.failures.all()
        problems = [*self._late_warnings.all(), *map(str, failures)]
        facts["warnings"] = [*facts.get("warnings", ()), *problems]
        # What was known to be missing at mount is a problem of whatever ran on it.
        facts["problems"] = [*facts.pop("shortfalls", ()), *problems]
        facts["failures"] = [
            {"problem": failure.sentence, "requests": failure.count, "over": failure.is_over}
            for failure in failures
        ]
        facts["counters"] = self._stats.counters()
        facts["progress"] = [each.as_json() for each in self._progress(facts, now)]
        for name in ("split_names", "stage"):
            facts.pop(name, None)
        facts |= _activity(self._stats, facts, now)
        if facts.get("cache"):
            trouble = self._stats.cache_trouble(now)
            facts["cache"]["steps_aside"] = os.strerror(trouble) if trouble else None
        return json.dumps(facts, indent=1).encode() + b"\n"

    def _progress(self, facts: Mapping[str, Any], now_ns: int) -> Iterator[Progress]:
        """What goes on in the background, and how far the stager came."""
        indexer, stager = (
            ProgressRow(self._stats.row(number), lambda: now_ns) for number in (INDEXER, STAGER)
        )
        names = facts.get("split_names", ())
        if indexer.of is not None and indexer.of < len(names):
            yield from _known(indexer.read("indexing", names[indexer.of], "archives"))
        if stager.of is not None:
            yield from _known(stager.read("staging", ", ".join(facts.get("stage", ())), "bytes"))
        for one in self._inflating():
            yield Progress(
                "unpacking", one.title, "bytes", one.done, one.size, one.done, one.seconds
            )

    def _log(self) -> bytes:
        if self._log_path is None:
            return b""
        try:
            with os.fdopen(open_regular(self._log_path), "rb") as file:
                size = os.fstat(file.fileno()).st_size
                start = self._log_start if self._log_start <= size else 0  # else it is another one
                file.seek(max(start, size - _LOG_TAIL))
                return file.read(_LOG_TAIL)
        except OSError:
            return b""


def _known(progress: Progress | None) -> Iterator[Progress]:
    if progress is not None:
        yield progress


def _activity(stats: SharedStats, facts: Mapping[str, Any], now_ns: int) -> dict[str, Any]:
    """What is done now, what limits it, the last minutes, and what came from where until now."""
    samples = stats.samples.last()
    now = activity_of(samples[-NOW_SECONDS - 1 :])
    limit = limit_of(
        now,
        cpus=facts.get("cpus", 1),
        ceiling=facts.get("most_workers", MAX_WORKERS),
        has_cache=bool(facts.get("cache")),
    )
    whole = activity_of([Sample(), stats.sample(now_ns)])
    return {
        "now": None if now is None else _rounded(now),
        "limit": {
            "by": limit.by.value,
            "sentence": limit.sentence,
            "advice": limit.advice,
        },
        "history": {
            "seconds": 1,
            "images_per_second": [round(rate, 1) for rate in rates(samples, "images")],
            "bytes_per_second": [round(rate) for rate in rates(samples, "bytes")],
        },
        "origins": None if whole is None else _parts(whole),
        "source_latency": _histogram(stats.sample(now_ns)),
    }


def _rounded(now: Activity) -> dict[str, Any]:
    found = {
        name: round(value, 6) if isinstance(value, float) else value
        for name, value in asdict(now).items()
    }
    return {**found, "busy": round(now.busy, 4), "origins": _parts(now)}


def _parts(activity: Activity) -> dict[str, float]:
    return {name: round(part, 4) for name, part in origins(activity).items()}


def _histogram(sample: Sample) -> dict[str, Any]:
    """The source's requests by how long they took, as far as there are any: ``below`` so many
    seconds so many ``requests``; ``seconds`` of all together.
    """
    filled = [at for at in range(LATENCY_BUCKETS) if sample.latency[at]]
    buckets = range(filled[0], filled[-1] + 1) if filled else range(0)
    return {
        "below": [2**at / 1e9 for at in buckets],
        "requests": [sample.latency[at] for at in buckets],
        "seconds": sample.spent_ns / 1e9,
    }


def _state(row: memoryview, now: int) -> str:
    stopped = row[Counter.STOPPED_SINCE]
    if stopped:
        return f"does not answer: stopped for {(now - stopped) / 1e9:.1f} s"
    since = row[Counter.SOURCE_SINCE]
    if since:
        return f"in the source for {(now - since) / 1e9:.1f} s"
    return "busy" if row[Counter.BUSY_SINCE] else "idle"
