"""What the parts share: the run's settings, turns in interleaved rounds,
a client for each mount.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import machine
from .children import Asked, asked
from .data import Data, Size
from .errors import BenchmarkError
from .pagecache import in_page_cache
from .peers import Peers
from .results import Part
from .systems import OURS, System
from .workspace import Workspace

ANSWER_SECONDS = 300.0
"""No single measurement takes longer, or its system is out."""

CLIENT = Path(__file__).with_name("client.py")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmarks. ``say`` tells the person at the terminal."""

    workspace: Workspace
    peers: Peers
    size: Size
    data: Data | None
    rounds: int
    milliseconds: tuple[int, ...]
    patience: float
    when: str
    say: Callable[[str], None]
    winter_classes: int = 2000

    def part(self, **settings: Any) -> Part:
        """An empty part, with what was known when it began."""
        facts = {**machine.describe(self.workspace.root), **self.peers.versions}
        return Part(self.when, facts, settings, absent=dict(self.peers.absent))


@contextlib.contextmanager
def client(workspace: Workspace) -> Iterator[Asked]:
    """The program that reads; see client.py."""
    with asked([sys.executable, "-P", CLIENT], workspace.environ) as one:
        yield one


@contextlib.contextmanager
def _counted(part: Part, patience: float) -> Iterator[None]:
    """Wait for a quiet moment, then note how much of the CPUs others take meanwhile."""
    machine.wait_for_quiet(patience)
    before = machine.cpu_time()
    yield
    passed = machine.cpu_time().since(before)
    part.had += passed.had
    part.others += passed.others
    part.stolen += passed.stolen


def take_turns(
    run: Run,
    part: Part,
    title: str,
    systems: Sequence[System],
    measure: Callable[[System], dict[str, float]],
    rounds: Sequence[int],
) -> None:
    """In each round, measure every system once (A B C, A B C, ...). A peer that fails drops out."""
    for number in rounds:
        for system in systems:
            if system.name in part.absent:
                continue
            try:
                with in_page_cache(system.holds), _counted(part, run.patience):
                    values = measure(system)
            except BenchmarkError as error:
                if system.name == OURS:
                    raise BenchmarkError(f"{title}, {OURS}: {error}") from error
                part.absent[system.name] = f"{title}: {error}"
                run.say(f"{system.name} drops out of {part.absent[system.name]}")
                continue
            part.add(number, system.name, values)
            shown = ", ".join(f"{name} {value:,.4g}" for name, value in values.items())
            run.say(f"{title}, round {number + 1} of {run.rounds}, {system.name}: {shown}")
