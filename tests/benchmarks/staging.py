"""Staging from a slow source: how fast it is against `cat`, and what it leaves to
those who read meanwhile.

The source (slow.c) has a bandwidth that all share, and that readers can use up. Readers come to a
fresh mount, with and without a stager beside them; each second counts by itself.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import median

from . import children
from .epochs import PROCESSES, clean
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .slow import slow_program, slow_source
from .systems import CAT, OURS, STAGED, System, mounted

BANDWIDTH = 100e6
"""Bytes a second for all."""

_WINDOW, _MOST_WINDOWS = 1.0, 30
_TRAIN = "ILSVRC2012/train"


def staging_prefix(milliseconds: int) -> str:
    """What the names of metrics begin with that were taken at so many milliseconds a request."""
    return "" if milliseconds == 1 else f"{milliseconds} ms "


def measure(run: Run) -> Part:
    """Readers alone and beside a stager; `imagenetfs stage` and `cat`; in interleaved rounds."""
    assert run.data is not None
    size = run.data.size
    part = run.part(classes=size.classes, images=size.images, processes=PROCESSES)
    program = slow_program(run)
    for milliseconds in run.milliseconds:
        _measure_at(run, part, program, milliseconds)
    return part


def _measure_at(run: Run, part: Part, program: Path, milliseconds: int) -> None:
    """With a source whose every request takes so long."""
    assert run.data is not None
    base, at = run.data.tree.parent, staging_prefix(milliseconds)

    def rates(way: System) -> dict[str, float]:
        return {at + name: value for name, value in _rates(run, way).items()}

    def speed(way: System) -> dict[str, float]:
        return {at + name: value for name, value in _speed(run, way).items()}

    with slow_source(run, program, base, milliseconds / 1000, BANDWIDTH) as slow:
        source = slow.path / run.data.source.relative_to(base)
        tar = slow.path / run.data.tar.relative_to(base)
        readers, copiers = _mounts(run, source), [System(OURS, _stage(run, source), tar, None)]
        copiers.append(System(CAT, ("sh", "-c", f"cat {tar} >/dev/null"), tar, None))
        for number in range(run.rounds):
            take_turns(
                run, part, f"staging at {milliseconds} ms, readers", readers, rates, [number]
            )
            take_turns(run, part, f"staging at {milliseconds} ms", copiers, speed, [number])


def _mounts(run: Run, source: Path) -> list[System]:
    ours: list[str | Path] = [sys.executable, "-m", "imagenetfs", "mount", "--foreground"]
    ours += [source, "{mnt}", *_cache(run)]
    train = Path(_TRAIN)
    return [
        System(OURS, tuple(ours), train, None),
        System(STAGED, (*ours, "--stage", _TRAIN), train, None),
    ]


def _stage(run: Run, source: Path) -> tuple[str | Path, ...]:
    command = (sys.executable, "-m", "imagenetfs", "stage", source, _TRAIN)
    return (*command, *_cache(run))


def _cache(run: Run) -> list[str | Path]:
    cache = run.workspace.path("epochs", "cache")
    return ["--index-dir", "none", "--cache-dir", cache, "--cache-size", "100%"]


def _rates(run: Run, way: System) -> dict[str, float]:
    """Images in the median second, and in the slowest; the seconds of the slowest in 100 images."""
    with clean(run), mounted(way, run.workspace) as mount, client(run.workspace) as asked:
        asked.ask("collect", str(mount.train), timeout=ANSWER_SECONDS)
        answer = asked.ask("watch", PROCESSES, _WINDOW, _MOST_WINDOWS, timeout=ANSWER_SECONDS)
    rates = answer["rates"]
    return {"rate": median(rates), "least": min(rates), "slow": answer["slow"]}


def _speed(run: Run, way: System) -> dict[str, float]:
    """MB of the archive a second, start of the command (and of the interpreter) included."""
    log = run.workspace.path("logs", "staging")
    with clean(run):
        seconds = children.run(way.command, run.workspace.environ, log, ANSWER_SECONDS)
    return {"speed": way.train.stat().st_size / 1e6 / seconds}
