"""The trial of an installation, with a command that answers as told."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.release.check import Trial
from tests.release.contents import SHARE
from tests.release.report import StepFailed

COMMAND = """#!/bin/sh
case "$*" in
--version) echo imagenetfs VERSION ;;
sample*) ;;
info*) echo ILSVRC2012 ;;
run*) echo 2; printf BYTES | sha256sum ;;
esac
"""


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    return Trial(tmp_path / "home", tmp_path / "x.whl", tmp_path / "wheelhouse", tmp_path / "log")


def installed(trial: Trial, version: str = "1.0", read: str = "image") -> Path:
    command = trial.home / "env/bin/imagenetfs"
    command.parent.mkdir(parents=True)
    command.write_text(COMMAND.replace("VERSION", version).replace("BYTES", f"'{read}'"))
    command.chmod(0o755)
    script = trial.home / "env" / SHARE / "docs/slurm/one-node.sbatch"
    script.parent.mkdir(parents=True)
    script.touch()
    return command


def test_one_that_works(trial: Trial) -> None:
    assert "mount and read" in trial.use(installed(trial), "1.0")


@pytest.mark.parametrize(
    ("options", "said"),
    [({"version": "0.9"}, "--version says 'imagenetfs 0.9'"), ({"read": ""}, "the mount shows")],
)
def test_one_that_does_not(trial: Trial, options: dict[str, str], said: str) -> None:
    command = installed(trial, **options)
    with pytest.raises(StepFailed, match=said):
        trial.use(command, "1.0")


def test_an_environment_without_job_scripts(trial: Trial) -> None:
    command = installed(trial)
    (trial.home / "env" / SHARE / "docs/slurm/one-node.sbatch").unlink()
    with pytest.raises(StepFailed, match=r"one-node\.sbatch is not in the environment"):
        trial.use(command, "1.0")


def test_a_fresh_environment_has_the_wheelhouse_and_nothing_of_the_caller(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGENETFS_SOURCE", "/elsewhere")
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    environment = trial.environment()
    assert "/elsewhere" not in environment.values()
    assert environment["PIP_FIND_LINKS"] == environment["UV_FIND_LINKS"] == str(trial.wheelhouse)
    assert environment["HOME"] == str(trial.home)
