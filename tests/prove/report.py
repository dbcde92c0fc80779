"""The table at the end, for people, and the same as JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tests.prove.runner import Outcome


def table(outcomes: Sequence[Outcome]) -> str:
    """Rows of equal columns; below them the notes, and how many of each result."""
    head = ("exercise", "what", "how much", "result", "seconds")
    rows = [(o.name, o.what, o.amount, o.result, f"{o.seconds:,.1f}") for o in outcomes]
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    lines = [_line(head, widths), "  ".join("-" * width for width in widths)]
    lines += [_line(row, widths) for row in rows]
    lines += [f"{o.name}: {o.note}" for o in outcomes if o.note]
    counts = Counter(o.result for o in outcomes)
    lines.append(", ".join(f"{number} {result}" for result, number in counts.items()))
    return "\n".join(lines)


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths[:-1], strict=True)]
    return "  ".join([*cells, row[-1].rjust(widths[-1])])


def write(path: Path, outcomes: Sequence[Outcome], budget: int | None) -> None:
    """Put the outcomes into ``path``, whole or not at all; a run adds a row as it ends."""
    document = {
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "cpus": len(os.sched_getaffinity(0)),
        "seconds_for_each": budget,
        "exercises": [dataclasses.asdict(outcome) for outcome in outcomes],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(path.name + ".new")
    beside.write_text(json.dumps(document, indent=2) + "\n")
    beside.replace(path)
