"""A run's mount: joined where it fits, started where there is none, ended by its last user."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from imagenetfs import config
from imagenetfs.errors import FuseRefusedError, ImagenetfsError, StillBusyError, UsageError
from imagenetfs.job import clients, mount_handle, preflight, primary_group
from imagenetfs.job.clients import MountClient, ServerInfo
from imagenetfs.job.compatibility import OccupiedError
from imagenetfs.job.mount_handle import (
    MOUNT_VARIABLE,
    MountHandle,
    join_mount,
    join_or_start,
    release,
)
from imagenetfs.job.mount_paths import MountLock, MountPaths, try_lock
from imagenetfs.job.preflight import Health
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.job.server import MountRequest
from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry
from imagenetfs.system.patience import ROOT_SECONDS, Patience
from tests.helpers.clocks import FakeClock
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.mount_table import MountTable, settings_with


class FakeClient:
    """A server's answers to one client."""

    def __init__(self, source: str = "/datashare", last: bool | None = True) -> None:
        said = config.texts_of_mount(settings_with())
        self.identity = ServerInfo(source, "/m", "run", 4242, said)
        self.calls: list[str] = []
        self.dies = False
        self._last = last

    def take(self) -> None:
        self.calls.append("take")
        if self.dies:
            raise ConnectionResetError

    def leave(self) -> bool | None:
        self.calls.append("leave")
        return self._last

    def close(self) -> None:
        self.calls.append("close")


