"""Unmounting.

No process loses its files, no run its mount, and the sentence says who is in the way.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode, NotMountedError, StillBusyError
from imagenetfs.job import preflight, unmount
from imagenetfs.job.clients import MountClient, ServerInfo
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.preflight import Health
from imagenetfs.job.processes import Viewer
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry
from imagenetfs.system.patience import Patience
from tests.helpers.mount_table import MountTable


class Node:
    """A mount in a table of the test's own, and what stands in the way of its end."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.table = MountTable(tmp_path, monkeypatch)
        self.root = tmp_path / "run"
        ensure_private(self.root)
        ensure_private(self.root / ".run")
        monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(self.root))
        self.place = MountPaths(tmp_path / "m", self.root)
        self.entry = self.table.add(tmp_path / "m")
        self.said: list[str] = []
        self.detached: list[bool] = []
        self.now = 0.0
        self.busy = 0
        """So many tries find it in use."""
        self.ends = True
        self.goes = True
        self.waited: list[tuple[int, float]] = []
        monkeypatch.setattr(unmount, "PATIENCE", Patience(is_root=lambda: False))
        monkeypatch.setattr(os, "chdir", lambda path: None)
        monkeypatch.setattr(preflight, "health", lambda entry: Health.LIVE)
        monkeypatch.setattr(mounts, "detach", self._detach)
        monkeypatch.setattr(mounts, "wait_unmounted", lambda entry, seconds: self.goes)
        monkeypatch.setattr(unmount, "wait_for_end", self._wait)
        monkeypatch.setattr(unmount, "read_status", lambda mountpoint: {"pid": 4242})
        monkeypatch.setattr(unmount, "elsewhere", lambda device: [])
        monkeypatch.setattr(unmount, "holders", lambda mountpoint: [])
        monkeypatch.setattr(time, "sleep", self._sleep)
        monkeypatch.setattr(time, "monotonic", lambda: self.now)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _detach(self, entry: MountEntry, *, lazy: bool) -> None:
        if self.busy and not lazy:
            self.busy -= 1
            raise StillBusyError("in use")
        self.detached.append(lazy)

    def _wait(self, pid: int, seconds: float) -> bool:
        self.waited.append((pid, seconds))
        return self.ends

    def unmount(self, *, lazy: bool = False) -> None:
        unmount.unmount(self.entry.mountpoint, lazy=lazy, say=self.said.append)

    def refused(self) -> str:
        with pytest.raises(StillBusyError) as caught:
            self.unmount()
        assert caught.value.exit_code is ExitCode.STILL_BUSY
        return str(caught.value)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


@pytest.mark.parametrize("lazy", [False, True])
def test_a_mount_that_nothing_uses(node: Node, lazy: bool) -> None:
    node.unmount(lazy=lazy)
    assert (node.detached, node.said) == ([lazy], [])
    assert node.waited == [(4242, unmount.LOOK_SECONDS)]


def test_no_mount(node: Node, tmp_path: Path) -> None:
    with pytest.raises(NotMountedError) as caught:
        unmount.unmount(str(tmp_path / "none"), lazy=False, say=node.said.append)
    assert str(caught.value) == (
        f"Nothing is mounted at {tmp_path}/none on this node: `imagenetfs status` lists your "
        "mounts here. A mount is seen on no other node than its own."
    )
    node.table.add(tmp_path / "ours")
    with pytest.raises(NotMountedError) as caught:
        unmount.unmount(str(tmp_path / "ours" / "ILSVRC2012"), lazy=False, say=node.said.append)
    assert str(caught.value) == (
        f"{tmp_path}/ours/ILSVRC2012 is a part of the mount at {tmp_path}/ours: imagenetfs umount "
        f"{tmp_path}/ours takes that away."
    )
    node.table.add(tmp_path / "other", fstype="ext4")
    with pytest.raises(NotMountedError, match="is ext4, not imagenetfs") as caught:
        unmount.unmount(str(tmp_path / "other"), lazy=True, say=node.said.append)
    assert caught.value.exit_code is ExitCode.NOT_MOUNTED
    assert node.detached == []


