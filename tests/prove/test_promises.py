"""The table of promises in docs/semantics.md: it is what was recorded, and names what there is."""

from __future__ import annotations

import re

from tests.prove import promises
from tests.prove.exercises import EXERCISES
from tests.prove.runner import FAILED, LEFT_OUT, PASSED, Outcome


def test_every_attack_is_an_exercise_and_every_number_a_sentence() -> None:
    assert promises.ATTACKS.keys() <= {exercise.name for exercise in EXERCISES}
    sentences = {int(n) for n in re.findall(r"\*\*S(\d+)\*\*", promises.PAGE.read_text())}
    assert {n for numbers in promises.ATTACKS.values() for n in numbers} <= sentences


def test_the_page_has_what_was_recorded() -> None:
    page = promises.PAGE.read_text()
    assert promises.with_table(page, promises.load()) == page


def test_the_last_result_counts_and_what_was_left_out_does_not() -> None:
    old = promises.recorded({}, [Outcome("load", "reads", "9 s", PASSED, 9.0)])
    new = [
        Outcome("load", "reads", "9 s", LEFT_OUT, 0.0),
        Outcome("fuzz", "tars", "7 inputs", FAILED, 1.0),
    ]
    found = promises.recorded(old, new)
    assert found["load"] == old["load"]
    assert (found["fuzz"]["amount"], found["fuzz"]["result"]) == ("7 inputs", FAILED)
    assert "| S1 | `fuzz`: tars | 7 inputs | failed |" in promises.table(found)
    assert "| `nfs` |  | not run yet |" in promises.table(found)
