"""Steps with their results, said as they are done and once more as a table."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

DONE, FAILED, LEFT_OUT, TO_DO = "done", "failed", "left out", "to do"


class StepFailed(Exception):
    """A step did not do what it should; the text says what to look at."""


@dataclass
class Report:
    """What was done, in order: (step, result, note)."""

    rows: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, step: str, result: str, note: str = "") -> None:
        self.rows.append((step, result, note))
        print(f"{step}: {result}{f': {note}' if note else ''}", flush=True)

    def step(self, name: str, action: Callable[[], str]) -> bool:
        """Do ``action``; its text is the note. Whether it succeeded."""
        began = time.monotonic()
        try:
            note = action()
        except StepFailed as error:
            self.add(name, FAILED, str(error))
            return False
        self.add(name, DONE, f"{note} ({time.monotonic() - began:.0f} s)".lstrip())
        return True

    @property
    def status(self) -> int:
        """The exit status: 1 if a step failed, or none was done."""
        counts = Counter(result for _, result, _ in self.rows)
        return int(counts[FAILED] > 0 or counts[DONE] == 0)

    def table(self) -> str:
        """The rows in columns, and how many of each result."""
        width = max((len(step) for step, _, _ in self.rows), default=0)
        lines = [f"{step.ljust(width)}  {result:8}  {note}" for step, result, note in self.rows]
        counts = Counter(result for _, result, _ in self.rows)
        lines.append(", ".join(f"{number} {result}" for result, number in counts.items()))
        return "\n".join(line.rstrip() for line in lines)


def call(
    words: Sequence[str | Path],
    log: Path,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> str:
    """Run a command; its output goes to the end of ``log``. Return its standard output, or raise
    StepFailed with the command, its exit status and the last line of its errors.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            cwd=directory,
        )
    except OSError as error:
        raise StepFailed(f"{words[0]}: {error.strerror}") from None
    with log.open("a") as file:
        file.write(f"$ {' '.join(map(str, words))}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        said = f": {last[0].strip()}" if last else ""
        name = Path(words[0]).name
        raise StepFailed(f"{name} ended with {done.returncode}{said} ({log})")
    return done.stdout


def end(report: Report) -> int:
    """Print the table; return the exit status."""
    print(f"\n{report.table()}")
    sys.stdout.flush()
    return report.status
