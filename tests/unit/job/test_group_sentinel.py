"""The process that hears what the group is sent: what it tells, whom it does not hear, its end.

Signals to whole groups, and fronts that are stopped: test_command.py.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator

import pytest

from imagenetfs.job import group_sentinel
from imagenetfs.job.group_sentinel import GroupSentinel, Signal, is_stopped, signal_of
from imagenetfs.system.process import signals_blocked
from tests.helpers.children import ended, in_child
from tests.helpers.forked import answer
from tests.helpers.leaks import descriptors, opened_since

CAUGHT = frozenset({signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
_USER = 0  # SI_USER, of kill(2)


@pytest.fixture
def sentinel() -> Iterator[GroupSentinel]:
    with signals_blocked(*CAUGHT):
        before = descriptors()
        found = GroupSentinel(CAUGHT)
        yield found
        found.end()
        assert opened_since(before) == {}
        for number in CAUGHT & signal.sigpending():
            signal.sigwait({number})


def sent_by_another(sentinel: GroupSentinel, number: int) -> Signal:
    """Have another process send it a signal, as it sends one to a group; what it hears then."""
    sender = in_child(lambda: os.kill(sentinel.pid, number))
    assert ended(sender) == 0
    return number, sender, _USER


def wait_for_word(sentinel: GroupSentinel) -> None:
    """Until the sentinel has told something: a front hears of a signal itself, too."""
    assert select.select([sentinel._reader], [], [], 60)[0]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From now on no word is waited for: what is to be told has been told."""
    return lambda: monkeypatch.setattr(group_sentinel, "_HEARD_SECONDS", 0.0)


def test_each_signal_is_heard_once(sentinel: GroupSentinel, at_once: Callable[[], None]) -> None:
    one = sent_by_another(sentinel, signal.SIGHUP)
    other = sent_by_another(sentinel, signal.SIGUSR2)
    wait_for_word(sentinel)
    assert sentinel.heard(other)
    assert sentinel.heard(one)
    at_once()
    assert not sentinel.heard(one)


