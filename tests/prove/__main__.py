"""``python -m tests.prove [--only NAME]... [--seconds N] [--json FILE] [--record]
[--list]``.

Exit status: 0 if nothing failed, 1 if an exercise failed, 2 for wrong arguments, 130 for Ctrl-C.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.prove import promises, report, runner
from tests.prove.exercises import EXERCISES
from tests.prove.runner import Outcome

_DIRECTORY = runner.REPOSITORY / "build" / "prove"


def _arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("tests.prove", description="Run the long forms of the tests.")
    names = [exercise.name for exercise in EXERCISES]
    parser.add_argument(
        "--only", action="append", choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--seconds", type=int, help="how long each may take (default: all it needs)"
    )
    parser.add_argument("--json", type=Path, default=_DIRECTORY / "prove.json", metavar="FILE")
    parser.add_argument(
        "--record", action="store_true", help="write the table of docs/semantics.md anew"
    )
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    arguments = parser.parse_args(words)
    if arguments.seconds is not None and arguments.seconds < 1:
        parser.error("--seconds must be 1 or more")
    return arguments


def main(words: list[str]) -> int:
    """Run what is asked for; print the table, write it, and return the exit status."""
    arguments = _arguments(words)
    chosen = [e for e in EXERCISES if not arguments.only or e.name in arguments.only]
    if arguments.list:
        for exercise in chosen:
            print(f"{exercise.name:14} {exercise.full:,} {exercise.unit}: {exercise.what}")
        return 0
    logs: Path = arguments.json.parent
    logs.mkdir(parents=True, exist_ok=True)
    outcomes: list[Outcome] = []
    interrupted = False
    for number, exercise in enumerate(chosen, 1):
        print(f"{number} of {len(chosen)}: {exercise.name} ...", flush=True)
        try:
            outcome = runner.run(exercise, arguments.seconds, logs / f"{exercise.name}.log")
        except KeyboardInterrupt:
            interrupted = True
            break
        print(f"    {outcome.result} after {outcome.seconds:,.1f} s", flush=True)
        outcomes.append(outcome)
        report.write(arguments.json, outcomes, arguments.seconds)
    if arguments.record:
        promises.record(outcomes)
    print(f"\n{report.table(outcomes)}\nwritten to {arguments.json}")
    if interrupted:
        print(
            f"interrupted: {len(chosen) - len(outcomes)} of {len(chosen)} did not run to their end"
        )
        return 130
    return 1 if any(outcome.result == runner.FAILED for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
