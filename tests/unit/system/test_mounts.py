"""The mount table, and names of paths that must not be touched."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from imagenetfs.errors import StillBusyError
from imagenetfs.system import mounts
from imagenetfs.system.mounts import Reach, parse_line, reach_of
from tests.helpers.mount_table import MountTable

OURS = (
    "91 27 0:39 / /tmp/m\\040x rw,nosuid,nodev,relatime shared:5 master:2 - fuse.imagenetfs "
    "/data/image\\040net ro,user_id=1000,group_id=100,default_permissions,allow_other"
)
ROOT = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard"
OTHER = "92 27 0:40 / /mnt/s rw - fuse.sshfs host:/x rw,user_id=1000,group_id=100"


def test_a_line_of_ours() -> None:
    entry = mounts.parse_line(OURS)
    assert entry.mount_id == 91
    assert entry.mountpoint == "/tmp/m x"
    assert entry.source == "/data/image net"
    assert entry.is_ours
    assert entry.user_id == 1000


def test_lines_of_others() -> None:
    assert not mounts.parse_line(ROOT).is_ours
    assert mounts.parse_line(ROOT).user_id is None
    assert not mounts.parse_line(OTHER).is_ours


def test_the_real_table_can_be_read() -> None:
    assert any(entry.mountpoint == "/proc" for entry in mounts.read_table())


def test_the_one_on_top_counts() -> None:
    under = mounts.parse_line(OURS)
    over = mounts.parse_line(OURS.replace("91 27", "99 91").replace("fuse.imagenetfs", "tmpfs"))
    root = mounts.parse_line(ROOT)
    assert mounts.find_mount("/tmp/m x", [root, under, over]) == over
    assert mounts.find_mount("/tmp/m x", [root, under]) == under
    assert mounts.find_mount("/tmp/m", [root, under]) is None
    assert mounts.our_mounts([root, under]) == [under]
    assert mounts.our_mounts([root, under], uid=1000) == [under]
    assert mounts.our_mounts([root, under], uid=0) == []
    assert mounts.our_mounts([root, under, over]) == []


@pytest.mark.parametrize(
    ("fstype", "reach", "is_fuse"),
    [
        ("ext4", Reach.NODE, False),
        ("fuseblk", Reach.NODE, True),
        ("fusectl", Reach.NODE, False),
        ("nfs4", Reach.NETWORK, False),
        ("fuse", Reach.PROGRAM, True),
        ("fuse.sshfs", Reach.PROGRAM, True),
    ],
)
def test_where_the_data_is_by_the_type(fstype: str, reach: Reach, is_fuse: bool) -> None:
    assert reach_of(fstype) is reach
    assert parse_line(f"1 0 0:1 / / rw - {fstype} x rw").is_fuse is is_fuse


def test_resolve_is_realpath(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "a" / "up").symlink_to("../link/b")
    (tmp_path / "absolute").symlink_to(tmp_path / "a" / ".." / "link")
    (tmp_path / "dangling").symlink_to("nowhere/at/all")
    for path in ("a/b", "link/b", "a/up", "absolute/b/..", "dangling/x", "a/../link/./b", "new"):
        assert mounts.resolve(tmp_path / path) == (tmp_path / path).resolve()


def test_resolve_ends_for_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    assert mounts.resolve(tmp_path / "one" / "x").parent.parent == tmp_path


def test_resolve_asks_nothing_of_what_another_user_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S18: a link into it is followed, one within it is a name."""
    served = tmp_path / "served"
    served.mkdir()
    (served / "link").symlink_to(tmp_path)
    (tmp_path / "way").symlink_to(served)
    assert mounts.resolve(tmp_path / "way" / "link") == tmp_path
    table = MountTable(tmp_path, monkeypatch)
    table.add(served, fstype="fuse.of_another", options=f"rw,user_id={os.geteuid() + 1}")
    asked: list[str] = []
    real = Path.readlink

    def readlink(path: Path) -> Path:
        asked.append(str(path))
        return real(path)

    monkeypatch.setattr(Path, "readlink", readlink)
    assert mounts.resolve(tmp_path / "way" / "link") == served / "link"
    assert not [path for path in asked if path.startswith(str(served))]


def test_resolve_leaves_mountpoints_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []
    real = Path.readlink

    def readlink(path: Path) -> Path:
        asked.append(path)
        return real(path)

    entry = mounts.parse_line(OURS.replace("/tmp/m\\040x", str(tmp_path / "m")))
    monkeypatch.setattr(mounts, "read_table", lambda: [entry])
    monkeypatch.setattr(Path, "readlink", readlink)
    assert mounts.resolve(tmp_path / "m") == tmp_path / "m"
    assert tmp_path in asked
    assert tmp_path / "m" not in asked


def test_fusermount_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATH", raising=False)
    found = mounts.find_fusermount()
    assert found is None or found.endswith("fusermount3")


def test_waiting_for_a_mount_that_is_gone() -> None:
    entry = mounts.parse_line(OURS.replace("91 27", "999999999 27"))
    assert mounts.wait_unmounted(entry, 0.0)


def test_waiting_for_one_that_stays() -> None:
    entry = mounts.find_mount("/proc")
    assert entry is not None
    assert not mounts.wait_unmounted(entry, 0.05)


# --- unmounting -----------------------------------------------------------------------------------


def test_a_way_through_another_users_program_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """umount2(2) looks the mountpoint up: in a child, which is left behind."""
    table = MountTable(tmp_path, monkeypatch)
    table.add("/served", fstype="fuse.x", options=f"rw,user_id={os.geteuid() + 1}")
    entry = table.add("/served/mnt")
    monkeypatch.setattr(mounts, "_UNMOUNT_SECONDS", 0.05)
    asked_by: list[int] = []

    def hang(mountpoint: str, *, lazy: bool) -> int:
        asked_by.append(os.getpid())
        threading.Event().wait()
        return 0

    monkeypatch.setattr(mounts, "_umount2", hang)
    with pytest.raises(StillBusyError, match=r"serves \(/served\) and that does not answer"):
        mounts.detach(entry, lazy=True)
    assert asked_by == []
    monkeypatch.setattr(mounts, "_UNMOUNT_SECONDS", 100.0)
    monkeypatch.setattr(mounts, "_umount2", lambda mountpoint, lazy: 0)
    mounts.detach(entry, lazy=True)
