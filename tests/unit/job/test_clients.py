"""Clients: who keeps a mount alive, and that no joiner is lost."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio

from imagenetfs.job import clients
from imagenetfs.job.clients import Born, ClientRegistry, MountClient, ServerInfo
from imagenetfs.job.mount_paths import MountPaths, locked
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.system.patience import ROOT_SECONDS, Patience
from tests.helpers.clocks import FakeClock

HANG_SECONDS = 100


@pytest.fixture
def place(tmp_path: Path) -> MountPaths:
    # A long path: sockets have room for 107 bytes only.
    root = tmp_path / ("long" * 25)
    root.mkdir(mode=0o700)
    ensure_private(root / ".run")
    return MountPaths(Path("/mnt/x"), root)


class Server:
    """A registry as a task of a supervisor, in a thread."""

    def __init__(self, place: MountPaths, born: Born = "run", *, first: bool = False) -> None:
        self.front: socket.socket | None = None
        end: socket.socket | None = None
        if first:
            self.front, end = clients.pair()
        identity = ServerInfo("/source", str(place.mountpoint), born, os.getpid())
        self.watcher = ClientRegistry(place, identity, end)
        self.place = place
        self.ended = threading.Event()
        self._begun = threading.Event()
        self._cancel: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))
        self._thread.start()
        assert self._begun.wait(HANG_SECONDS)

    async def _serve(self) -> None:
        token = trio.lowlevel.current_trio_token()
        with trio.CancelScope() as scope:
            self._cancel = lambda: token.run_sync_soon(scope.cancel)
            self._begun.set()
            await self.watcher.run()
            self.ended.set()

    def stays(self) -> bool:
        """Whether it goes on, and answers, after what has happened so far."""
        for _ in range(2):  # it may have begun its look before that
            visitor = MountClient.visit(self.place)
            if visitor is None:
                return False
            visitor.holders()
            visitor.close()
        return not self.ended.is_set()

    def stop(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._cancel()
        self._thread.join()
        self.watcher.close()
        if self.front is not None:
            self.front.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    started: list[Server] = []
    yield started
    for server in started:
        server.stop()


def test_the_last_one_out_ends_it(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    first = MountClient(server.front)
    assert first.identity == ServerInfo("/source", "/mnt/x", "run", os.getpid())
    second = MountClient.visit(place)
    assert second is not None
    with locked(place):
        second.take()
    assert first.leave() is False
    first.close()
    assert server.stays()
    assert second.leave() is True
    assert server.ended.wait(HANG_SECONDS)
    assert not place.socket_path.exists()
    assert MountClient.visit(place) is None


def test_a_front_that_dies_is_a_client_no_more(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    server.front.close()
    assert server.ended.wait(HANG_SECONDS)


def test_a_front_that_died_before_the_server_was_up(place: MountPaths) -> None:
    front, end = clients.pair()
    front.close()
    watcher = ClientRegistry(place, ServerInfo("/s", "/mnt/x", "run", os.getpid()), end)
    assert watcher.ready()
    watcher.close()


def test_a_visitor_keeps_nothing_alive(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    visitor = MountClient.visit(place)
    assert visitor is not None
    assert MountClient(server.front).leave() is True
    assert server.ended.wait(HANG_SECONDS)
    visitor.close()


def test_it_says_who_is_a_client(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, "mount")
    servers.append(server)
    visitor = MountClient.visit(place)
    assert visitor is not None
    assert visitor.holders() == []
    client = MountClient.visit(place)
    assert client is not None
    client.take()
    assert visitor.holders() == [os.getpid()]
    client.close()
    assert visitor.holders() == []
    server.stop()
    assert visitor.holders() == []
    visitor.close()


def test_a_mount_made_by_mount_stays(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, "mount")
    servers.append(server)
    for _ in range(3):
        client = MountClient.visit(place)
        assert client is not None
        assert client.identity.born == "mount"
        client.take()
        assert client.leave() is False
        client.close()
    assert server.stays()


def test_nobody_ends_it_while_somebody_joins(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    first = MountClient(server.front)
    with locked(place):
        joiner = MountClient.visit(place)
        assert joiner is not None
        # The last client goes while the joiner has not become one yet.
        assert first.leave() is False
        first.close()
        assert server.stays()
        joiner.take()
    assert server.stays()
    assert joiner.leave() is True
    assert server.ended.wait(HANG_SECONDS)


def test_a_joiner_that_gives_up_does_not_keep_it(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    with locked(place):
        joiner = MountClient.visit(place)
        assert joiner is not None
        server.front.close()
        joiner.close()
    assert server.ended.wait(HANG_SECONDS)


def test_nonsense_is_dropped(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    for nonsense in (b"\xff\xff", b"[1", b"[]", b'{"ask": "what"}', b"x" * 5000):
        visitor = MountClient.visit(place)
        assert visitor is not None
        visitor._connection.send(nonsense)
        visitor.close()
    client = MountClient.visit(place)
    assert client is not None
    client.take()
    assert client.leave() is False


def test_a_socket_without_a_server(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, first=True)
    servers.append(server)
    kept = place.socket_path.with_suffix(".kept")
    os.link(place.socket_path, kept)
    assert server.front is not None
    server.front.close()
    assert server.ended.wait(HANG_SECONDS)
    server.stop()
    kept.rename(place.socket_path)  # as after a kill -9
    assert MountClient.visit(place) is None
    again = Server(place, first=True)
    servers.append(again)
    assert MountClient.visit(place) is not None


def test_an_old_server_leaves_a_newer_ones_socket_alone(
    place: MountPaths, servers: list[Server]
) -> None:
    old = Server(place, "mount")
    new = Server(place, "mount")
    servers.extend([old, new])
    old.stop()
    assert place.socket_path.exists()
    assert MountClient.visit(place) is not None


def test_a_server_that_is_gone(place: MountPaths, servers: list[Server]) -> None:
    server = Server(place, "mount")
    servers.append(server)
    client = MountClient.visit(place)
    assert client is not None
    server.stop()
    assert client.leave() is None


def test_a_run_directory_that_somebody_cleaned_away(
    place: MountPaths, servers: list[Server]
) -> None:
    server = Server(place, first=True)
    servers.append(server)
    assert server.front is not None
    place.socket_path.unlink()
    place.lock_path.parent.rmdir()
    server.front.close()
    assert server.ended.wait(HANG_SECONDS)


def test_copies_in_workers_are_no_client(place: MountPaths) -> None:
    front, end = clients.pair()
    watcher = ClientRegistry(place, ServerInfo("/s", "/mnt/x", "mount", os.getpid()), end)
    child = os.fork()
    if child == 0:  # a worker: has inherited the server's sockets, and never looks at them
        os.close(front.fileno())
        signal.pause()
        os._exit(0)
    try:
        front.close()
        poller = select.poll()
        poller.register(watcher._epoll, select.POLLIN)
        assert poller.poll(1000 * HANG_SECONDS)
        watcher.ready()
        assert watcher._clients == set()
        assert not poller.poll(0), "the loop would spin on what the worker still holds"
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        watcher.close()


def test_root_waits_for_no_server_longer_than_is_left(
    place: MountPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stopped, say, or that a dead file system holds."""
    root = Patience(FakeClock(), is_root=lambda: True)
    monkeypatch.setattr(clients, "PATIENCE", root)
    root.spend(ROOT_SECONDS - 0.05)
    front, server = clients.pair()
    with server, pytest.raises(TimeoutError):
        MountClient(front)
    front.close()
