"""The numbers of a miniature: all follow from its classes and their images."""

from __future__ import annotations

import pytest

from imagenetfs.errors import UsageError
from imagenetfs.sample import synsets
from imagenetfs.sample.plan import Class, Plan


@pytest.mark.parametrize(
    ("plan", "sentence"),
    [
        ((0, 4, 0), "A sample has 1 to 1,000 classes, not 0."),
        ((1001, 4, 0), "A sample has 1 to 1,000 classes, not 1,001."),
        ((1, 3, 0), "A sample has at least 4 train images a class, not 3."),
        ((1, 4, -1), "The seed is a number from 0."),
    ],
)
def test_plans_that_make_no_sense(plan: tuple[int, int, int], sentence: str) -> None:
    with pytest.raises(UsageError) as caught:
        Plan(*plan)
    assert str(caught.value) == sentence


def test_classes_have_the_ids_from_one() -> None:
    plan = Plan(3, 4, 0)
    assert plan.chosen == tuple(
        Class(wnid, number) for number, wnid in enumerate(synsets.FIRST_TEN[:3], 1)
    )


@pytest.mark.parametrize(("classes", "tiny"), [(1, 1), (2, 1), (5, 4), (10, 8), (1000, 200)])
def test_tiny_has_most_classes(classes: int, tiny: int) -> None:
    plan = Plan(classes, 4, 0)
    assert plan.tiny == plan.chosen[:tiny]


def test_the_fine_grained_task_has_the_dogs() -> None:
    assert [each.wnid for each in Plan(10, 4, 0).t3] == [
        "n02100735",
        "n02110185",
        "n02096294",
        "n02102040",
    ]
    # The kit fox is no dog, and the task has a class all the same.
    assert Plan(1, 4, 0).t3 == (Class("n02119789", 1),)


def test_the_default_miniature() -> None:
    plan = Plan(10, 80, 0)
    assert (plan.val_a_class, plan.test, plan.patched) == (10, 50, 5)
    assert (plan.t3_a_class, plan.winter_a_class) == (11, 20)
    assert (plan.tiny_a_class, plan.tiny_val_a_class) == (30, 8)


def test_the_smallest_miniature_has_something_of_each() -> None:
    plan = Plan(1, 4, 0)
    assert (plan.val_a_class, plan.test, plan.patched) == (2, 4, 1)
    assert (plan.t3_a_class, plan.winter_a_class) == (2, 4)
    assert (plan.tiny_a_class, plan.tiny_val_a_class) == (2, 2)
