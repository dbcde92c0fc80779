"""What the doctor finds: a line is green, yellow or red, says what is, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Grade(IntEnum):
    """How bad it is; the worst of all makes the exit code."""

    GREEN = 0
    YELLOW = 1
    RED = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """One line. ``about``: one word or two; ``facts``: the same for programs."""

    grade: Grade
    about: str
    what: str
    advice: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The line as JSON can carry it."""
        return {
            "grade": self.grade.name.lower(),
            "about": self.about,
            "what": self.what,
            "advice": self.advice,
            **self.facts,
        }


def green(about: str, what: str, **facts: Any) -> Finding:
    """All is well."""
    return Finding(Grade.GREEN, about, what, facts=facts)


def yellow(about: str, what: str, advice: str = "", **facts: Any) -> Finding:
    """It works, with a limit that one should know of."""
    return Finding(Grade.YELLOW, about, what, advice, facts)


def red(about: str, what: str, advice: str = "", **facts: Any) -> Finding:
    """It does not work."""
    return Finding(Grade.RED, about, what, advice, facts)
