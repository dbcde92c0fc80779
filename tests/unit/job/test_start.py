"""A start: every check before it, and a mount that cannot be read is taken away again."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.config.value_types import SystemLog
from imagenetfs.errors import (
    ExitCode,
    FuseRefusedError,
    ImagenetfsError,
    PlaceRefusedError,
    SourceMissingError,
)
from imagenetfs.job import daemon, logs, preflight, start
from imagenetfs.job.daemon import Started
from imagenetfs.job.mount_paths import MountLock, MountPaths
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.job.server import MountRequest
from imagenetfs.job.start import check_all, start_mount
from imagenetfs.system import child_call, mounts, namespaces
from tests.helpers.mount_table import MountTable, settings_with

LOCK = MountLock(7)
"""No descriptor of this process's is meant: the daemon that gets it is a played one."""


@pytest.fixture
def request_(tmp_path: Path) -> MountRequest:
    """A mount that could be made."""
    for name in ("source/ILSVRC2012", "mnt"):
        (tmp_path / name).mkdir(parents=True)
    ensure_private(tmp_path / "run")
    ensure_private(tmp_path / "run" / ".run")
    place = MountPaths(tmp_path / "mnt", tmp_path / "run")
    settings = settings_with(index_dir=tmp_path / "index", log=tmp_path / "log")
    return MountRequest(paths=place, source=tmp_path / "source", settings=settings, born="mount")


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountTable:
    return MountTable(tmp_path, monkeypatch)


def nothing(sentence: str) -> None:
    raise AssertionError(sentence)


# --- checks ---------------------------------------------------------------------------------------


def test_each_check_is_made(
    request_: MountRequest, table: MountTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for name in ("check_source", "check_mountpoint", "check_places", "check_fuse"):
        monkeypatch.setattr(preflight, name, lambda *a, _n=name, **k: done.append(_n))
    monkeypatch.setattr(start, "prepare_cache", lambda settings, say: done.append("cache"))
    check_all(request_, nothing)
    assert done == ["check_source", "check_mountpoint", "check_places", "check_fuse", "cache"]


def test_a_missing_source_comes_first(request_: MountRequest) -> None:
    (request_.source / "ILSVRC2012").rmdir()
    request_.paths.mountpoint.rmdir()
    with pytest.raises(SourceMissingError, match="is empty"):
        check_all(request_, nothing)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["index_dir", "cache_dir", "log"])
def test_our_own_places_may_not_lie_in_the_mount(request_: MountRequest, name: str) -> None:
    inside = request_.paths.mountpoint / "x"
    more = {"log": request_.paths.root / "log", name: inside}
    settings = settings_with(**more)
    bad = MountRequest(paths=request_.paths, source=request_.source, settings=settings, born="run")
    with pytest.raises(PlaceRefusedError, match=f"{inside} lies under the mountpoint"):
        check_all(bad, nothing)


@pytest.mark.slow
def test_the_run_directory_may_not_lie_in_the_mount(request_: MountRequest) -> None:
    place = MountPaths(request_.paths.mountpoint, request_.paths.mountpoint / "run")
    bad = MountRequest(
        paths=place, source=request_.source, settings=request_.settings, born="mount"
    )
    with pytest.raises(PlaceRefusedError, match="The run directory"):
        check_all(bad, nothing)


