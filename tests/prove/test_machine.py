"""The state machine of tests/prove/machine.py: the short form, and that of make prove."""

from __future__ import annotations

import os
from collections import Counter

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.helpers.randomness import SEED
from tests.prove import machine

LONG = 1000
"""From so many runs on they have 200 steps each, and half of them a mount."""

_RUNS = "IMAGENETFS_TEST_MACHINE_RUNS"

_DONE: Counter[str] = Counter()
"""Of both tests, where both are run: the last line that is printed has all."""


class OfLibrary(machine.Machine):
    faces = ("library",)


class OfMount(machine.Machine):
    faces = ("mount", "both")


SHORT_RUNS, SHORT_SEED = 46, 1
"""Of make test, over the library alone (ten seconds of a core); make prove has mounts too. The seed
is always the same one there: new ones are for make prove.
"""


@pytest.mark.expects_log(".")  # whatever the damage is, a line says so
@pytest.mark.parametrize("kind", [OfLibrary, OfMount])
def test_against_the_model(kind: type[machine.Machine]) -> None:
    """S1 S4 S5 S7 S8 S9 S21 S24: whatever happens to source, cache and workers, every answer is the
    model's, or the error that was promised.
    """
    if _RUNS not in os.environ and kind is OfMount:
        pytest.skip("make prove runs it; make test has the library's part")
    asked = int(os.environ.get(_RUNS, "0"))
    # A mount costs ten times what a tree in the process does: the short form has few of them.
    of_mount = asked // 2 if asked >= LONG else max(1, asked // 12)
    runs = of_mount if kind is OfMount else asked - of_mount if asked else SHORT_RUNS
    steps = 200 if asked >= LONG else 50
    seed = SEED if asked else SHORT_SEED
    print(f"seed {seed}")
    hypothesis.seed(seed)(kind)
    machine.STEPS.clear()
    run_state_machine_as_test(
        kind,
        settings=settings(
            max_examples=runs,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    _DONE.update(runs=runs, steps=sum(machine.STEPS.values()))
    print(machine.STEPS)
    print(f"PROVED: {_DONE['runs']:,} runs, {_DONE['steps']:,} steps")
