"""Doors: one owner a name, those who wait, and strangers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from imagenetfs import config
from imagenetfs.errors import (
    FuseUnavailableError,
    GroupNeededError,
    NotMountedError,
    UsageError,
)
from imagenetfs.job import namespace, preflight, rendezvous
from imagenetfs.job.rendezvous import (
    ForeignSocketError,
    NamespaceServer,
    RendezvousAddress,
    RendezvousListener,
)
from imagenetfs.system import namespaces

HOST = NamespaceServer(4711, "/media", "/media/imagenet")


@pytest.fixture
def address() -> RendezvousAddress:
    return RendezvousAddress(f"test-{uuid.uuid4().hex}", "0123456789abcdef")


def test_one_owner_and_nobody(address: RendezvousAddress) -> None:
    assert rendezvous.connect(address) is None
    listener = rendezvous.listen(address)
    assert listener is not None
    assert rendezvous.listen(address) is None
    assert address in rendezvous.list_addresses()
    listener.close()
    assert rendezvous.connect(address) is None
    assert address not in rendezvous.list_addresses()


def test_who_comes_early_waits_until_there_is_an_answer(address: RendezvousAddress) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    answers: list[NamespaceServer | None] = []
    visitors = [
        threading.Thread(target=lambda: answers.append(rendezvous.connect(address))) for _ in "123"
    ]
    for visitor in visitors:
        visitor.start()
    visitors[0].join(0.1)
    assert answers == []
    watcher = RendezvousListener(listener, HOST)
    while any(visitor.is_alive() for visitor in visitors):
        watcher.answer_waiting()
    assert answers == [HOST] * 3
    watcher.close()
    assert rendezvous.connect(address) is None


def test_it_answers_as_a_task_and_asks_for_no_end(address: RendezvousAddress) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    watcher = RendezvousListener(listener, HOST)
    answers: list[NamespaceServer | None] = []

    def visit() -> None:
        answers.extend(rendezvous.connect(address) for _ in "123")

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watcher.run)
            while visitor.is_alive():
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()

    visitor = threading.Thread(target=visit)
    visitor.start()
    trio.run(program)
    assert answers == [HOST] * 3
    watcher.close()


def test_a_start_that_failed_sends_everybody_away(address: RendezvousAddress) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    answers: list[NamespaceServer | None] = []
    visitor = threading.Thread(target=lambda: answers.append(rendezvous.connect(address)))
    visitor.start()
    visitor.join(0.1)
    listener.close()
    visitor.join(10)
    assert answers == [None]


def test_nobody_is_let_in_though_a_child_holds_a_copy(address: RendezvousAddress) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    child = os.fork()
    if child == 0:
        signal.pause()
    try:
        RendezvousListener(listener, HOST).close()
        assert rendezvous.connect(address) is None
        assert rendezvous.listen(address) is None, "the name is free when the last copy is closed"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    again = rendezvous.listen(address)
    assert again is not None
    again.close()


@contextmanager
def stranger(name: str | bytes, *, listens: bool = True, connects: int = 0) -> Iterator[None]:
    """A process of another user that has taken a name, or has so many connections to it."""
    ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            made = [
                socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(connects or 1)
            ]
            for one in made:
                if connects:
                    one.connect(name)
                    continue
                one.bind(name)
                if listens:
                    one.listen(0)
            os.write(ready[1], b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(ready[1])
    try:
        assert os.read(ready[0], 1) == b"x"
        yield
    finally:
        os.close(ready[0])
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")


@as_root
def test_strangers_do_not_keep_the_server_from_its_work(address: RendezvousAddress) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    watcher = RendezvousListener(listener, HOST)
    answers: list[NamespaceServer | None] = []
    most = rendezvous._ACCEPTED_AT_ONCE
    with stranger(address.as_socket(), connects=3 * most):
        visitor = threading.Thread(target=lambda: answers.append(rendezvous.connect(address)))
        visitor.start()
        turns = 0
        while visitor.is_alive():
            accepted = count_accepts(watcher)
            assert accepted <= most, "the loop's other work gets its turn"
            turns += 1
        assert turns > 3
    assert answers == [HOST]
    watcher.close()


def count_accepts(watcher: RendezvousListener) -> int:
    """How many connections one turn takes."""
    listener, count = watcher._listener, 0

    class Counting:
        def accept(self) -> object:
            nonlocal count
            accepted = listener.accept()
            count += 1
            return accepted

    watcher._listener = Counting()  # type: ignore[assignment]
    try:
        watcher.answer_waiting()
    finally:
        watcher._listener = listener
    return count


@as_root
def test_a_name_that_is_held_for_no_use_is_given_up(
    address: RendezvousAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "_LEAVING_SECONDS", 0.2)
    with stranger(address.as_socket(), listens=False):
        assert rendezvous.connect(address) is None
        assert rendezvous.listen(address) is None
        assert not rendezvous.is_held_by_us(address)
        wait = rendezvous.NameWait(address)
        with pytest.raises(ForeignSocketError):
            for _ in range(1000):
                wait.wait()


@pytest.mark.slow
def test_an_own_process_on_its_way_out_is_waited_for(
    address: RendezvousAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "_LEAVING_SECONDS", 0.0)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as own:
        own.bind(address.as_socket())
        assert rendezvous.connect(address) is None
        assert rendezvous.is_held_by_us(address)
        wait = rendezvous.NameWait(address)
        for _ in range(5):
            wait.wait()


@as_root
def test_a_stranger_that_lets_nobody_in(
    address: RendezvousAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rendezvous, "_LEAVING_SECONDS", 0.2)
    with stranger(address.as_socket()), ExitStack() as stack:
        for _ in range(10):  # its queue is full
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(address.as_socket())
        with pytest.raises(ForeignSocketError):
            rendezvous.connect(address)


@pytest.mark.slow
@as_root
@pytest.mark.parametrize("listens", [True, False])
def test_a_run_takes_the_next_name(
    listens: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S18: names that other users have bound."""
    monkeypatch.setattr(rendezvous, "_LEAVING_SECONDS", 0.2)
    monkeypatch.setattr(preflight, "check_fuse", lambda needs_helper: None)
    doors: list[bytes | None] = []

    def make_and_start(*given: object) -> str:
        door = given[-1]
        doors.append(door.getsockname() if isinstance(door, socket.socket) else None)
        return "started"

    monkeypatch.setattr(namespace, "_make_and_start", make_and_start)
    said: list[str] = []

    def acquire() -> object:
        return namespace.acquire(tmp_path, config.resolve(), None, {}, said.append)

    (own,) = namespace._addresses(tmp_path, config.resolve(), None, {})
    with ExitStack() as stack:
        for number in range(namespace._NAMES):
            assert acquire() == "started"
            expected = replace(own, number=number).as_socket()
            assert doors.pop() == expected.encode()
            assert said == []
            stack.enter_context(stranger(expected, listens=listens))
        assert acquire() == "started"
        assert doors == [None]
        assert "processes of other users have the names" in said[0]


