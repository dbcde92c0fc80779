"""Messages to systemd: ready, alive in time, about to end."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from imagenetfs.job.sd_notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """systemd's end, and the address as it stands in the variable."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"@{uuid.uuid4().hex}" if request.param == "abstract" else str(tmp_path / "notify")
        listener.bind("\0" + name[1:] if name[0] == "@" else name)
        listener.setblocking(False)
        yield listener, name


def said(listener: socket.socket) -> list[str]:
    messages = []
    while True:
        try:
            messages.append(listener.recv(4096).decode())
        except BlockingIOError:
            return messages


def test_ready_and_the_end(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    environ = {"NOTIFY_SOCKET": address, "OTHER": "x"}
    notifier = Notifier(environ)
    assert environ == {"OTHER": "x"}, "the command that is started from here shall not have it"
    notifier.ready_to_use("it is mounted")
    notifier.close()
    assert said(listener) == ["READY=1\nSTATUS=it is mounted", "STOPPING=1"]


def signs_of_life(notifier: Notifier, listener: socket.socket, seconds: int) -> list[int]:
    """In which seconds there was a sign of life, while the notifier is one of trio's tasks."""
    found, clock = list[int](), MockClock()

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(notifier.run)
            for second in range(seconds):
                await wait_all_tasks_blocked()
                found.extend([second] * len(said(listener)))
                clock.jump(1.0)
            nursery.cancel_scope.cancel()

    trio.run(program, clock=clock)
    return found


def test_a_sign_of_life_in_time(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    environ = {
        "NOTIFY_SOCKET": address,
        "WATCHDOG_USEC": str(30 * 10**6),
        "WATCHDOG_PID": str(os.getpid()),
    }
    notifier = Notifier(environ)
    assert environ == {}
    signs = signs_of_life(notifier, listener, 60)
    assert signs == [0, 10, 20, 30, 40, 50], "often enough, and not each second"
    notifier.close()


def test_no_watchdog_for_another_process(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1"}
    notifier = Notifier(environ)
    assert signs_of_life(notifier, listener, 60) == []
    notifier.close()


@pytest.mark.parametrize("environ", [{}, {"NOTIFY_SOCKET": "/no/such"}])
def test_without_a_manager_nothing_happens(environ: dict[str, str]) -> None:
    notifier = Notifier(environ)
    notifier.ready_to_use("x")
    notifier.close()


def test_a_manager_that_does_not_listen_holds_nothing_up(
    manager: tuple[socket.socket, str],
) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": manager[1]})
    for _ in range(1000):  # more than its queue takes
        notifier.ready_to_use("x")
    notifier.close()
