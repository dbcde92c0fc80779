"""Work in a process of its own: results, refusals, crashes, and deaths that say nothing of the
input.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError, HelperDiedError
from imagenetfs.system import confined_call
from imagenetfs.system.confined_call import call_confined
from tests.helpers.leaks import descriptors, opened_since


def die_by(number: int) -> Callable[[], bytes]:
    def die() -> bytes:
        os.kill(os.getpid(), number)
        return b"never"

    return die


def in_a_limited_process(kind: int, most: int, work: Callable[[], bytes]) -> str:
    """What :func:`call_confined` comes to in a process with this hard limit."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(kind, (most, most))
            try:
                said = call_confined(work).decode()
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writer, said.encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode()
    os.waitpid(child, 0)
    return said


def test_a_result_and_a_refusal() -> None:
    assert call_confined(lambda: b"+-?") == b"+-?"

    def refuse() -> bytes:
        raise ValueError("no synsets")

    with pytest.raises(ArchiveError, match="no synsets"):
        call_confined(refuse)


def limits() -> bytes:
    kinds = (resource.RLIMIT_AS, resource.RLIMIT_CPU)
    return ",".join(str(resource.getrlimit(kind)[1]) for kind in kinds).encode()


@pytest.mark.slow
def test_the_helpers_limits_are_the_lesser_of_ours_and_the_hard_ones() -> None:
    own = resource.getrlimit(resource.RLIMIT_AS)[1]
    if own == resource.RLIM_INFINITY:
        assert call_confined(limits) == b"%d,60" % (4 << 30)
    assert in_a_limited_process(resource.RLIMIT_AS, 3_000_000_000, limits) == "3000000000,60"
    assert in_a_limited_process(resource.RLIMIT_CPU, 50, limits) == f"{4 << 30},50"


def test_a_crash_that_comes_again_is_the_inputs() -> None:
    with pytest.raises(ArchiveError, match="SIGSEGV"):
        call_confined(die_by(signal.SIGSEGV))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGXCPU])
def test_any_other_death_is_no_verdict(number: int) -> None:
    with pytest.raises(HelperDiedError, match=signal.Signals(number).name):
        call_confined(die_by(number))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_helper_that_died_once_is_asked_again(tmp_path: Path, number: int) -> None:
    def work() -> bytes:
        if not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), number)
        return b"done"

    assert call_confined(work) == b"done"


def test_too_little_memory_is_no_verdict() -> None:
    def work() -> bytes:
        return b"%d" % len(bytearray(3 << 30))

    said = in_a_limited_process(resource.RLIMIT_AS, 1 << 30, work)
    assert said.startswith("HelperDiedError: ")
    assert "says nothing of the file" in said


def test_an_input_that_takes_all_of_our_memory_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confined_call, "_MEMORY", 1 << 30)
    with pytest.raises(ArchiveError):
        call_confined(lambda: b"%d" % len(bytearray(3 << 30)))


def test_where_no_process_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = descriptors()
    monkeypatch.setattr(os, "fork", refuse)
    with pytest.raises(HelperDiedError, match="temporarily unavailable"):
        call_confined(lambda: b"")
    assert opened_since(before) == {}
