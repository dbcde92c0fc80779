"""ImageNet's real shape: 1,281,167 members in a sparse tar of 148 GB, listed, scanned, and weighed.

Asked for by ``--full``: it takes 5 GB of disk and some minutes. ``winter`` is the same of
winter21_whole: 54 GB with all of its classes, and 5 GB with ``--winter-classes 2000``.
"""

from __future__ import annotations

import shutil
import sys
import time
from functools import partial
from pathlib import Path

from imagenetfs.sample.shape import FULL, WINTER_IMAGES

from . import children, machine
from .errors import BenchmarkError
from .indexing import index_ours, index_size
from .processes import pss
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .systems import OURS, RATARMOUNT, System, imagenetfs, mounted, ratarmount

SAMPLES = 1_281_167
PEER_SECONDS = 240.0
"""A peer's index may take so long to make; then it is stopped, and the document says so."""

_WINTER = Path("winter21_whole", "train")
_AN_IMAGE = ("index", "fresh scan first", "indexed scan first", "fresh pss", "fresh slab")
_TAR = Path("ILSVRC2012", "ILSVRC2012_img_train.tar")
_DISK = 7 << 30
_SLOWEST_SCAN = 20_000  # images a second
_MAKE_SECONDS = 900.0


def measure(run: Run) -> Part:
    """imagenetfs without and with an index file, ratarmount with its
    index, in interleaved rounds.
    """
    source = _tree(run)
    tar = source / _TAR
    part = run.part(samples=SAMPLES, peer_seconds=PEER_SECONDS)
    index = run.workspace.path("full-index")
    systems = [imagenetfs(source, index, tar)]
    make = partial(_make_index, run, _train_alone(run, source), SAMPLES)
    take_turns(run, part, "full size, index", systems, make, range(run.rounds))
    if run.peers.ratarmount:
        peer_index = run.workspace.path("full-index-ratarmount")
        peer_index.unlink(missing_ok=True)
        peer = ratarmount(run.peers.ratarmount, tar, peer_index, tar)
        take_turns(run, part, "full size, index", [peer], make, [0])
        systems.append(peer)
    one = partial(_fresh_and_indexed, run, part, index, SAMPLES)
    take_turns(run, part, "full size", systems, one, range(run.rounds))
    return part


def measure_winter(run: Run) -> Part:
    """winter21_whole, or so many of its classes: imagenetfs alone, without and with an index."""
    classes = run.winter_classes
    source = _tree(run, f"winter-{classes}", "winter21_whole", "--classes", str(classes))
    samples = round(WINTER_IMAGES * classes / FULL.winter_classes)
    part = run.part(samples=samples, classes=classes)
    index = run.workspace.path("winter-index")
    system = System(OURS, imagenetfs(source, index, None).command, _WINTER, None)
    make = partial(_make_index, run, source, samples)
    take_turns(run, part, "winter21_whole, index", [system], make, range(run.rounds))
    one = partial(_fresh_and_indexed, run, part, index, samples)
    take_turns(run, part, "winter21_whole", [system], one, range(run.rounds))
    for each in part.rounds:
        for values in each.values():
            values |= {f"{name} an image": values[name] / samples for name in _AN_IMAGE}
    return part


def _tree(run: Run, name: str = "full-size", *more: str) -> Path:
    """The full-size tree, made by the project's own `sample --full-size` where it is missing."""
    tree = run.workspace.path(name)
    if not tree.exists():
        run.workspace.check_room(_DISK)
        run.say("Making the full-size tree ...")
        command: list[str | Path] = [
            sys.executable,
            "-m",
            "imagenetfs",
            "sample",
            tree,
            "--full-size",
            *more,
        ]
        log = run.workspace.path("logs", "full-size")
        seconds = children.run(command, run.workspace.environ, log, _MAKE_SECONDS)
        run.say(f"The full-size tree was made in {seconds:.0f} s.")
    return tree


def _make_index(run: Run, source: Path, samples: int, system: System) -> dict[str, float]:
    """An index from nothing; ratarmount makes its own by mounting for the first time."""
    if system.name == OURS:
        index = run.workspace.path("full-index-alone")
        shutil.rmtree(index, ignore_errors=True)
        values = index_ours(run, source, index, samples)
        return {"index": values["seconds"], "index bytes": values["bytes"]}
    file = Path(system.command[system.command.index("--index-file") + 1])
    with mounted(system, run.workspace, PEER_SECONDS) as mount:
        return {"index": mount.seconds, "index bytes": file.stat().st_size / SAMPLES}


def _train_alone(run: Run, source: Path) -> Path:
    """A source of the train tar alone: what ratarmount is given too."""
    alone = run.workspace.path("full-size-train")
    tar = alone / _TAR
    if not tar.exists():
        tar.parent.mkdir(parents=True)
        tar.hardlink_to(source / _TAR)
    return alone


def _fresh_and_indexed(
    run: Run, part: Part, index: Path, samples: int, system: System
) -> dict[str, float]:
    if system.name == RATARMOUNT:
        return _scan(run, part, system, "indexed", samples)
    shutil.rmtree(index, ignore_errors=True)
    fresh = _scan(run, part, system, "fresh", samples, index)
    return fresh | _scan(run, part, system, "indexed", samples)


def _scan(
    run: Run, part: Part, system: System, state: str, samples: int, awaited: Path | None = None
) -> dict[str, float]:
    """Mount, `ls train`, ImageFolder's scan twice, and what memory all of that took.

    ``awaited``: where an index file shall stand before the mount goes.
    """
    slab = machine.slab()
    with mounted(system, run.workspace, PEER_SECONDS) as mount, client(run.workspace) as asked:
        values = {"mount": mount.seconds, "pss mounted": float(pss(mount.pid))}
        answer = asked.ask("list", str(mount.train), timeout=ANSWER_SECONDS)
        values["ls train"] = answer["seconds"]
        for name in ("first", "second"):
            timeout = max(ANSWER_SECONDS, samples / _SLOWEST_SCAN)
            answer = asked.ask("image_folder", str(mount.train), timeout=timeout)
            if answer["samples"] != samples:
                raise BenchmarkError(f"{answer['samples']:,} samples of {samples:,} were found.")
            values[f"scan {name}"] = answer["seconds"]
            values.setdefault("slab", float(machine.slab() - slab))
            values.setdefault("pss", float(pss(mount.pid)))
        part.settings["by"] = answer["by"]
        if awaited is not None:
            _wait_for_index(awaited)
    return {f"{state} {name}": value for name, value in values.items()}


def _wait_for_index(index: Path) -> None:
    """Until imagenetfs has written its index file, in passing, behind the scan."""
    deadline = time.monotonic() + 60
    while not index_size(index) and time.monotonic() < deadline:
        time.sleep(0.05)
