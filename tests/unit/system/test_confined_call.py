"""Work in a process of its own: its answer, its reason, or how it died."""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.system.confined_call import call_confined


@pytest.mark.parametrize("answer", [b"", b"+", b"-\0", bytes(3_000_000)])
def test_an_answer_comes_as_it_is(answer: bytes) -> None:
    assert call_confined(lambda: answer) == answer


def test_its_own_reason() -> None:
    def fail() -> bytes:
        raise ValueError("no such ¼ matrix")

    with pytest.raises(ArchiveError) as caught:
        call_confined(fail)
    assert caught.value.reason == "no such ¼ matrix"


def test_a_reason_that_is_no_text() -> None:
    def fail() -> bytes:
        raise ValueError("name \udcff")

    with pytest.raises(ArchiveError) as caught:
        call_confined(fail)
    assert caught.value.reason == "name \\udcff"


def test_a_reason_without_words_is_named_by_its_kind() -> None:
    def fail() -> bytes:
        raise MemoryError

    with pytest.raises(ArchiveError) as caught:
        call_confined(fail)
    assert caught.value.reason == "MemoryError"


def test_more_memory_than_it_may_have() -> None:
    with pytest.raises(ArchiveError) as caught:
        call_confined(lambda: bytes(5 << 30))
    assert caught.value.reason == "MemoryError"


def test_a_crash_of_a_library() -> None:
    with pytest.raises(ArchiveError) as caught:
        call_confined(lambda: ctypes.string_at(0))
    assert caught.value.reason == "the process that read it died (SIGSEGV)"


def test_an_end_without_an_answer() -> None:
    with pytest.raises(ArchiveError) as caught:
        call_confined(lambda: os._exit(3))
    assert caught.value.reason == "the process that read it died (3)"


def test_an_end_by_a_signal_is_no_answer() -> None:
    def end() -> bytes:
        os.kill(os.getpid(), signal.SIGTERM)
        return b"never"

    with pytest.raises(ArchiveError, match=r"died \(SIGTERM\)"):
        call_confined(end)


def test_its_limits() -> None:
    def limits() -> bytes:
        names = (resource.RLIMIT_CORE, resource.RLIMIT_CPU, resource.RLIMIT_AS)
        return json.dumps([resource.getrlimit(name) for name in names]).encode()

    assert json.loads(call_confined(limits)) == [[0, 0], [60, 60], [4 << 30, 4 << 30]]


def test_it_holds_nothing_of_ours_and_ends_by_a_signal() -> None:
    inherited = os.pipe()

    def look() -> bytes:
        there = sorted(map(int, os.listdir("/proc/self/fd")))
        held = [fd for fd in there if os.path.exists(f"/proc/self/fd/{fd}")]
        ends = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
        defaults = [signal.getsignal(number) is signal.SIG_DFL for number in ends]
        return json.dumps([held, defaults, signal.set_wakeup_fd(-1)]).encode()

    held, defaults, wakeup = json.loads(call_confined(look))
    for fd in inherited:
        os.close(fd)
    assert len(held) == 4  # the standard streams and the answer's pipe
    assert inherited[0] not in held
    assert (defaults, wakeup) == ([True] * 3, -1)


def test_one_that_nobody_waits_for_any_more_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller is told to end while the child is at work."""
    pids, real, parent = [], os.fork, os.getpid()

    def fork() -> int:
        pids.append(real())
        return pids[-1]

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def work() -> bytes:
        os.kill(parent, signal.SIGUSR1)
        signal.pause()
        return b""

    monkeypatch.setattr(os, "fork", fork)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            call_confined(work)
    finally:
        signal.signal(signal.SIGUSR1, before)
    with pytest.raises(ChildProcessError):  # ended and reaped
        os.waitpid(pids[0], os.WNOHANG)
