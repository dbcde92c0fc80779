"""What killed mounts leave: taken away where it is ours and dead, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import MountpointStaleError
from imagenetfs.job import cleanup, preflight
from imagenetfs.job.clients import MountClient
from imagenetfs.job.mount_paths import MountPaths, locked
from imagenetfs.job.preflight import Health
from imagenetfs.job.run_dir import ensure_private
from imagenetfs.system.mounts import MountEntry
from tests.helpers.mount_table import MountTable


@pytest.fixture
def root(tmp_path: Path) -> Path:
    ensure_private(tmp_path / "root")
    ensure_private(tmp_path / "root" / ".run")
    return tmp_path / "root"


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountTable:
    return MountTable(tmp_path, monkeypatch)


@pytest.fixture
def healed(table: MountTable, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The mountpoints of dead mounts that were taken away."""
    found: list[str] = []

    def heal(entry: MountEntry, say: object) -> None:
        found.append(entry.mountpoint)
        table.remove(entry)

    monkeypatch.setattr(preflight, "remove_dead_mount", heal)
    monkeypatch.setattr(preflight, "health", lambda entry: Health.DEAD)
    return found


def left_by(root: Path, name: str) -> MountPaths:
    """What a server that was killed leaves.

    A mountpoint, a lock file, a socket nobody listens at.
    """
    place = MountPaths(root / name, root)
    place.mountpoint.mkdir()
    place.lock_path.touch()
    place.socket_path.touch()
    place.own_log.touch()
    return place


def remains(place: MountPaths) -> bool:
    assert place.mountpoint.exists() == place.socket_path.exists()
    return place.mountpoint.exists()


def silence(sentence: str) -> None:
    raise AssertionError(sentence)


def test_what_is_dead_goes(root: Path, table: MountTable, healed: list[str]) -> None:
    own, mounted, bare = (left_by(root, name) for name in ("own", "mounted", "bare"))
    table.add(mounted.mountpoint)
    cleanup.remove_dead_mounts(root, own, silence)
    assert (remains(own), remains(mounted), remains(bare)) == (True, False, False)
    assert healed == [str(mounted.mountpoint)]
    assert not mounted.own_log.exists()
    assert not mounted.lock_path.exists()


def test_what_is_none_of_ours_stays(root: Path, healed: list[str]) -> None:
    (root / "mine").mkdir()
    cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
    assert (root / "mine").is_dir()


def test_another_kind_of_mount_stays(root: Path, table: MountTable, healed: list[str]) -> None:
    place = left_by(root, "a")
    table.add(place.mountpoint, fstype="fuse.other")
    cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
    assert remains(place)
    assert healed == []


@pytest.mark.parametrize("state", [Health.LIVE, Health.SILENT])
def test_a_mount_that_is_not_dead_stays(
    root: Path,
    table: MountTable,
    healed: list[str],
    monkeypatch: pytest.MonkeyPatch,
    state: Health,
) -> None:
    place = left_by(root, "a")
    table.add(place.mountpoint)
    monkeypatch.setattr(preflight, "health", lambda entry: state)
    cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
    assert remains(place)
    assert healed == []


def test_a_server_that_listens_keeps_its_place(
    root: Path, table: MountTable, healed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    place, closed = left_by(root, "a"), []

    class Visit:
        def close(self) -> None:
            closed.append(True)

    monkeypatch.setattr(MountClient, "visit", lambda at: Visit() if at == place else None)
    cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
    assert remains(place)
    assert closed == [True]


def test_a_place_that_is_locked_is_left_alone(root: Path, healed: list[str]) -> None:
    place, other = left_by(root, "a"), left_by(root, "b")
    with locked(place):
        cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
        assert remains(place)
    assert not remains(other)


def test_files_in_a_mountpoint_are_kept(root: Path, healed: list[str]) -> None:
    place = left_by(root, "a")
    (place.mountpoint / "data").touch()
    cleanup.remove_dead_mounts(root, MountPaths(root / "own", root), silence)
    assert (place.mountpoint / "data").exists()


def test_healing_takes_the_files_too(root: Path, table: MountTable, healed: list[str]) -> None:
    place = left_by(root, "a")
    cleanup.clear_dead_mount(table.add(place.mountpoint), place, silence)
    assert not remains(place)


def test_healing_a_mountpoint_of_the_users_leaves_it(
    root: Path, table: MountTable, healed: list[str], tmp_path: Path
) -> None:
    place = MountPaths(tmp_path / "mnt", root)
    place.mountpoint.mkdir()
    place.socket_path.touch()
    cleanup.clear_dead_mount(table.add(place.mountpoint), place, silence)
    assert place.mountpoint.is_dir()
    assert not place.socket_path.exists()


def test_a_dead_mount_that_stays_is_told(
    root: Path, table: MountTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = left_by(root, "a")

    def fail(entry: MountEntry, say: object) -> None:
        raise MountpointStaleError("it stays")

    monkeypatch.setattr(preflight, "remove_dead_mount", fail)
    with pytest.raises(MountpointStaleError, match="it stays"):
        cleanup.clear_dead_mount(table.add(place.mountpoint), place, silence)
    assert remains(place)


@pytest.mark.parametrize(
    ("text", "stays"), [(preflight.NOT_MOUNTED_TEXT, False), ("a user's own", True)]
)
def test_a_mountpoint_that_mount_has_made_goes_too(
    root: Path, tmp_path: Path, table: MountTable, healed: list[str], text: str, stays: bool
) -> None:
    mountpoint = tmp_path / "made"
    mountpoint.mkdir()
    (mountpoint / preflight.NOT_MOUNTED_FILE).write_text(text)
    place = MountPaths(mountpoint, root)
    cleanup.clear_dead_mount(table.add(mountpoint), place, silence)
    assert mountpoint.exists() == stays