def test_a_dead_mount_is_healed(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    healed: list[tuple[MountEntry, MountPaths]] = []
    monkeypatch.setattr(preflight, "health", lambda entry: Health.DEAD)
    monkeypatch.setattr(
        unmount, "clear_dead_mount", lambda entry, place, say: healed.append((entry, place))
    )
    node.unmount()
    assert healed == [(node.entry, node.place)]
    assert (node.detached, node.waited) == ([], [])


def test_a_reader_that_is_just_ending_gets_a_moment(node: Node) -> None:
    node.busy = 3
    node.unmount()
    assert node.detached == [False]
    assert 0.1 < node.now < 1.0


def test_whoever_stays_is_named(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.busy = 10**6
    monkeypatch.setattr(unmount, "holders", lambda mountpoint: ["python (7)", "bash (8)"])
    assert node.refused() == (
        f"{node.entry.mountpoint} is in use by python (7), bash (8): end that first (a shell "
        f"need only cd "
        "out of it), or use umount --lazy."
    )
    assert unmount.BUSY_SECONDS <= node.now < unmount.BUSY_SECONDS + 1.1
    monkeypatch.setattr(unmount, "holders", lambda mountpoint: [])
    assert node.refused() == "in use"


def _with_runs(node: Node, monkeypatch: pytest.MonkeyPatch, pids: list[int]) -> None:
    class Visit:
        identity = ServerInfo("/s", node.entry.mountpoint, "run", 77)

        def holders(self) -> list[int]:
            return pids

        def close(self) -> None:
            pass

    node.place.socket_path.touch()
    monkeypatch.setattr(MountClient, "visit", lambda place: Visit())


@pytest.mark.parametrize(
    ("pids", "words"),
    [
        ([5], "a run (process 5)"),
        ([5, 6], "2 runs (process 5, 6)"),
        ([0], "a run"),
        ([0, 6], "2 runs (process 6)"),
    ],
)
def test_a_run_that_uses_it_keeps_it(
    node: Node, monkeypatch: pytest.MonkeyPatch, pids: list[int], words: str
) -> None:
    _with_runs(node, monkeypatch, pids)
    assert node.refused() == (
        f"{node.entry.mountpoint} is in use by {words}: end that first; umount --lazy takes "
        f"the mount away "
        "all the same."
    )
    assert (node.detached, node.now) == ([], 0.0), "it is no use to wait for a run"
    node.unmount(lazy=True)
    assert node.detached == [True]


def test_a_mount_whose_runs_have_ended(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    _with_runs(node, monkeypatch, [])
    node.unmount()
    assert node.detached == [False]


def test_the_server_is_known_from_its_socket_too(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmount, "read_status", lambda mountpoint: None)
    node.unmount()
    assert node.waited == []  # none answers: there is nothing to wait for
    _with_runs(node, monkeypatch, [])
    node.unmount()
    assert node.waited == [(77, unmount.LOOK_SECONDS)]


def test_a_mount_that_stays_in_the_table(node: Node) -> None:
    node.goes = False
    assert node.refused() == f"{node.entry.mountpoint} is still in the mount table."


def test_a_server_that_does_not_end(node: Node) -> None:
    node.ends = False
    said = node.refused()
    assert "its server (process 4242) has not ended" in said
    assert said.endswith(f"as root, grep -l '{node.entry.device} ' /proc/*/mountinfo")
    assert [seconds for _, seconds in node.waited] == [unmount.LOOK_SECONDS, unmount.END_SECONDS]


def test_root_waits_ten_seconds_for_a_server_in_all(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unmount, "PATIENCE", Patience(is_root=lambda: True))

    def wait(pid: int, seconds: float) -> bool:
        node.now += seconds
        node.waited.append((pid, seconds))
        return False

    monkeypatch.setattr(unmount, "wait_for_end", wait)
    assert "has not ended" in node.refused()
    assert [seconds for _, seconds in node.waited] == [2.0, 8.0]


def test_open_files_outlast_a_lazy_unmount(node: Node) -> None:
    node.ends = False
    node.unmount(lazy=True)
    assert node.said == ["unmounted; its server ends when the last open file is closed."]
    assert node.waited == [(4242, unmount.LOOK_SECONDS)]


def test_a_mount_that_another_namespace_sees(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    node.ends = False
    seen = [Viewer(7, "bash", "/mnt/a b"), Viewer(8, "python", "/x")]
    monkeypatch.setattr(unmount, "elsewhere", lambda device: seen)
    sentence = (
        f"{node.entry.mountpoint} is unmounted here, and still mounted in another mount "
        f"namespace (a "
        "container, unshare -m), of bash (7), python (8). Its server ends with them, or as "
        "root with: "
        "nsenter -t 7 -m umount --lazy '/mnt/a b'"
    )
    assert node.refused() == sentence
    assert node.said == [f"{sentence} (Waiting for that.)"]
    node.said.clear()
    node.unmount(lazy=True)
    assert node.said == [sentence]
