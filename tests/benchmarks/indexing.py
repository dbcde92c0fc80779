"""Making an index of the train set: seconds, and bytes a member."""

from __future__ import annotations

import shutil
import sys
from functools import partial
from pathlib import Path

from . import children
from .data import Data
from .results import Part
from .runner import ANSWER_SECONDS, Run, take_turns
from .systems import OURS, RATARMOUNT, System, imagenetfs, mounted, ratarmount


def measure(run: Run) -> Part:
    """imagenetfs and ratarmount in interleaved rounds, the archive in the page cache."""
    assert run.data is not None
    part = run.part(classes=run.data.size.classes, images=run.data.size.images)
    systems = [imagenetfs(run.data.source, None, run.data.tar)]
    if run.peers.ratarmount:
        index = run.workspace.path("index", RATARMOUNT)
        systems.append(ratarmount(run.peers.ratarmount, run.data.tar, index, run.data.tar))
    one = partial(_index, run, run.data)
    take_turns(run, part, "index", systems, one, range(run.rounds))
    return part


def _index(run: Run, data: Data, system: System) -> dict[str, float]:
    index = run.workspace.path("index", system.name)
    shutil.rmtree(index, ignore_errors=True)
    index.unlink(missing_ok=True)
    if system.name == OURS:
        return index_ours(run, data.source, index, data.size.files)
    with mounted(system, run.workspace) as mount:
        seconds = mount.seconds
    return {"seconds": seconds, "bytes": index.stat().st_size / data.size.files}


def index_ours(run: Run, source: Path, index: Path, members: int) -> dict[str, float]:
    """`imagenetfs index` from nothing: seconds of the whole command, bytes a member of the file."""
    log = run.workspace.path("logs", "index")
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "imagenetfs",
        "index",
        source,
        "--index-dir",
        index,
    ]
    seconds = children.run(command, run.workspace.environ, log, ANSWER_SECONDS)
    return {"seconds": seconds, "bytes": index_size(index) / members}


def index_size(index: Path) -> int:
    """Bytes of the index file of train, or of winter21_whole; 0 where it is not there yet."""
    files = (*index.rglob("*train*.idx"), *index.rglob("winter21*.idx"))
    return sum(file.stat().st_size for file in files)
