"""Until a mount answers, the first listings, and os.walk with a stat of each file."""

from __future__ import annotations

from functools import partial

from .data import Data
from .errors import BenchmarkError
from .pagecache import free_pages
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .systems import System, all_systems, mounted

_ROOM = 1 << 29
"""Bytes of free memory for the kernel's inodes and names, and for the servers."""


def measure(run: Run) -> Part:
    """All systems in interleaved rounds."""
    assert run.data is not None
    part = run.part(classes=run.data.size.classes, images=run.data.size.images)
    systems = all_systems(run.data, run.peers)
    one = partial(_list_and_walk, run, run.data)
    take_turns(run, part, "listing", systems, one, range(run.rounds))
    return part


def _list_and_walk(run: Run, data: Data, system: System) -> dict[str, float]:
    """Seconds of each step, on one fresh mount, in the order in which a program would take them."""
    values = {}
    free_pages(_ROOM)
    with mounted(system, run.workspace) as mount, client(run.workspace) as asked:
        if mount.pid is not None:
            values["mount"] = mount.seconds
        train = asked.ask("list", str(mount.train), timeout=ANSWER_SECONDS)
        values["ls train"] = train["seconds"]
        one_class = str(mount.train / train["first"][0])
        values["ls class"] = asked.ask("list", one_class, timeout=ANSWER_SECONDS)["seconds"]
        for name in ("walk first", "walk second"):
            answer = asked.ask("walk", str(mount.train), timeout=ANSWER_SECONDS)
            if (answer["files"], answer["bytes"]) != (data.size.files, data.bytes):
                raise BenchmarkError(
                    f"{answer['files']:,} files of {data.size.files:,} were found."
                )
            values[name] = answer["seconds"]
    return values
