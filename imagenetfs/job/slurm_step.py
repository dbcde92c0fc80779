"""Which step of a Slurm job a process runs in, and what that means for a mount in the background.

When a step ends, Slurm ends all of its processes, so a mount's server too.
"""

from __future__ import annotations

from collections.abc import Mapping

_FIRST_SPECIAL = 0xFFFFFFF0
"""Slurm's numbers for the batch script, an interactive allocation and others of its own steps,
which last as long as the job's shell (slurm.h: SLURM_BATCH_SCRIPT, SLURM_INTERACTIVE_STEP)."""


def own_step(environ: Mapping[str, str]) -> str | None:
    """``<job>.<step>`` within an ``srun``; None in a job's script and outside of jobs."""
    job, step = environ.get("SLURM_JOB_ID", ""), environ.get("SLURM_STEP_ID", "")
    if not job or not step.isdecimal() or int(step) >= _FIRST_SPECIAL:
        return None
    return f"{job}.{step}"


def warning_of(environ: Mapping[str, str]) -> str | None:
    """That a mount made here in the background ends with the step, and what to do instead."""
    step = own_step(environ)
    if step is None:
        return None
    return (
        f"this mount belongs to the job step {step}, and ends with it: with `srun imagenetfs "
        "mount` alone, at once. Let the step's command have it, `srun imagenetfs run -- "
        "COMMAND ... {mnt}`, or mount in the job's script, without srun."
    )