def test_another_sender_is_another_signal(
    sentinel: GroupSentinel, at_once: Callable[[], None]
) -> None:
    number, sender, code = sent_by_another(sentinel, signal.SIGHUP)
    wait_for_word(sentinel)
    at_once()
    assert not sentinel.heard((number, sender + 1, code))
    assert sentinel.heard((number, sender, code))


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGCONT, signal.SIGTSTP), (signal.SIGTTIN, signal.SIGCONT)],
)
def test_a_signal_that_another_took_away_was_sent_to_the_group(
    first: signal.Signals, second: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel takes the first one away, where the sentinel has not got it yet."""
    monkeypatch.setattr(group_sentinel, "_HEARD_SECONDS", 0.0)
    with signals_blocked(first, second):
        sentinel = GroupSentinel({first, second})
        try:
            lost = (int(first), 4711, _USER)
            assert not sentinel.heard(lost)
            one = sent_by_another(sentinel, second)
            wait_for_word(sentinel)
            assert sentinel.heard(lost)
            assert sentinel.heard(one)
            assert not sentinel.heard(lost)
        finally:
            sentinel.end()


def test_what_the_front_sends_is_not_told(
    sentinel: GroupSentinel, at_once: Callable[[], None]
) -> None:
    os.kill(sentinel.pid, signal.SIGHUP)
    mine = (int(signal.SIGHUP), os.getpid(), _USER)
    last = sent_by_another(sentinel, signal.SIGUSR2)
    wait_for_word(sentinel)
    assert sentinel.heard(last)
    at_once()
    assert not sentinel.heard(mine)


def test_what_was_heard_is_forgotten_after_a_while(
    sentinel: GroupSentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = sent_by_another(sentinel, signal.SIGHUP)
    wait_for_word(sentinel)
    sentinel._read()
    monkeypatch.setattr(group_sentinel, "_HEARD_SECONDS", 0.0)
    monkeypatch.setattr(group_sentinel, "_FORGET_SECONDS", 0.0)
    assert not sentinel.heard(one)


def test_what_the_sentinel_had_no_cpu_for_is_waited_for(
    sentinel: GroupSentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()

    def send() -> None:
        os.read(reader, 1)
        os.kill(sentinel.pid, signal.SIGHUP)

    def is_pending(pid: int, number: int) -> bool:
        assert (pid, number) == (sentinel.pid, signal.SIGHUP)
        os.write(writer, b"x")
        wait_for_word(sentinel)
        return True

    monkeypatch.setattr(group_sentinel, "_HEARD_SECONDS", 0.0)
    monkeypatch.setattr(group_sentinel, "_is_pending", is_pending)
    sender = in_child(send)
    assert sentinel.heard((int(signal.SIGHUP), sender, _USER))
    assert ended(sender) == 0
    os.close(reader)
    os.close(writer)


def test_whether_a_signal_is_pending() -> None:
    reader, writer = os.pipe()

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
        os.write(writer, b"x")
        signal.sigwait({signal.SIGUSR2})

    child = in_child(block)
    assert os.read(reader, 1) == b"x"
    assert not group_sentinel._is_pending(child, signal.SIGHUP)
    os.kill(child, signal.SIGHUP)
    assert group_sentinel._is_pending(child, signal.SIGHUP)
    assert not group_sentinel._is_pending(child, signal.SIGUSR1)
    os.kill(child, signal.SIGUSR2)
    assert ended(child) == 0
    assert not group_sentinel._is_pending(child, signal.SIGHUP)
    os.close(reader)
    os.close(writer)


def test_a_sentinel_that_is_gone_hears_nothing(
    sentinel: GroupSentinel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_sentinel, "_HEARD_SECONDS", 10_000.0)  # it is not waited for
    os.kill(sentinel.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sentinel.pid, os.WEXITED | os.WNOWAIT)
    assert not sentinel.heard((1, 2, 3))
    assert not sentinel.wake_me_after_the_command()
    sentinel.aim(1)
    sentinel.go_on()


def test_it_holds_nothing_of_the_fronts_open(sentinel: GroupSentinel) -> None:
    sent_by_another(sentinel, signal.SIGHUP)
    wait_for_word(sentinel)  # it has begun to listen
    process = f"/proc/{sentinel.pid}"
    links = {os.readlink(f"{process}/fd/{fd}") for fd in os.listdir(f"{process}/fd")}
    assert {link for link in links if not link.startswith("pipe:")} == {os.devnull}
    assert os.readlink(f"/proc/{sentinel.pid}/cwd") == "/"
    assert os.getpgid(sentinel.pid) == os.getpgrp()


def test_one_that_was_stopped_with_its_group_goes_on(sentinel: GroupSentinel) -> None:
    os.kill(sentinel.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, sentinel.pid, os.WSTOPPED | os.WNOWAIT)
    assert is_stopped(sentinel.pid)
    one = sent_by_another(sentinel, signal.SIGHUP)
    sentinel.go_on()
    wait_for_word(sentinel)
    assert sentinel.heard(one)
    assert not is_stopped(sentinel.pid)


def test_where_no_process_can_be_made_nothing_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise BlockingIOError(11, "no more processes")

    before = descriptors()
    monkeypatch.setattr(os, "fork", fail)
    with pytest.raises(OSError, match="no more processes"):
        GroupSentinel(CAUGHT)
    assert opened_since(before) == {}


def test_what_tells_signals_apart() -> None:
    def met() -> tuple[Signal, int]:
        with signals_blocked(signal.SIGUSR2):
            os.kill(os.getpid(), signal.SIGUSR2)
            return signal_of(signal.sigwaitinfo({signal.SIGUSR2})), os.getpid()

    # In a child: where a test process has other threads, one of them would be ended by it.
    told, pid = answer(met)
    assert told == [signal.SIGUSR2, pid, _USER]


def test_a_process_that_is_not_there_is_not_stopped() -> None:
    assert not is_stopped(1 << 30)
    assert not is_stopped(os.getpid())
