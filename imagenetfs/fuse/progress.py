"""How far a background process of a mount is, in its row of the shared counters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from imagenetfs.counters import Counter, CounterView


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total``, in ``unit``; ``brought``: the part of it that was done since
    ``seconds``, and not there before. ``what`` is being done ``of`` which data.
    """

    what: str
    of: str
    unit: str
    done: int
    total: int
    brought: int
    seconds: float
    running: bool = True

    @property
    def per_second(self) -> float:
        """How much is done in a second; what was there before does not count."""
        return self.brought / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_left(self) -> float | None:
        """Until all is done, at the rate so far; None where that is not known."""
        if not self.running or not self.brought or self.seconds <= 0:
            return None
        return max(0, self.total - self.done) / self.per_second

    def as_json(self) -> dict[str, object]:
        """For status.json."""
        left = self.seconds_left
        return {
            "what": self.what,
            "of": self.of,
            "unit": self.unit,
            "done": self.done,
            "total": self.total,
            "running": self.running,
            "per_second": round(self.per_second, 1),
            "seconds_left": None if left is None else round(left, 1),
        }


class ProgressRow:
    """A process's own row, as far as it says what it has done."""

    def __init__(self, row: CounterView, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._row = row
        self._now_ns = now_ns

    def begin(self, of: int = 0) -> None:
        """Something is begun: it has this number among its like."""
        row = self._row
        row[Counter.PROGRESS_DONE] = row[Counter.PROGRESS_TOTAL] = row[Counter.PROGRESS_BROUGHT] = 0
        row[Counter.PROGRESS_SINCE] = self._now_ns()
        row[Counter.PROGRESS_OF] = of + 1

    def update(self, done: int, total: int, brought: int) -> None:
        """So much is done of so much, and ``brought`` of it since the beginning."""
        row = self._row
        row[Counter.PROGRESS_DONE], row[Counter.PROGRESS_TOTAL] = done, total
        row[Counter.PROGRESS_BROUGHT] = brought

    def stop(self) -> None:
        """It goes on no more; how far it came can still be read."""
        self._row[Counter.PROGRESS_SINCE] = 0

    def clear(self) -> None:
        """There is nothing to be said of it any more."""
        self._row[Counter.PROGRESS_OF] = 0

    @property
    def of(self) -> int | None:
        """The number of what was begun last; None for nothing."""
        number = self._row[Counter.PROGRESS_OF]
        return number - 1 if number else None

    def read(self, what: str, of: str, unit: str) -> Progress | None:
        """How far it is; None where it cannot be said yet."""
        row = self._row
        total, since = row[Counter.PROGRESS_TOTAL], row[Counter.PROGRESS_SINCE]
        if not total:
            return None
        return Progress(
            what,
            of,
            unit,
            row[Counter.PROGRESS_DONE],
            total,
            row[Counter.PROGRESS_BROUGHT],
            (self._now_ns() - since) / 1e9 if since else 0.0,
            bool(since),
        )
