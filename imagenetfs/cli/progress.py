"""A progress bar on a terminal (bar, count, rate, time left), plain lines elsewhere.

It draws when it is told of progress, first then, so that nothing precedes a refusal; it
starts no thread of its own, so the work may fork. Everything goes to standard error: standard
output stays the result's.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

from imagenetfs.cli.terminal import is_quiet, literal, say
from imagenetfs.units import in_time

DRAW_SECONDS = 0.1
LINE_SECONDS = 5.0


class ProgressBar:
    """``with ProgressBar("Indexing", unit="images") as bar: bar.update(done, total, "train")``.

    Without a ``unit`` only the part that is done is shown (``bar.fraction("step", 0.5)``). Of what
    :meth:`update` is told, ``size`` is one unit (bytes, where the unit is MB: 1e6).
    """

    def __init__(self, title: str, unit: str | None = None, size: float = 1.0) -> None:
        self._title = title
        self._unit = unit
        self._size = size
        self._step = ""
        self._done = 0.0
        self._there = 0.0
        self._total: float | None = None
        self._began = time.monotonic()
        self._drawn = 0.0
        self._live: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._step = ""
        if self._live is not None:
            if kind is KeyboardInterrupt:
                # The terminal has written ^C behind the bar, which may be on two
                # lines now: no second one.
                self._live.live.transient = True
            else:
                self._draw()
            self._live.stop()
        elif kind is None:
            count = f"{self._count()}, " if self._unit else "done "
            say(f"{self._title}: {count}in {in_time(time.monotonic() - self._began)}.")

    def update(
        self, done: float, total: float | None, step: str = "", *, there: float = 0.0
    ) -> None:
        """So much of ``total`` is ``done``, of which so much was ``there`` before; ``total`` None:
        not known yet.
        """
        if self._live is None and sys.stderr.isatty() and not is_quiet():
            self._live = _live_bar(self._unit is not None)
            self._live.start()
            self._task = self._live.add_task(self._title, total=None, count="", left="")
        changed = step != self._step
        self._done, self._there, self._step = done / self._size, there / self._size, step
        self._total = None if total is None else total / self._size
        now = time.monotonic()
        pause = LINE_SECONDS if self._live is None else DRAW_SECONDS
        if now - self._drawn < pause and not (changed and self._live is not None):
            return
        if self._live is not None:
            self._draw()
        elif now - self._began >= LINE_SECONDS:
            say(f"{self._text()}{self._left(', ', ' left')}")
        self._drawn = now

    def fraction(self, step: str, part: float) -> None:
        """The part of all work that is done, 0 to 1: a progress callback as it stands."""
        self.update(part, 1.0, step)

    def _draw(self) -> None:
        name = f"{self._title} {self._step}".rstrip()
        count = self._count() if self._unit else ""
        self._live.update(
            self._task,
            completed=self._done,
            total=self._total,
            description=literal(name),
            count=count,
            left=self._left("", " left"),
        )
        self._live.refresh()

    def _text(self) -> str:
        """One line: what, how much of it, how fast."""
        name = f"{self._title} {self._step}".rstrip()
        part = f" {100 * self._done / self._total:.0f} %" if self._total else ""
        return f"{name}:{part}{' ' + self._count() if self._unit else ''}"

    def _count(self) -> str:
        of = f"/{self._total:,.0f}" if self._total else ""
        there = f" ({self._there:,.0f} were there)" if self._there else ""
        return f"{self._done:,.0f}{of} {self._unit}{there}, {self._rate():,.0f} {self._unit}/s"

    def _rate(self) -> float:
        return (self._done - self._there) / max(time.monotonic() - self._began, 1e-3)

    def _left(self, before: str, after: str) -> str:
        if not self._total or self._done <= self._there or self._done >= self._total:
            return ""
        return before + in_time((self._total - self._done) / self._rate()) + after


def _live_bar(with_count: bool) -> Any:
    """rich's progress display without its refreshing thread: after a fork that would be trouble."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = [TextColumn("{task.description}"), BarColumn(), TaskProgressColumn()]
    if with_count:
        columns.append(TextColumn("{task.fields[count]}"))
    columns.append(TextColumn("{task.fields[left]}"))
    return Progress(*columns, console=Console(stderr=True), auto_refresh=False)
