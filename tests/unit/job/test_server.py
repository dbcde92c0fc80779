"""What a server process does around serving.

Its plan, its watchers, and what it takes away at the end.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cache.quota import CacheSetup, Limits
from imagenetfs.config import Settings
from imagenetfs.errors import FuseRefusedError
from imagenetfs.job import preflight, primary_group, server, signals
from imagenetfs.job.clients import ClientRegistry, MountClient
from imagenetfs.job.mount_paths import MountLock, MountPaths, locked, try_lock
from imagenetfs.job.preflight import NOT_MOUNTED_FILE, Health
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.job.sd_notify import Notifier
from imagenetfs.job.server import MountRequest, make_mountpoint, serve_mount
from imagenetfs.server import supervisor
from imagenetfs.server.mount_plan import MountPlan, ServerSettings
from tests.helpers.children import ended, in_child
from tests.helpers.mount_table import MountTable, settings_with


def nothing(sentence: str) -> None:
    raise AssertionError(sentence)


@pytest.fixture
def asked(tmp_path: Path) -> MountRequest:
    """A mount at a directory that ``run`` made."""
    ensure_private(tmp_path / "run")
    ensure_private(tmp_path / "run" / ".run")
    (tmp_path / "source").mkdir(mode=0o750)
    place = MountPaths(tmp_path / "run" / "imagenet", tmp_path / "run")
    place.mountpoint.mkdir()
    settings = settings_with(
        index_dir=tmp_path / "index", idle="30m", workers="5", prefer="directories"
    )
    return MountRequest(
        paths=place, source=tmp_path / "source", settings=settings, born="run", made=True
    )


# --- the mountpoint -------------------------------------------------------------------------------


def test_a_mountpoint_that_is_made_says_that_nothing_is_mounted(tmp_path: Path) -> None:
    assert make_mountpoint(tmp_path / "m", nothing)
    assert [path.name for path in (tmp_path / "m").iterdir()] == [NOT_MOUNTED_FILE]
    assert make_mountpoint(tmp_path / "m", nothing), (
        "of a mount that was killed: it goes with this one"
    )


def test_a_directory_of_the_users_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    assert not make_mountpoint(tmp_path / "m", nothing)
    assert list((tmp_path / "m").iterdir()) == []


def test_a_mountpoint_that_cannot_be_made(tmp_path: Path) -> None:
    assert not make_mountpoint(tmp_path / "none" / "m", nothing)


def test_a_mountpoint_in_use_is_left_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_mountpoint(tmp_path / "m", nothing)
    MountTable(tmp_path, monkeypatch).add(tmp_path / "m", fstype="nfs")
    assert not make_mountpoint(tmp_path / "m", nothing)


def test_a_dead_mount_is_taken_away_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert make_mountpoint(tmp_path / "m", nothing)
    table = MountTable(tmp_path, monkeypatch)
    table.add(tmp_path / "m")
    monkeypatch.setattr(preflight, "health", lambda entry: Health.DEAD)
    monkeypatch.setattr(preflight, "remove_dead_mount", lambda entry, say: table.remove(entry))
    assert make_mountpoint(tmp_path / "m", nothing)


# --- the plan -------------------------------------------------------------------------------------


def test_the_settings_reach_the_plan(asked: MountRequest, tmp_path: Path) -> None:
    plan = server._plan(asked)
    assert (plan.source, plan.mountpoint) == (asked.source, asked.paths.mountpoint)
    served = plan.settings
    assert (served.workers, served.prefer) == (5, "directories")
    assert (served.index_dir, plan.cache) == (tmp_path / "index", None)
    assert (plan.warnings, plan.root_access) == ((), None)


def test_each_setting_of_a_mount_is_one_of_the_users_and_like_it() -> None:
    """They are filled in by name, so that a new one is written down once for each side."""
    users = {field.name: field.type for field in fields(Settings)}
    for field in fields(ServerSettings):
        assert users[field.name] == field.type


def test_a_run_ends_by_its_clients_a_mount_by_signals_and_idleness(
    asked: MountRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primary_group, "usual_group", lambda: "users")
    run, mount = (server._plan(replace(asked, born=born)) for born in ("run", "mount"))
    assert (run.idle, run.heed_signals, run.shown_to) == (None, False, None)
    assert (mount.idle, mount.heed_signals, mount.shown_to) == (1800.0, True, "users")


def test_a_mount_for_all_users_has_the_sources_rights(asked: MountRequest) -> None:
    plan = server._plan(replace(asked, fuse_options=("allow_other", "default_permissions")))
    assert plan.root_access == (os.geteuid(), asked.source.stat().st_gid, 0o750)
    assert plan.fuse_options == ("allow_other", "default_permissions")


def test_a_cache(asked: MountRequest, tmp_path: Path) -> None:
    settings = settings_with(cache_dir=tmp_path / "c", cache_size="1M", keep_free="2M")
    plan = server._plan(replace(asked, settings=settings))
    assert plan.cache == CacheSetup(tmp_path / "c", Limits(10**6, 2 * 10**6))


def test_an_index_that_cannot_be_kept_is_told(asked: MountRequest, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    plan = server._plan(replace(asked, settings=settings_with(index_dir=tmp_path / "file" / "x")))
    [warning] = plan.warnings
    assert warning.startswith(f"no index can be kept in {tmp_path}/file/x")


# --- serving --------------------------------------------------------------------------------------


class Supervisor:
    """In the place of ``serve``: what it was given, and what it does."""

    def __init__(self) -> None:
        self.plan: MountPlan | None = None
        self.watchers: list[Any] = []
        self.act: Callable[[Callable[[list[str]], None]], None] = lambda ready: ready([])

    def serve(self, plan: MountPlan, *, ready: Callable[[list[str]], None], watchers: Any) -> None:
        self.plan, self.watchers = plan, list(watchers)
        self.act(ready)


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    played = Supervisor()
    monkeypatch.setattr(supervisor, "serve", played.serve)
    for name in ("raise_when_told_to_end", "ignore"):  # this is the tests' process
        monkeypatch.setattr(signals, name, lambda: None)
    yield played


def _lock(place: MountPaths) -> MountLock:
    lock = try_lock(place)
    assert lock is not None
    return lock


def test_a_mount_that_can_be_read_gives_its_lock_back(
    asked: MountRequest, serving: Supervisor
) -> None:
    lock, heard = _lock(asked.paths), list[list[str]]()

    def act(ready: Callable[[list[str]], None]) -> None:
        assert try_lock(asked.paths) is None
        ready(["one"])
        _lock(asked.paths).close()
        assert asked.paths.socket_path.exists()

    serving.act = act
    serve_mount(asked, lock, heard.append)
    assert heard == [["one"]]
    assert [type(watcher) for watcher in serving.watchers] == [Notifier, ClientRegistry]
    assert asked.paths.files == []
    assert not asked.paths.mountpoint.exists()
    lock.close()


def test_a_client_hears_what_was_asked_for(asked: MountRequest, serving: Supervisor) -> None:
    lock, identities = _lock(asked.paths), list[MountClient | None]()

    def act(ready: Callable[[list[str]], None]) -> None:
        ready([])
        # The registry has accepted before a client asks: the loop that does so is played here.
        import threading

        found = threading.Thread(target=lambda: identities.append(MountClient.visit(asked.paths)))
        found.start()
        while found.is_alive():
            serving.watchers[1].ready()
            found.join(0.01)

    serving.act = act
    serve_mount(replace(asked, born="mount"), lock, lambda warnings: None)
    [visit] = identities
    assert visit is not None
    assert (visit.identity.born, visit.identity.pid) == ("mount", os.getpid())
    assert (visit.identity.source, visit.identity.settings["workers"]) == (str(asked.source), "5")
    visit.close()
    lock.close()


def test_a_mount_that_fails_leaves_nothing(asked: MountRequest, serving: Supervisor) -> None:
    def act(ready: object) -> None:
        raise FuseRefusedError("no")

    serving.act = act
    lock = _lock(asked.paths)
    with pytest.raises(FuseRefusedError):
        serve_mount(asked, lock, lambda warnings: None)
    assert not asked.paths.mountpoint.exists()
    assert asked.paths.files == []
    assert lock.closed


def test_no_child_keeps_the_lock_of_a_mount_that_fails(
    asked: MountRequest, serving: Supervisor
) -> None:
    """A worker that is a moment longer there than its server."""
    (begun, begin), (told, tell) = os.pipe(), os.pipe()
    children = []

    def live() -> None:
        os.write(begin, b"x")
        os.read(told, 1)

    def act(ready: object) -> None:
        children.append(in_child(live))
        os.read(begun, 1)
        raise FuseRefusedError("no")

    serving.act = act
    try:
        with pytest.raises(FuseRefusedError):
            serve_mount(asked, _lock(asked.paths), lambda warnings: None)
        assert asked.paths.files == []
    finally:
        os.write(tell, b"x")
        assert ended(children[0]) == 0
        for fd in (begun, begin, told, tell):
            os.close(fd)


def test_a_mount_that_fails_in_the_fronts_own_process_says_why(
    asked: MountRequest, serving: Supervisor
) -> None:
    """`mount --foreground`: server and front let go of the same lock."""

    def act(ready: object) -> None:
        raise FuseRefusedError("no")

    serving.act = act
    with pytest.raises(FuseRefusedError), locked(asked.paths) as lock:
        serve_mount(asked, lock, lambda warnings: None)
    assert asked.paths.files == []


@pytest.mark.parametrize("when", ["raise_when_told_to_end", "plan"])
def test_a_server_that_is_told_to_end_before_it_mounts_leaves_nothing(
    asked: MountRequest, serving: Supervisor, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Its front may have gone, and waits for it no more."""

    def end(*what: object) -> None:
        raise signals.StopSignal(15)

    if when == "plan":
        monkeypatch.setattr(server, "_plan", end)
    else:
        monkeypatch.setattr(signals, "raise_when_told_to_end", end)
    lock = _lock(asked.paths)
    with pytest.raises(signals.StopSignal):
        serve_mount(asked, lock, lambda warnings: None)
    assert asked.paths.files == []
    assert not asked.paths.mountpoint.exists()
    assert lock.closed