class Node:
    """Places, a mount table, and the server that answers at them (None: none listens)."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = tmp_path / "run"
        ensure_private(self.root)
        ensure_private(self.root / ".run")
        self.place = MountPaths(self.root / "imagenet", self.root)
        self.table = MountTable(tmp_path, monkeypatch)
        self.client: FakeClient | None = None
        self.said: list[str] = []
        self.unmounted = True
        self.health = Health.LIVE
        self.healed: list[str] = []
        self.ended: list[int] = []
        monkeypatch.setattr(MountClient, "visit", lambda place: self.client)
        monkeypatch.setattr(preflight, "health", lambda entry: self.health)
        monkeypatch.setattr(
            preflight, "remove_dead_mount", lambda entry, say: self.healed.append(entry.mountpoint)
        )
        monkeypatch.setattr(mounts, "wait_unmounted", lambda entry, seconds: self.unmounted)
        monkeypatch.setattr(
            mount_handle, "wait_for_end", lambda pid, seconds: self.ended.append(pid)
        )

    def mounted(self, **more: str) -> MountEntry:
        return self.table.add(self.place.mountpoint, **more)

    def join(self, source: str | None = "/datashare") -> MountHandle | None:
        return join_mount(self.place, Path(source) if source else None, self.said.append)

    def refused(self, source: str | None = "/datashare") -> str:
        with pytest.raises(OccupiedError) as caught:
            self.join(source)
        return str(caught.value)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_what_a_command_finds_in_its_environment(node: Node) -> None:
    entry = node.mounted()
    outside = MountHandle(node.place, entry, None)
    assert outside.variables == {MOUNT_VARIABLE: str(node.place.mountpoint)}
    private = MountPaths(node.place.mountpoint, node.root, "7.0")
    assert MountHandle(private, entry, None).variables == {
        MOUNT_VARIABLE: str(node.place.mountpoint),
        "IMAGENETFS_RUN_DIR": str(node.root),
    }


# --- joining --------------------------------------------------------------------------------------


def test_there_is_nothing_to_join(node: Node) -> None:
    assert node.join() is None


def test_a_client_is_made_of_a_visitor(node: Node) -> None:
    entry, node.client = node.mounted(), FakeClient()
    handle = node.join()
    assert handle is not None
    assert handle.entry == entry
    assert handle.client is cast(object, node.client)
    assert node.client.calls == ["take"]
    assert node.join(None) is not None, "any source is right where none is named"


def test_the_same_source_by_another_name(node: Node, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "link").symlink_to("s")
    node.mounted()
    node.client = FakeClient(source=str(tmp_path / "s"))
    assert node.join(str(tmp_path / "link")) is not None


def test_another_source(node: Node) -> None:
    node.mounted()
    node.client = FakeClient(source="/other")
    assert node.refused() == (
        f"/other is mounted at {node.place.mountpoint}, not /datashare: choose another place "
        f"with --at."
    )
    assert "take" not in node.client.calls


def test_another_kind_of_mount(node: Node) -> None:
    node.mounted(fstype="nfs")
    assert node.refused() == (
        f"Something is mounted at {node.place.mountpoint} already (nfs): choose another place "
        "with --at."
    )


def test_a_server_whose_mount_is_not_seen_here(node: Node) -> None:
    node.client = FakeClient()
    assert "belongs to another mount namespace" in node.refused()
    assert node.client.calls == ["close"]


def test_a_mount_for_another_group(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(entry: MountEntry) -> None:
        raise UsageError("another group")

    monkeypatch.setattr(primary_group, "check_mount", check)
    node.mounted()
    with pytest.raises(UsageError):
        node.join()


def test_a_dead_mount_is_taken_away(node: Node) -> None:
    node.mounted()
    node.health = Health.DEAD
    assert node.join() is None
    assert node.healed == [str(node.place.mountpoint)]


def test_a_server_that_dies_as_it_is_joined(node: Node) -> None:
    node.mounted()
    node.client = FakeClient()
    node.client.dies, node.health = True, Health.DEAD
    assert node.join() is None


def test_a_mount_on_its_way_out(node: Node) -> None:
    node.mounted()
    assert node.join() is None
    assert node.healed == []


def test_a_mount_of_another_user_is_used_without_being_its_client(node: Node) -> None:
    node.mounted(options=f"ro,user_id={os.geteuid() + 1},allow_other")
    handle = node.join()
    assert handle is not None
    assert handle.client is None
    release(handle, node.said.append)
    assert (node.said, node.ended) == ([], [])


# --- starting -------------------------------------------------------------------------------------


Start = Callable[[MountRequest, int, object, object], object]


@pytest.fixture
def starts(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[MountRequest]:
    """The mounts that were started; each comes up."""
    requests: list[MountRequest] = []

    def start(request: MountRequest, lock: MountLock, say: object, first: object) -> MountEntry:
        assert try_lock(request.paths) is None, "the place's lock is held meanwhile"
        requests.append(request)
        return node.mounted()

    monkeypatch.setattr(mount_handle, "start_mount", start)
    monkeypatch.setattr(mount_handle, "MountClient", _Client)
    return requests


class _Client:
    """A MountClient whose server answers at once."""

    visit = staticmethod(lambda place: None)

    def __init__(self, connection: object) -> None:
        self.identity = ServerInfo("/datashare", "/m", "run", 4242)


def _start(node: Node, **options: object) -> MountHandle:
    settings = settings_with(**options)
    return join_or_start(node.place, Path("/datashare"), settings, node.said.append)


def test_a_mount_is_started_where_there_is_none(node: Node, starts: list[MountRequest]) -> None:
    handle = _start(node)
    [request] = starts
    assert (request.born, request.made, request.source) == ("run", True, Path("/datashare"))
    assert handle.made
    assert handle.client is not None
    assert node.place.mountpoint.stat().st_mode & 0o777 == 0o700
    lock = try_lock(node.place)
    assert lock is not None
    lock.close()


def test_a_directory_of_the_users_stays(
    node: Node, starts: list[MountRequest], tmp_path: Path
) -> None:
    node.place = MountPaths(tmp_path / "mine", node.root)
    node.place.mountpoint.mkdir()
    assert not _start(node).made
    assert not starts[0].made


def test_a_directory_that_a_killed_server_left_goes(node: Node, starts: list[MountRequest]) -> None:
    node.place.mountpoint.mkdir()
    assert _start(node).made


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (UsageError("no"), UsageError),
        (ConnectionResetError(), FuseRefusedError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_start_that_fails_leaves_no_directory(
    node: Node, monkeypatch: pytest.MonkeyPatch, raised: BaseException, kind: type[BaseException]
) -> None:
    before = descriptors()

    def start(*arguments: object) -> None:
        raise raised

    monkeypatch.setattr(mount_handle, "start_mount", start)
    with pytest.raises(kind) as caught:
        _start(node)
    if kind is FuseRefusedError:
        assert "ended as soon as it had started" in str(caught.value)
    assert not node.place.mountpoint.exists()
    assert opened_since(before) == {}


def test_dead_mounts_of_other_jobs_go_first(
    node: Node, starts: list[MountRequest], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[Path, MountPaths]] = []
    monkeypatch.setattr(
        mount_handle, "remove_dead_mounts", lambda root, own, say: seen.append((root, own))
    )
    _start(node)
    assert seen == [(node.root, node.place)]


def test_a_mount_that_is_there_is_joined_and_options_without_effect_are_told(node: Node) -> None:
    node.mounted()
    node.client = FakeClient()
    assert _start(node, workers="3").client is cast(object, node.client)
    assert node.said == ["joined the mount of process 4242; --workers has no effect there."]


def test_a_mount_that_shows_something_else_is_left(node: Node) -> None:
    node.mounted()
    node.client = FakeClient()
    with pytest.raises(OccupiedError, match="does not show the view a=/x"):
        _start(node, view=["a=/x"])
    assert node.client.calls == ["take", "close"]


def test_the_first_client_is_one_of_a_pair(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's end is closed here: else it would not hear of this process's end."""
    ends = clients.pair()
    monkeypatch.setattr(clients, "pair", lambda: ends)
    monkeypatch.setattr(clients, "ANSWER_SECONDS", 0.01)
    monkeypatch.setattr(mount_handle, "start_mount", lambda *arguments: node.mounted())
    with pytest.raises(FuseRefusedError):  # nobody answers
        _start(node)
    assert [end.fileno() for end in ends] == [-1, -1]


