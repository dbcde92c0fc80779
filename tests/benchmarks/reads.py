"""Shuffled reads by 1, 4 and 8 processes: the first pass over a fresh mount, and the second."""

from __future__ import annotations

from functools import partial

from .bound import bound
from .children import Asked
from .data import Data
from .errors import BenchmarkError
from .pagecache import free_pages
from .processes import usage
from .results import Part
from .runner import ANSWER_SECONDS, Run, client, take_turns
from .systems import BOUND, System, all_systems, mounted

PROCESSES = (1, 4, 8)
PASSES = ("first", "second")


def measure(run: Run) -> Part:
    """All systems and the limit, all numbers of processes, in interleaved rounds."""
    assert run.data is not None
    part = run.part(classes=run.data.size.classes, images=run.data.size.images)
    systems = all_systems(run.data, run.peers)
    try:
        systems.append(bound(run.data, run.workspace))
    except BenchmarkError as error:
        part.absent[BOUND] = str(error)
    for number in range(run.rounds):
        for processes in PROCESSES:
            one = partial(_two_passes, run, run.data, processes)
            take_turns(run, part, f"reads by {processes}", systems, one, [number])
    return part


def _two_passes(run: Run, data: Data, processes: int, system: System) -> dict[str, float]:
    """Images a second of both passes, and the server's CPU in microseconds an image over both."""
    with mounted(system, run.workspace) as mount, client(run.workspace) as asked:
        asked.ask("collect", str(mount.train), timeout=ANSWER_SECONDS)
        free_pages(data.bytes + data.bytes // 4)
        values = {}
        before = usage(mount.pid).seconds
        for name in PASSES:
            values[f"{name} {processes}"] = _images_a_second(asked, data, processes)
        spent = usage(mount.pid).seconds - before
        if mount.pid is not None:
            values[f"cpu {processes}"] = 1e6 * spent / (len(PASSES) * data.size.files)
        return values


def _images_a_second(asked: Asked, data: Data, processes: int) -> float:
    answer = asked.ask("read", processes, timeout=ANSWER_SECONDS)
    if answer["failed"] or answer["bytes"] != data.bytes:
        raise BenchmarkError(
            f"{answer['failed']} readers failed; {answer['bytes']:,} bytes of {data.bytes:,} came."
        )
    return float(answer["files"] / answer["seconds"])
