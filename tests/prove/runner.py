"""One exercise as a process: its limit, its end, and what came of it."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.prove.exercises import Exercise

PASSED, FAILED, UNFINISHED, LEFT_OUT = "passed", "failed", "unfinished", "left out"
REPOSITORY = Path(__file__).parents[2]

_END_SECONDS = 60.0
"""How long an interrupted exercise may take to unmount and remove what it made."""

_TIMED_SLACK = 120
"""Seconds that a timed exercise may take beyond its time: to begin, and to end."""


@dataclass(frozen=True)
class Outcome:
    """A row of the table. ``note``: why, where it did not pass; where its log is."""

    name: str
    what: str
    amount: str
    result: str
    seconds: float
    note: str = ""


def run(exercise: Exercise, budget: int | None, log: Path) -> Outcome:
    """Run ``exercise`` to its end or its limit. Its output goes to ``log``."""
    missing = exercise.missing()
    amount = exercise.amount(budget)
    asked = f"{amount:,} {exercise.unit}"
    if missing:
        return Outcome(exercise.name, exercise.what, asked, LEFT_OUT, 0.0, missing)
    command, environ = list(exercise.command), dict(os.environ)
    if exercise.timed:
        command += ["--seconds", str(amount)]
        limit: float = amount + _TIMED_SLACK
    else:
        environ[exercise.variable] = str(amount)
        limit = 4 * exercise.seconds if budget is None else budget
    began = time.monotonic()
    with log.open("wb") as output:
        status = _to_its_end(command, environ, output.fileno(), limit)
    took = time.monotonic() - began
    text = log.read_text(errors="replace")
    did = re.findall(r"^PROVED: (.+)$", text, re.MULTILINE)
    amount_done = did[-1] if did else asked
    if status is None:
        # A budget is expected to end an exercise; without one, the limit means that it hangs.
        cut = budget is not None and not exercise.timed
        note = f"ended after {limit:,.0f} s; see {log}"
        result = UNFINISHED if cut else FAILED
        return Outcome(exercise.name, exercise.what, asked, result, took, note)
    result, note = _judged(status, text, log)
    return Outcome(exercise.name, exercise.what, amount_done, result, took, note)


def _judged(status: int, text: str, log: Path) -> tuple[str, str]:
    if status != 0:
        why = f"exit status {status}" if status > 0 else f"signal {-status}"
        return FAILED, f"{why}; see {log}"
    counts = re.findall(r"(\d+) (passed|skipped)", text.strip().rpartition("\n")[2])
    numbers = {word: int(number) for number, word in counts}
    if numbers and not numbers.get("passed"):
        return LEFT_OUT, f"all its tests were skipped; see {log}"
    if numbers.get("skipped"):
        return PASSED, f"{numbers['skipped']} skipped; see {log}"
    return PASSED, ""


def _to_its_end(
    command: Sequence[str], environ: dict[str, str], output: int, limit: float
) -> int | None:
    """The command's status; None if it had to be ended, with all that it started in its session."""
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Also when this process is interrupted itself.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
            if process.poll() is not None:
                break
            process.send_signal(number)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_END_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
