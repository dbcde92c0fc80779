"""What root waits for within long work: the silences of a process that reads and computes.

Listing an archive may take minutes, and is no wait as long as it advances. A file system that does
not answer makes the process do nothing; so the time in which it did nothing is what is added up.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from imagenetfs.system.child_call import ChildCall, NoAnswerError
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from imagenetfs.system.patience import PATIENCE, Patience

LOOK_SECONDS = 0.5

SHORTEST_SILENCE = 1.0
"""Seconds; an answer that comes sooner is that of a slow file system at work."""

_PROC = Path("/proc")
_UTIME, _STIME = 11, 12  # in /proc/PID/stat, behind the command's name

WorkSigns = tuple[tuple[int, ...], ...]


class WorkWatch:
    """Takes the silences of something at work from what root may wait for in all.

    ``progress``: what has been done so far; only whether it differs from before means anything.
    """

    def __init__(
        self,
        progress: Callable[[], object],
        patience: Patience = PATIENCE,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._progress = progress
        self._patience = patience
        self._clock = clock
        self._last: object = None
        self._since = 0.0
        self._taken = 0.0

    def is_over(self) -> bool:
        """Look, and tell whether all that this process may wait for is used up; never for users."""
        if not self._patience.is_limited:
            return False
        done, now = self._progress(), self._clock.monotonic()
        if done != self._last:
            self._last, self._since, self._taken = done, now, 0.0
            return False
        silence = now - self._since
        if silence < SHORTEST_SILENCE:
            return False
        self._patience.spend(silence - self._taken)
        self._taken = silence
        return self._patience.seconds(SHORTEST_SILENCE) <= 0.0


def call_watched(
    question: Callable[[], Any],
    wanted: float,
    patience: Patience = PATIENCE,
    clock: Clock = SYSTEM_CLOCK,
) -> Any:
    """The answer of a question that takes work, from a child process: ``wanted`` seconds at most,
    and as root none once its silences have used up what root waits for in all. Raises as
    ``call_in_child`` does.
    """
    if patience.is_limited and patience.seconds(wanted) <= 0.0:
        error = NoAnswerError()
        error.is_asked = False
        raise error
    call = ChildCall(question, clock)
    watch = WorkWatch(lambda: progress_of(call.pid), patience, clock)
    return call.answer(clock.monotonic() + wanted, watch.is_over, LOOK_SECONDS)


def progress_of(pid: int) -> WorkSigns:
    """What a process and its descendants have done so far: system calls for reading, ticks of
    computing, and how often their threads went on after a wait; nothing of what cannot be seen.
    """
    return tuple((one, *_done(one)) for one in (pid, *_descendants(pid)))


def _done(pid: int) -> Iterator[int]:
    place = _PROC / str(pid)
    with contextlib.suppress(OSError, IndexError, ValueError):
        yield int((place / "io").read_text().split("syscr: ")[1].split()[0])
    with contextlib.suppress(OSError, IndexError, ValueError):
        words = (place / "stat").read_text().rpartition(")")[2].split()
        yield int(words[_UTIME]) + int(words[_STIME])
    with contextlib.suppress(OSError, IndexError, ValueError):
        yield sum(_switches(task) for task in (place / "task").iterdir())


def _switches(task: Path) -> int:
    """How often a thread has waited and gone on."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        return int((task / "status").read_text().split("\nvoluntary_ctxt_switches:")[1].split()[0])
    return 0


def _descendants(pid: int) -> list[int]:
    """By the parent that each process has: not every kernel has files that list children."""
    children: dict[int, list[int]] = {}
    for place in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            parent = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(place.name))
    found, waiting = [], [pid]
    while waiting:
        of_one = sorted(children.get(waiting.pop(), ()))
        found += of_one
        waiting += of_one
    return found