@pytest.mark.slow
def test_root_needs_no_fusermount(
    request_: MountRequest, table: MountTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed: list[bool] = []
    monkeypatch.setattr(
        preflight, "check_fuse", lambda *, needs_helper: needed.append(needs_helper)
    )
    for may in (True, False):
        monkeypatch.setattr(namespaces, "may_mount", lambda may=may: may)
        check_all(request_, nothing)
    assert needed == [False, True]


# --- the start ------------------------------------------------------------------------------------


class Daemon:
    """In the place of daemon.start and daemon.stop: a server that is up, or fails."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.started = Started(4242, [])
        self.error: ImagenetfsError | None = None
        self.given: dict[str, Any] = {}
        self.stopped: list[int] = []
        self.on_start: Callable[[], object] = lambda: None
        monkeypatch.setattr(start, "check_all", lambda request, say: None)
        monkeypatch.setattr(daemon, "start", self._start)
        monkeypatch.setattr(daemon, "stop", self.stopped.append)

    def _start(self, serve: object, **given: Any) -> Started:
        self.given = given
        if self.error is not None:
            raise self.error
        self.on_start()
        return self.started


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Daemon:
    return Daemon(monkeypatch)


def test_a_mount_that_comes_up(request_: MountRequest, table: MountTable, server: Daemon) -> None:
    said: list[str] = []
    server.started.warnings = ["one", "two"]
    server.on_start = lambda: table.add(request_.paths.mountpoint)
    front, first = socket.socketpair()
    with front, first:
        entry = start_mount(request_, LOCK, said.append, first)
        assert server.given["keep"] == [LOCK.fileno(), first.fileno()]
    assert entry.mountpoint == str(request_.paths.mountpoint)
    assert server.given["log"] == request_.settings.log
    assert said == ["warning: one", "warning: two"]
    assert server.stopped == []


def test_train_may_have_been_forgotten(
    request_: MountRequest, table: MountTable, server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: dict[str, Any] = {"versions": {"ILSVRC2012": {"val": {}}}}
    monkeypatch.setattr(start, "read_status", lambda mountpoint: told)
    server.on_start = lambda: table.add(request_.paths.mountpoint)
    said: list[str] = []
    start_mount(request_, LOCK, said.append)
    assert [one.partition(":")[0] for one in said] == ["note"]
    assert f"belongs into {request_.source}/ILSVRC2012;" in said[0]
    wanted = replace(request_.settings, require=("ILSVRC2012/val",))
    start_mount(replace(request_, settings=wanted), LOCK, nothing)
    told["versions"]["ILSVRC2012"]["train"] = {}
    start_mount(request_, LOCK, nothing)


def test_what_the_server_reports_is_raised(
    request_: MountRequest, table: MountTable, server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.error = daemon.reported_error("It is broken.", ExitCode.ARCHIVE_BROKEN)
    with pytest.raises(ImagenetfsError) as caught:
        start_mount(request_, LOCK, nothing)
    assert (str(caught.value), caught.value.exit_code) == ("It is broken.", 13)
    server.error = FuseRefusedError("No.")
    monkeypatch.setattr(namespaces, "in_user_namespace", lambda: False)
    with pytest.raises(FuseRefusedError) as refused:
        start_mount(request_, LOCK, nothing)
    assert str(refused.value) == "No."


def test_a_refusal_within_a_user_namespace_says_so(
    request_: MountRequest, table: MountTable, server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespaces, "in_user_namespace", lambda: True)
    server.error = FuseRefusedError("No.")
    with pytest.raises(FuseRefusedError) as caught:
        start_mount(request_, LOCK, nothing)
    assert str(caught.value).startswith(
        "No. This process is in a user namespace (of run --namespace"
    )
    server.error = daemon.reported_error("Other.", ExitCode.NO_SPACE)
    with pytest.raises(ImagenetfsError, match=r"^Other\.$"):
        start_mount(request_, LOCK, nothing)


@pytest.mark.parametrize("fstype", [None, "fuse.sshfs"])
def test_a_mount_that_is_not_in_the_table(
    request_: MountRequest, table: MountTable, server: Daemon, fstype: str | None
) -> None:
    if fstype is not None:
        table.add(request_.paths.mountpoint, fstype=fstype)
    with pytest.raises(FuseRefusedError, match="did not appear in the mount table"):
        start_mount(request_, LOCK, nothing)
    assert server.stopped == [4242]


@pytest.mark.parametrize(
    ("raised", "words"),
    [
        (OSError(errno.EIO, os.strerror(errno.EIO)), "Input/output error"),
        (child_call.NoAnswerError(), "no answer"),
    ],
)
def test_a_mount_that_cannot_be_read_is_taken_away(
    request_: MountRequest,
    table: MountTable,
    server: Daemon,
    monkeypatch: pytest.MonkeyPatch,
    raised: Exception,
    words: str,
) -> None:
    entry, detached = table.add(request_.paths.mountpoint), []

    def ask(question: object, seconds: float) -> None:
        raise raised

    monkeypatch.setattr(child_call, "call_in_child", ask)
    monkeypatch.setattr(mounts, "detach", lambda entry, *, lazy: detached.append((entry, lazy)))
    with pytest.raises(
        FuseRefusedError, match="could not be read and was taken away again"
    ) as caught:
        start_mount(request_, LOCK, nothing)
    assert words in str(caught.value)
    assert detached == [(entry, True)]
    assert server.stopped == [4242]


def test_a_mount_for_the_usual_group_is_not_read_under_another(
    request_: MountRequest, table: MountTable, server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ask(question: object, seconds: float) -> None:
        raise AssertionError("this process may not read it")

    monkeypatch.setattr(child_call, "call_in_child", ask)
    entry = table.add(
        request_.paths.mountpoint, options=f"ro,user_id=0,group_id={os.getegid() + 1}"
    )
    assert start_mount(request_, LOCK, nothing) == entry


@pytest.mark.slow
def test_a_log_of_the_systems_is_no_file_of_the_mounts(
    request_: MountRequest, table: MountTable, server: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[MountRequest] = []
    own = request_.paths.own_log
    monkeypatch.setattr(logs, "prepare", lambda place, settings: own)
    monkeypatch.setattr(
        start, "serve_mount", lambda request, lock, ready, client: seen.append(request)
    )
    real = server._start

    def run(serve: Callable[[object], None], **given: Any) -> Started:
        serve(None)
        return real(serve, **given)

    monkeypatch.setattr(daemon, "start", run)
    table.add(request_.paths.mountpoint)
    for log in (SystemLog.SYSLOG, request_.settings.log):
        settings = settings_with(log=str(log))
        start_mount(
            MountRequest(
                paths=request_.paths, source=request_.source, settings=settings, born="mount"
            ),
            LOCK,
            nothing,
        )
    assert [request.log for request in seen] == [None, own]
