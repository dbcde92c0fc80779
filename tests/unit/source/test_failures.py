"""Failures are counted for each file and reason, said once, and over when the file can be read
again.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from imagenetfs.errors import SourceGoneError, SourceUnreadableError
from imagenetfs.source.failures import Failure, FailureRegister
from tests.helpers.children import ended, in_child


@pytest.fixture
def register() -> Iterator[FailureRegister]:
    made = FailureRegister()
    yield made
    made.close()


def test_the_first_of_a_reason_is_new(register: FailureRegister) -> None:
    assert [register.note(b"a", "kind", "gone.") for _ in range(3)] == [True, False, False]
    assert register.note(b"a", "other", "cut.") and register.note(b"b", "kind", "gone.")
    assert register.all()[0] == Failure("gone.", 3, is_over=False)
    assert [str(failure) for failure in register.all()] == [
        "gone: 3 requests failed.",
        "cut: 1 request failed.",
        "gone: 1 request failed.",
    ]


def test_recovery(register: FailureRegister) -> None:
    assert register.recovered(b"a") == 0
    register.note(b"a", "kind", "gone.")
    register.note(b"a", "other", "cut.")
    register.note(b"b", "kind", "gone.")
    assert register.failing[0] == 3
    assert register.recovered(b"a") == 2
    assert register.recovered(b"a") == 0
    assert register.failing[0] == 1
    assert [failure.is_over for failure in register.all()] == [True, True, False]
    assert register.note(b"a", "kind", "gone.")  # again: that is news
    assert (register.failing[0], register.all()[0].count) == (2, 2)
    assert "it can be read again" in str(register.all()[1])


def test_a_directory_that_may_not_be_listed_still_may_not(register: FailureRegister) -> None:
    for path in (b"a", b"a/b"):
        register.note(path, SourceGoneError.__name__, "away")
        register.note(path, SourceUnreadableError.__name__, "closed")
    assert register.recovered(b"a/b/c") == 2
    assert [failure.is_over for failure in register.all()] == [True, False, True, False]
    assert register.recovered(b"a/b") == 1
    assert [failure.is_over for failure in register.all()] == [True, False, True, True]


def test_the_last_news_is_no_news(register: FailureRegister) -> None:
    assert register.is_news(b"a")
    assert not register.is_news(b"a")
    child = in_child(lambda: os._exit(register.is_news(b"a") + 2 * register.is_news(b"b")))
    assert ended(child) == 2
    assert not register.is_news(b"b")
    assert register.is_news(b"a")


@pytest.mark.slow
def test_processes_share_it(register: FailureRegister) -> None:
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(100):
                register.note(b"a", "kind", "gone.")
            os._exit(0)
        os.waitpid(pid, 0)
    assert register.all() == [Failure("gone.", 400, is_over=False)]


@pytest.mark.slow
def test_it_is_bounded(register: FailureRegister) -> None:
    """A directory of a million images that goes away is no million lines in the log."""
    news = [register.note(b"%d" % number, "kind", "x" * 1000) for number in range(600)]
    assert news == [True] * 512 + [False] * 88
    *named, rest = register.all()
    assert len(named) == 511
    assert {len(failure.sentence) for failure in named} == {456}
    assert (rest.count, rest.sentence.split()[0]) == (89, "further")
    assert not register.note(b"599", "kind", "x" * 1000)
    assert not register.note(b"3", "kind", "x" * 1000), "it is known under its own name"
    assert register.all()[3].count == 2
