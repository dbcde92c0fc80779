"""Exercises under a budget: how they end, what the table says, and that it is written as JSON."""

from __future__ import annotations

import ast
import contextlib
import importlib
import inspect
import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.prove import __main__ as command
from tests.prove import report, runner
from tests.prove.exercises import EXERCISES, Exercise
from tests.prove.runner import FAILED, LEFT_OUT, PASSED, UNFINISHED, Outcome


def exercise(code: str, **more: object) -> Exercise:
    described: dict[str, object] = {
        "name": "example",
        "what": "an example",
        "command": (sys.executable, "-c", code),
        "unit": "rounds",
        "full": 1000,
        "seconds": 100,
        "variable": "EXAMPLE_ROUNDS",
        **more,
    }
    return Exercise(**described)  # type: ignore[arg-type]  # the fields are those of the class


@pytest.mark.parametrize(
    ("budget", "amount"), [(None, 1000), (100, 1000), (50, 500), (1, 20), (200, 1000)]
)
def test_an_amount_follows_the_budget_and_has_a_least(budget: int | None, amount: int) -> None:
    assert exercise("", least=20).amount(budget) == amount


def test_a_timed_exercise_is_given_the_budget() -> None:
    assert exercise("", variable="").amount(7) == 7


def test_every_exercise_has_a_name_of_its_own_and_takes_a_small_budget() -> None:
    assert len({e.name for e in EXERCISES}) == len(EXERCISES)
    for each in EXERCISES:
        assert 0 < each.amount(20) <= each.full == each.amount(None)


def helpers_of(text: str, variable: str) -> list[str]:
    """The code of each helper that a test module imports by its name and calls; with the
    variable's name in the place of the constant that stands for it.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests.helpers"):
            module = importlib.import_module(node.module or "")
            constants = [name for name, value in vars(module).items() if value == variable]
            for name in (alias.name for alias in node.names if f"{alias.name}(" in text):
                if inspect.isfunction(helper := getattr(module, name)):
                    code = inspect.getsource(helper)
                    for constant in constants:
                        code = re.sub(rf"\b{constant}\b", f'"{variable}"', code)
                    found.append(code)
    return found


def test_every_variable_is_read_by_a_test_that_its_exercise_runs() -> None:
    """A variable that nobody reads would make the long form a short one, and pass."""
    for each in EXERCISES:
        for path in each.command:
            if path.startswith("tests/") and path.endswith(".py"):
                text = (runner.REPOSITORY / path).read_text()
                texts = [text, *helpers_of(text, each.variable)]
                assert any(f'"{each.variable}"' in one for one in texts), each.name


def test_the_amount_reaches_the_command(tmp_path: Path) -> None:
    code = "import os; print('PROVED:', os.environ['EXAMPLE_ROUNDS'], 'done')"
    outcome = runner.run(exercise(code), 100, tmp_path / "log")
    assert (outcome.result, outcome.amount) == (PASSED, "1000 done")


@pytest.mark.parametrize(
    ("code", "result", "note"),
    [
        ("raise SystemExit(3)", FAILED, "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", FAILED, "signal 9"),
        ("print('2 skipped in 0.1s')", LEFT_OUT, "all its tests were skipped"),
        ("print('1 passed, 2 skipped in 0.1s')", PASSED, "2 skipped"),
        ("print('3 passed in 0.1s')", PASSED, ""),
    ],
)
def test_results(tmp_path: Path, code: str, result: str, note: str) -> None:
    outcome = runner.run(exercise(code), None, tmp_path / "log")
    assert outcome.result == result
    assert outcome.note.startswith(note) and bool(outcome.note) == bool(note)


def test_what_the_machine_lacks_is_said_and_nothing_is_run(tmp_path: Path) -> None:
    lacking = exercise("raise SystemExit(1)", missing=lambda: "there is no qemu")
    outcome = runner.run(lacking, None, tmp_path / "log")
    assert (outcome.result, outcome.note) == (LEFT_OUT, "there is no qemu")


STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("budget", "seconds", "result"), [(1, 100, UNFINISHED), (None, 0.25, FAILED)]
)
def test_an_end_by_the_limit_leaves_no_process(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: int | None,
    seconds: float,
    result: str,
) -> None:
    monkeypatch.setattr(runner, "_END_SECONDS", 0.2)
    log = tmp_path / "log"
    outcome = runner.run(exercise(STUBBORN, seconds=seconds), budget, log)
    assert outcome.result == result
    assert outcome.note.startswith("ended after 1 s")
    (pid,) = log.read_text().split()
    stat, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while " Z " not in stat.read_text():
            assert time.monotonic() < deadline, stat.read_text()
            time.sleep(0.01)


def test_the_table_and_the_file_say_the_same(tmp_path: Path) -> None:
    outcomes = [
        Outcome("a", "one thing", "1,000 rounds", PASSED, 1.25),
        Outcome("b", "another", "2 kills", LEFT_OUT, 0.0, "there is no slurm"),
    ]
    lines = report.table(outcomes).splitlines()
    assert lines[2].split() == ["a", "one", "thing", "1,000", "rounds", "passed", "1.2"]
    assert len({len(line) for line in lines[:4]}) == 1
    assert lines[4:] == ["b: there is no slurm", "1 passed, 1 left out"]
    report.write(tmp_path / "new" / "out.json", outcomes, 20)
    written = json.loads((tmp_path / "new" / "out.json").read_text())
    assert written["seconds_for_each"] == 20
    assert [row["result"] for row in written["exercises"]] == [PASSED, LEFT_OUT]


def test_a_failure_is_the_exit_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "EXERCISES", (exercise("raise SystemExit(1)"), exercise("")))
    assert command.main(["--json", str(tmp_path / "out.json")]) == 1
    assert len(json.loads((tmp_path / "out.json").read_text())["exercises"]) == 2


@pytest.mark.parametrize("words", [["--seconds", "0"], ["--only", "nothing"], ["--seconds", "x"]])
def test_wrong_arguments(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(words)
    assert ended.value.code == 2


def test_a_small_budget_for_real(tmp_path: Path) -> None:
    """What ``make prove PROVE_ARGS=...`` calls."""
    out = tmp_path / "prove.json"
    words = ["--only", "fuzz", "--seconds", "2", "--json", str(out)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.prove", *words],
        cwd=runner.REPOSITORY,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(out.read_text())["exercises"]
    assert row["result"] == PASSED
    assert int(row["amount"].removesuffix(" inputs").replace(",", "")) > 0
    assert "1 passed" in done.stdout