def test_a_directory_of_the_users_stays_whatever_happens(
    asked: MountRequest, serving: Supervisor
) -> None:
    for fails in (False, True):

        def act(ready: Callable[[list[str]], None], fails: bool = fails) -> None:
            if fails:
                raise FuseRefusedError("no")
            ready([])

        serving.act = act
        lock = _lock(asked.paths)
        try:
            serve_mount(replace(asked, made=False), lock, lambda warnings: None)
            lock.close()
        except FuseRefusedError:
            assert fails
        assert asked.paths.mountpoint.is_dir()


def test_a_lost_signal_is_no_ready_mount(
    asked: MountRequest, serving: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signals, "_told", [15])
    with pytest.raises(signals.StopSignal):
        serve_mount(asked, _lock(asked.paths), lambda warnings: pytest.fail("it is told to end"))
    assert not asked.paths.mountpoint.exists()


def test_logs_that_no_file_was_named_for_go_with_the_mount(
    asked: MountRequest, serving: Supervisor, tmp_path: Path
) -> None:
    for log, stays in ((None, False), (tmp_path / "log", True)):
        asked.paths.mountpoint.mkdir(exist_ok=True)
        lock = _lock(asked.paths)
        asked.paths.own_log.write_text("said")
        serve_mount(replace(asked, log=log), lock, lambda warnings: None)
        lock.close()
        assert asked.paths.own_log.exists() is stays
