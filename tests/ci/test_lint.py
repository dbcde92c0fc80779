"""``make lint`` runs every check over everything, and pre-commit runs the same."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.bench import is_running, until

REPOSITORY = Path(__file__).parents[2]
LINT = REPOSITORY / ".ci" / "lint"
CHECKS = ("ruff", "format", "mypy", "shellcheck", "codespell", "retired")
TOOLS = ("ruff", "mypy", "shellcheck", "codespell", "python")
_OURS = (".ci", "docs", "imagenetfs", "systemd", "tests")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """An environment whose tools note their arguments and end as a file of their name says."""
    binaries = tmp_path / "an environment" / "bin"
    binaries.mkdir(parents=True)
    for name in TOOLS:
        tool = binaries / name
        tool.write_text(
            f"#!/bin/bash\nprintf '%s\\n' \"{name} $*\" >> '{tmp_path}/calls'\n"
            f"[ ! -e '{tmp_path}/{name}' ] || {{ echo {name} found something; exit 1; }}\n"
        )
        tool.chmod(0o755)
    return binaries.parent


def lint(environment: Path, *checks: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", LINT, *checks],
        env={"PATH": os.environ["PATH"], "VENV": str(environment)},
        cwd="/",
        capture_output=True,
        text=True,
    )


def test_all_checks_run(tools: Path) -> None:
    done = lint(tools)
    assert done.stdout == f"lint: {' '.join(CHECKS)} passed\n"
    calls = (tools.parent / "calls").read_text()
    assert {line.split()[0] for line in calls.splitlines()} == set(TOOLS)


def test_one_that_fails_does_not_hide_the_next(tools: Path) -> None:
    (tools.parent / "ruff").touch()
    (tools.parent / "codespell").touch()
    done = lint(tools)
    assert done.returncode == 1
    assert done.stderr.endswith("lint: failed: ruff format codespell\n")
    assert "`make format` mends these." in done.stderr
    assert "codespell found something" in done.stderr
    assert done.stdout == ""


def beside_lint(environment: Path, script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", LINT.with_name("beside-lint"), "sh", "-c", script],
        env={"PATH": os.environ["PATH"], "VENV": str(environment)},
        cwd="/",
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("code", "lint_fails", "result"), [(0, 0, 0), (0, 1, 1), (5, 1, 5)])
def test_beside_the_tests(tools: Path, code: int, lint_fails: int, result: int) -> None:
    if lint_fails:
        (tools.parent / "mypy").touch()
    done = beside_lint(tools, f"echo tests; exit {code}")
    assert done.returncode == result
    assert "tests\n" in done.stdout
    assert ("passed" in done.stdout) == (not lint_fails)
    assert ("lint: failed: mypy\n" in done.stderr) == bool(lint_fails)
    assert done.stderr.endswith("or run make lint\n") == bool(lint_fails)


def test_beside_tests_that_are_ended_lint_ends_too(tools: Path) -> None:
    mypy = tools / "bin" / "mypy"
    mypy.write_text(f"#!/bin/bash\necho $$ > '{tools}/pid'\nexec sleep 1000\n")
    done = beside_lint(tools, f"until [ -s '{tools}/pid' ]; do sleep 0.01; done; kill $PPID")
    assert done.returncode == 143
    pid = int((tools / "pid").read_text())
    assert until(lambda: not is_running(pid))


def test_a_check_that_there_is_not(tools: Path) -> None:
    done = lint(tools, "ruff", "spelling")
    assert done.returncode == 2
    assert done.stderr.startswith("imagenetfs: there is no check spelling; there are: ruff ")


@pytest.mark.slow
def test_every_shell_script_is_checked(tools: Path) -> None:
    lint(tools, "shellcheck")
    given = set((tools.parent / "calls").read_text().split()[1:])
    shebang = re.compile(rb"#!.*[/ ](ba)?sh( |\n)")
    scripts = {
        str(path.relative_to(REPOSITORY))
        for directory in _OURS
        for path in (REPOSITORY / directory).rglob("*")
        if path.is_file() and shebang.match(path.open("rb").readline())
    }
    assert len(scripts) > 10
    assert given == scripts


def test_pre_commit_runs_the_same_and_fetches_nothing() -> None:
    text = (REPOSITORY / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: bash \.ci/lint (\w+)\n", text) == list(CHECKS)
    assert text.count("language: system") == text.count("- id: ") == len(CHECKS)
    assert re.findall(r"- repo: (.+)", text) == ["local"]
