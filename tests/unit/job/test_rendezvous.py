"""Doors: one owner a name, those who wait, and strangers."""

from __future__ import annotations

import os
import signal
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.errors import FuseUnavailableError, GroupNeededError
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
        assert watcher.ready() is False
    assert answers == [HOST] * 3
    watcher.close()
    assert rendezvous.connect(address) is None


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
def stranger(address: RendezvousAddress) -> Iterator[None]:
    """A process of another user that has taken our name."""
    name = address.as_socket()
    ready = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setresuid(65534, 65534, 65534)
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            listener.bind(name)
            listener.listen()
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


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_a_stranger_is_not_believed(address: RendezvousAddress) -> None:
    with stranger(address), pytest.raises(ForeignSocketError):
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
    watcher.ready()
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
