"""``imagenetfs status --watch``: a live screen on a terminal, elsewhere a line now and then.

It starts no thread, for each look forks a child. Ctrl-C is how it ends.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from imagenetfs.cli.status_metrics import write_metrics
from imagenetfs.cli.status_view import Line, curve_of, has_blocks, laid_out, lines_of, one_line
from imagenetfs.cli.terminal import has_styles, say, show
from imagenetfs.errors import NotMountedError
from imagenetfs.job.status import MountStatus, add_cache_fill, collect
from imagenetfs.system.patience import PATIENCE

SCREEN_SECONDS = 1.0
LINE_SECONDS = 10.0
"""Between two looks; and between two looks at a cache's directory, or two writings of metrics."""

NO_MOUNT = "this user has no mount of imagenetfs here."
_HINT = "Ctrl-C ends this"
_STYLES = {
    "mountpoint": "bold",
    "problem": "red",
    "warning": "yellow",
    "limit": "bold",
    "curve": "cyan",
    "hint": "dim",
}


class _Looks:
    """Looks at the mounts again and again; what a cache holds, and metrics, less often."""

    def __init__(self, mountpoint: str | None, metrics: Path | None) -> None:
        self._mountpoint = mountpoint
        self._metrics = metrics
        self._due = 0.0
        self._fill: dict[str, dict[str, Any]] = {}
        self._seen = False

    def look(self) -> list[MountStatus] | None:
        """What there is now; None where the mount that was there has ended."""
        PATIENCE.renew()
        try:
            found = collect(self._mountpoint)
        except NotMountedError:
            if not self._seen:
                raise
            return None
        self._seen = True
        if time.monotonic() >= self._due:
            self._due = time.monotonic() + LINE_SECONDS
            add_cache_fill(found)
            self._fill = {entry.mountpoint: entry.details.get("cache") or {} for entry in found}
            if self._metrics is not None:
                write_metrics(self._metrics, found)
        for entry in found:
            cache, kept = entry.details.get("cache"), self._fill.get(entry.mountpoint, {})
            if cache and "used" not in cache and "used" in kept:
                cache |= {name: kept[name] for name in ("used", "held")}
        return found


def watch(mountpoint: str | None, metrics: Path | None) -> None:
    """Show what mounts do until Ctrl-C, or until the one that was named has ended."""
    looks = _Looks(mountpoint, metrics)
    try:
        has_ended = _on_screen(looks) if sys.stdout.isatty() else _as_lines(looks)
    except KeyboardInterrupt:
        return
    if has_ended:
        say(f"the mount at {mountpoint} has ended.")


def _as_lines(looks: _Looks, pause: Callable[[float], None] = time.sleep) -> bool:
    while (found := looks.look()) is not None:
        now = time.strftime("%H:%M:%S")
        for text in map(one_line, found):
            show(f"{now} {text}")
        if not found:
            show(f"{now} {NO_MOUNT}")
        sys.stdout.flush()
        pause(LINE_SECONDS)
    return True


def _on_screen(looks: _Looks) -> bool:
    from rich.console import Console
    from rich.live import Live

    found = looks.look()  # a refusal is said before the screen is taken
    console = Console()
    # What rich puts in the place of standard output does not know its encoding.
    with Live(
        console=console,
        screen=True,
        auto_refresh=False,
        redirect_stdout=False,
        redirect_stderr=False,
    ) as live:
        while found is not None:
            width, height = console.size
            live.update(_text(screen_of(found, width, height)), refresh=True)
            time.sleep(SCREEN_SECONDS)
            found = looks.look()
    return True


def screen_of(found: list[MountStatus], width: int, height: int) -> list[tuple[str, str]]:
    """The rows of a screen, each with what it is about; at most as many as there is room for, the
    last of which says how it ends.
    """
    rows: list[tuple[str, str]] = []
    for line in chain.from_iterable(map(_with_curve(width), found)):
        rows += [(line.label, row) for row in laid_out([line], width)]
    if not found:
        rows.append(("", NO_MOUNT))
    if len(rows) > height - 2:
        rows = [*rows[: max(0, height - 3)], ("", "... more than fits on this screen")]
    return [*rows, ("", ""), ("hint", f"{time.strftime('%H:%M:%S')}   {_HINT}")]


def _with_curve(width: int) -> Callable[[MountStatus], Iterator[Line]]:
    def lines(entry: MountStatus) -> Iterator[Line]:
        for line in lines_of(entry):
            yield line
            if line.label == "now":
                yield from curve_of(entry.details, width, blocks=has_blocks())

    return lines


def _text(rows: list[tuple[str, str]]) -> Any:
    from rich.text import Text

    text = Text(no_wrap=True, overflow="crop")
    for about, row in rows:
        text.append(row + "\n", style=_STYLES.get(about, "") if has_styles() else "")
    return text
