"""The files below .imagenetfs/ that change while the mount lives: status.json and log."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from imagenetfs.counters import Counter
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.limits import MAX_WORKERS
from imagenetfs.source.failures import FailureRegister
from imagenetfs.system.files import open_regular
from imagenetfs.tree.late_warnings import LateWarnings

_LOG_TAIL = 128 * 1024


class StatusFiles:
    """Makes their contents from the shared statistics, what was noticed since, and the log file."""

    def __init__(
        self,
        stats: SharedStats,
        late_warnings: LateWarnings,
        log_path: Path | None,
        failures: FailureRegister,
    ) -> None:
        """``failures``: what could not be read, counted by whichever process answers."""
        self.failures = failures
        self._stats = stats
        self._late_warnings = late_warnings
        self._log_path = log_path

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
        if facts.get("cache"):
            trouble = self._stats.cache_trouble(now)
            facts["cache"]["steps_aside"] = os.strerror(trouble) if trouble else None
        return json.dumps(facts, indent=1).encode() + b"\n"

    def _log(self) -> bytes:
        if self._log_path is None:
            return b""
        try:
            with os.fdopen(open_regular(self._log_path), "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - _LOG_TAIL))
                return file.read(_LOG_TAIL)
        except OSError:
            return b""


def _state(row: memoryview, now: int) -> str:
    stopped = row[Counter.STOPPED_SINCE]
    if stopped:
        return f"does not answer: stopped for {(now - stopped) / 1e9:.1f} s"
    since = row[Counter.SOURCE_SINCE]
    if since:
        return f"in the source for {(now - since) / 1e9:.1f} s"
    return "busy" if row[Counter.BUSY_SINCE] else "idle"
