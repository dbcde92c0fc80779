"""Findings: the worst grade wins, and programs see the same as people."""

from __future__ import annotations

from imagenetfs.job.doctor.findings import Grade, green, red, yellow


def test_grades_are_ordered() -> None:
    assert max([Grade.GREEN, Grade.RED, Grade.YELLOW]) is Grade.RED
    assert Grade.GREEN < Grade.YELLOW < Grade.RED


def test_as_json() -> None:
    assert yellow("kernel", "it is old", "a newer one", background=12).as_json() == {
        "grade": "yellow",
        "about": "kernel",
        "what": "it is old",
        "advice": "a newer one",
        "background": 12,
    }
    assert green("log", "fine").as_json()["advice"] == ""
    assert red("log", "full").as_json()["grade"] == "red"
