"""A mount in the background of a step of its own is warned of, and no other."""

from __future__ import annotations

import pytest

from imagenetfs.job.slurm_step import own_step, warning_of


def environ(step: str) -> dict[str, str]:
    return {"SLURM_JOB_ID": "17", "SLURM_STEP_ID": step}


@pytest.mark.parametrize("step", ["0", "3", "1234"])
def test_a_step_of_its_own(step: str) -> None:
    assert own_step(environ(step)) == f"17.{step}"
    told = warning_of(environ(step))
    assert told is not None
    assert f"step 17.{step}, and ends with it" in told
    assert "imagenetfs run --" in told


@pytest.mark.parametrize("step", ["", "4294967291", "4294967290", "4294967292", "batch"])
def test_the_jobs_script_and_its_shell(step: str) -> None:
    """The batch step and an interactive one last as long as the job's own shell."""
    assert warning_of(environ(step)) is None


def test_no_job() -> None:
    assert warning_of({}) is None
    assert warning_of({"SLURM_STEP_ID": "0"}) is None
