"""Which sentences of docs/semantics.md each exercise attacks, and the page's table of results.

``--record`` keeps each result in results.json, beside this file, and writes the table anew.
"""

from __future__ import annotations

import json
import os
import platform
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.prove.runner import LEFT_OUT, REPOSITORY, Outcome

ATTACKS: dict[str, tuple[int, ...]] = {
    "machine": (1, 4, 5, 7, 8, 9, 21, 24),
    "load": (1,),
    "fuzz": (1,),
    "fuzz-zip": (1, 28),
    "jobs": (17,),
    "places": (1,),
    "segments": (1,),
    "kill-workers": (1, 15),
    "kill-indexing": (1,),
    "kill-cache": (1, 22),
    "terminate": (17,),
    "faults": (1, 2, 3),
    "nfs": (3, 4, 11),
}
"""The other exercises are about no sentence of the page."""

RESULTS = Path(__file__).with_name("results.json")
PAGE = REPOSITORY / "docs" / "semantics.md"
_BEGIN, _END = "<!-- prove: begin -->", "<!-- prove: end -->"

Result = Mapping[str, str]


def recorded(old: Mapping[str, Result], outcomes: Sequence[Outcome]) -> dict[str, Result]:
    """The last result of each exercise: what was left out takes the place of none."""
    machine = f"{platform.machine()}, {len(os.sched_getaffinity(0))} CPUs, Linux "
    machine += ".".join(platform.release().split(".")[:2])
    day, found = time.strftime("%Y-%m-%d", time.gmtime()), dict(old)
    for one in outcomes:
        if one.result != LEFT_OUT:
            found[one.name] = {
                "what": one.what,
                "amount": one.amount,
                "result": one.result,
                "date": day,
                "machine": machine,
            }
    return found


def table(results: Mapping[str, Result]) -> str:
    """A row an attack; below it the sentences that have tests in `make test` alone."""
    lines = [
        "| sentences | attack | how much | result | date | machine |",
        "|---|---|---|---|---|---|",
    ]
    for name, numbers in ATTACKS.items():
        row = results.get(name)
        told = ", ".join(f"S{number}" for number in numbers)
        cells = [told, f"`{name}`" + (f": {row['what']}" if row else "")]
        cells += [row[key] for key in ("amount", "result", "date", "machine")] if row else [""] * 4
        if not row:
            cells[3] = "not run yet"
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def with_table(page: str, results: Mapping[str, Result]) -> str:
    """The page with the table between its markers."""
    section = f"{_BEGIN}\n{table(results)}\n{_END}"
    found = re.sub(f"{_BEGIN}.*?{_END}", lambda _: section, page, flags=re.DOTALL)
    assert section in found, "the page has no markers"
    return found


def load() -> dict[str, Result]:
    """What is kept."""
    results: dict[str, Result] = json.loads(RESULTS.read_text())
    return results


def record(outcomes: Sequence[Outcome]) -> None:
    """Keep the results, and write the page."""
    results = recorded(load(), outcomes)
    RESULTS.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    PAGE.write_text(with_table(PAGE.read_text(), results))