# --- ending ---------------------------------------------------------------------------------------


def _handle(node: Node, last: bool | None, made: bool = False) -> tuple[MountHandle, FakeClient]:
    client = FakeClient(last=last)
    handle = SimpleNamespace(
        paths=node.place,
        entry=node.mounted(),
        client=client,
        made=made,
        mountpoint=node.place.mountpoint,
    )
    return handle, client  # type: ignore[return-value]  # a client that is played


def test_others_use_it_still(node: Node) -> None:
    handle, client = _handle(node, last=False)
    release(handle, node.said.append)
    assert (client.calls, node.ended) == (["leave", "close"], [])


def test_root_waits_ten_seconds_for_the_end_in_all(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = FakeClock()
    root = Patience(clock, is_root=lambda: True)
    for module in (mount_handle, preflight):
        monkeypatch.setattr(module, "PATIENCE", root)
    given: list[float] = []

    def wait(entry_or_pid: object, seconds: float) -> bool:
        given.append(seconds)
        clock.advance(min(seconds, 9.0))
        return True

    monkeypatch.setattr(mounts, "wait_unmounted", wait)
    monkeypatch.setattr(mount_handle, "wait_for_end", wait)
    handle, _ = _handle(node, last=True)
    with root.as_command():
        root.spend(ROOT_SECONDS)  # of its start; the command has run for hours since
        release(handle, node.said.append)
    assert given == [ROOT_SECONDS, pytest.approx(1.0)]


def test_the_last_one_waits_for_the_end(node: Node) -> None:
    handle, client = _handle(node, last=True)
    release(handle, node.said.append)
    assert (client.calls, node.ended, node.said) == (["leave", "close"], [4242], [])


@pytest.mark.parametrize("refuses", [False, True])
def test_a_mount_that_does_not_end_is_taken_away(
    node: Node, monkeypatch: pytest.MonkeyPatch, refuses: bool
) -> None:
    handle, _ = _handle(node, last=True)
    node.unmounted, detached = False, []

    def detach(entry: MountEntry, *, lazy: bool) -> None:
        detached.append(lazy)
        if refuses:
            raise StillBusyError("not yours")

    monkeypatch.setattr(mounts, "detach", detach)
    release(handle, node.said.append)
    assert node.said == [f"the mount at {node.place.mountpoint} did not end and was taken away."]
    assert (detached, node.ended) == ([True], [4242])


def test_the_server_died(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.place.mountpoint.mkdir()
    handle, _ = _handle(node, last=None, made=True)
    healed: list[MountEntry] = []
    monkeypatch.setattr(
        mount_handle, "clear_dead_mount", lambda entry, place, say: healed.append(entry)
    )
    release(handle, node.said.append)
    assert healed == [handle.entry]
    assert not node.place.mountpoint.exists()


def test_the_server_died_and_its_mount_lives_on(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A newer server has mounted there: it is none of ours."""
    handle, _ = _handle(node, last=None)
    node.unmounted = False
    monkeypatch.setattr(
        mount_handle, "clear_dead_mount", lambda entry, place, say: pytest.fail("it lives")
    )
    release(handle, node.said.append)


def test_a_dead_mount_that_cannot_be_taken_away_is_told(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle, _ = _handle(node, last=None)

    def heal(entry: MountEntry, place: MountPaths, say: object) -> None:
        raise ImagenetfsError("It stays.")

    monkeypatch.setattr(mount_handle, "clear_dead_mount", heal)
    release(handle, node.said.append)
    assert node.said == ["It stays."]