@pytest.mark.slow
@as_root
def test_what_strangers_bind_is_neither_entered_nor_shown(tmp_path: Path) -> None:
    job = f"test-{uuid.uuid4().hex}"
    names = [
        b"\0\xff\xfe-anything",
        f"\0imagenetfs/{os.geteuid()}/{job}/0123456789abcdef".encode(),
        f"\0imagenetfs/{os.geteuid()}/{job}/0123456789abcdee".encode(),
        f"\0imagenetfs/{os.geteuid()}/{job}\x1b]0;OWNED\x07/0123456789abcdef".encode(),
        f"\0imagenetfs/{os.geteuid()}/{job}/0123456789abcdef\nx".encode(),
    ]
    with ExitStack() as stack:
        for name in names:
            stack.enter_context(stranger(name))
        assert [one.digest for one in rendezvous.list_addresses() if one.job == job] == [
            "0123456789abcdee",
            "0123456789abcdef",
        ]
        with pytest.raises(NotMountedError, match=f"No namespace of the job {job}"):
            namespace.enter(job, {}, print)


def test_two_namespaces_of_one_job_have_names_that_tell_them_apart() -> None:
    job = f"test-{uuid.uuid4().hex}"
    digests = ["0123456789abcdee", "0123456789abcdef"]
    with ExitStack() as stack:
        for digest in digests:
            door = rendezvous.listen(RendezvousAddress(job, digest))
            assert door is not None
            stack.enter_context(door)
        with pytest.raises(UsageError, match=f"{job}/{digests[0]}, {job}/{digests[1]}"):
            namespace.enter(job, {}, print)
    assert namespace._is_of(RendezvousAddress(job, digests[0]), f"{job}/{digests[0]}")
    assert not namespace._is_of(RendezvousAddress(job, digests[1]), f"{job}/{digests[0]}")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_stranger_is_not_believed(address: RendezvousAddress) -> None:
    with stranger(address.as_socket()), pytest.raises(ForeignSocketError):
        rendezvous.connect(address)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_stranger_learns_nothing(
    address: RendezvousAddress, monkeypatch: pytest.MonkeyPatch
) -> None:
    listener = rendezvous.listen(address)
    assert listener is not None
    ready = os.pipe()
    child = os.fork()
    if child == 0:
        name = address.as_socket()
        os.setresuid(65534, 65534, 65534)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.connect(name)
        os.write(ready[1], b"x")
        os._exit(len(connection.recv(1 << 16)))
    assert os.read(ready[0], 1) == b"x"
    watcher = RendezvousListener(listener, HOST)
    watcher.answer_waiting()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    watcher.close()
    for fd in ready:
        os.close(fd)


def test_where_namespaces_are_forbidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise PermissionError(1, "Operation not permitted", "unshare")

    monkeypatch.setattr(namespaces, "make_own", refuse)
    with pytest.raises(FuseUnavailableError, match=r"max_user_namespaces.*--no-namespace"):
        namespace._make(config.resolve(), None, "imagenet")


def test_another_group_is_asked_for_outside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def need_group(source: Path) -> None:
        raise GroupNeededError("It takes another group.", "imagenet")

    def make_own() -> None:
        raise AssertionError("sg does not work in a namespace")

    monkeypatch.setattr(preflight, "check_fuse", lambda needs_helper: None)
    monkeypatch.setattr(preflight, "check_source", need_group)
    monkeypatch.setattr(namespaces, "make_own", make_own)
    with pytest.raises(GroupNeededError):
        namespace.acquire(tmp_path, config.resolve(), None, {}, print)


def test_each_primary_group_has_its_own_door(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    one = namespace._addresses(tmp_path, config.resolve(), None, {})
    assert one == namespace._addresses(tmp_path, config.resolve(), None, {})
    monkeypatch.setattr(os, "getegid", lambda: 4711)
    assert one != namespace._addresses(tmp_path, config.resolve(), None, {})
