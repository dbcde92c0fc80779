"""What was measured, kept as JSON so that one part can be run again without losing the others.

::

    {"<part>": {"when": "2025-01-31", "machine": {...}, "settings": {...},
                "had": 300.0, "others": 4.5, "stolen": 1.5,
                "absent": {"<system>": "<why>"}, "rounds": [{"<system>": {"<metric>": value}}]}}

``had`` are the CPU seconds that the machine had to give while the part was measured, ``others``
those of them that other programs used, ``stolen`` those that the host of a virtual machine took
away. A round holds one value a system and metric. Medians are over rounds; ratios are taken within
a round, where both systems met the same machine, and then their median.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

Round = dict[str, dict[str, float]]


@dataclass(frozen=True, slots=True)
class Spread:
    """A median over rounds, with the least and the greatest."""

    median: float
    least: float
    most: float


@dataclass(slots=True)
class Part:
    """The results of one part of the benchmarks."""

    when: str
    machine: dict[str, str]
    settings: dict[str, Any]
    had: float = 0.0
    others: float = 0.0
    stolen: float = 0.0
    absent: dict[str, str] = field(default_factory=dict)
    rounds: list[Round] = field(default_factory=list)

    def add(self, number: int, system: str, values: dict[str, float]) -> None:
        """Put values of one system into round ``number``."""
        while len(self.rounds) <= number:
            self.rounds.append({})
        self.rounds[number].setdefault(system, {}).update(values)

    @property
    def disturbance(self) -> str:
        """What else the CPUs were used for, in words."""
        had = self.had or 1.0
        said = f"other programs used {self.others / had:.0%} of the CPUs"
        if self.stolen > 0.01 * had:
            said += (
                f", and the host of this virtual machine took {self.stolen / had:.0%} of them away"
            )
        return said

    def systems(self) -> list[str]:
        """All systems with a value, in the order of their first turn."""
        return list(dict.fromkeys(system for each in self.rounds for system in each))

    def values(self, system: str, metric: str) -> list[float]:
        """The values of all rounds that have one."""
        found = (each.get(system, {}).get(metric) for each in self.rounds)
        return [value for value in found if value is not None]

    def spread(self, system: str, metric: str) -> Spread | None:
        """Median and range over the rounds, or None."""
        return _spread(self.values(system, metric))

    def ratio(self, metric: str, system: str, other: str, *, less_is_better: bool) -> Spread | None:
        """How many times better ``system`` is than ``other``, round by round."""
        ratios = []
        for each in self.rounds:
            mine, its = each.get(system, {}).get(metric), each.get(other, {}).get(metric)
            if mine and its:
                ratios.append(its / mine if less_is_better else mine / its)
        return _spread(ratios)


def _spread(values: list[float]) -> Spread | None:
    return Spread(median(values), min(values), max(values)) if values else None


def load(path: Path) -> dict[str, Part]:
    """All parts that have been run, by name."""
    if not path.exists():
        return {}
    return {name: Part(**part) for name, part in json.loads(path.read_text()).items()}


def save(path: Path, parts: dict[str, Part]) -> None:
    """Write all parts; either the old file stands or the new one."""
    text = json.dumps({name: _rounded(asdict(part)) for name, part in parts.items()}, indent=1)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text + "\n")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _rounded(value: Any) -> Any:
    """Six significant digits: more would only make the file hard to read."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_rounded(each) for each in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
