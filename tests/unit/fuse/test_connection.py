"""The kernel's side of a mount, with a mount table and a /sys of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.errors import NotMountedError, StillBusyError
from imagenetfs.fuse import connection
from imagenetfs.fuse.connection import FUSECTL_ADVICE, Connection
from imagenetfs.system import mounts
from imagenetfs.system.mounts import MountEntry

MOUNTPOINT = Path("/data/imagenet")


def entry(mount_id: int, mountpoint: Path | str = MOUNTPOINT, device: str = "0:57") -> MountEntry:
    return MountEntry(mount_id, device, str(mountpoint), mounts.OUR_TYPE, "source", "rw")


class System:
    """The mount table, the directories below /sys, and what was taken away."""

    def __init__(self, top: Path) -> None:
        self.table = [entry(100)]
        self.connections = top / "connections"
        self.bdi = top / "bdi"
        self.detached: list[tuple[int, bool]] = []
        self.refuse: Exception | None = None

    def detach(self, one: MountEntry, *, lazy: bool) -> None:
        self.detached.append((one.mount_id, lazy))
        if self.refuse is not None:
            raise self.refuse


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[System]:
    one = System(tmp_path)
    monkeypatch.setattr(mounts, "read_table", lambda: one.table)
    monkeypatch.setattr(mounts, "detach", one.detach)
    monkeypatch.setattr(connection, "CONNECTIONS", one.connections)
    monkeypatch.setattr(connection, "_READ_AHEAD", one.bdi)
    yield one


def test_it_is_the_mount_on_top(system: System) -> None:
    system.table = [entry(100), entry(101), entry(102, "/elsewhere")]
    assert Connection(MOUNTPOINT).entry == entry(101)


def test_limits_are_raised_where_the_system_lets_us(system: System) -> None:
    limit = system.bdi / "0:57" / "read_ahead_kb"
    limit.parent.mkdir(parents=True)
    limit.write_text("128\n")
    Connection(MOUNTPOINT).raise_limits()
    assert limit.read_text() == "256"


def test_limits_that_are_not_ours_to_raise_stay(system: System) -> None:
    Connection(MOUNTPOINT).raise_limits()
    assert not system.bdi.exists()


def test_a_mount_is_this_very_one(system: System) -> None:
    one = Connection(MOUNTPOINT)
    assert one.mounted()
    system.table = [entry(103)]  # unmounted, and mounted again at the same place
    assert not one.mounted()


def test_it_is_detached_at_once_whoever_is_in_it(system: System) -> None:
    Connection(MOUNTPOINT).detach()
    assert system.detached == [(100, True)]


def test_another_mount_at_the_same_place_is_left_alone(system: System) -> None:
    one = Connection(MOUNTPOINT)
    system.table = [entry(103)]
    one.detach()
    one.unmount_if_free()
    assert system.detached == []


def test_what_is_not_mounted_needs_nothing(system: System) -> None:
    system.table = []
    one = Connection(MOUNTPOINT)
    one.detach()
    one.unmount_if_free()
    one.raise_limits()
    assert not one.mounted()
    assert system.detached == []


def test_unused_for_long_it_is_unmounted_if_free(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        Connection(MOUNTPOINT).unmount_if_free()
    assert system.detached == [(100, False)]
    assert "it is unmounted" in caplog.text


@pytest.mark.parametrize("error", [StillBusyError("in use."), NotMountedError("gone.")])
def test_one_that_is_not_free_stays(
    system: System, caplog: pytest.LogCaptureFixture, error: Exception
) -> None:
    system.refuse = error
    with caplog.at_level("INFO"):
        Connection(MOUNTPOINT).unmount_if_free()
    assert f"not free: {error}" in caplog.text
    assert "it is unmounted" not in caplog.text


def test_one_that_was_unmounted_by_another_in_between_needs_nothing(system: System) -> None:
    system.refuse = NotMountedError("is no longer mounted.")
    Connection(MOUNTPOINT).detach()
    assert system.detached == [(100, True)]


def test_a_detach_that_fails_is_the_callers(system: System) -> None:
    system.refuse = StillBusyError("no fusermount3")
    with pytest.raises(StillBusyError):
        Connection(MOUNTPOINT).detach()


def test_it_is_aborted_by_its_number(system: System) -> None:
    """The minor number of the mount's device, which fusectl names its directory by."""
    for number in ("57", "0"):
        (system.connections / number).mkdir(parents=True)
    Connection(MOUNTPOINT).abort()
    assert (system.connections / "57" / "abort").read_text() == "1"
    assert not (system.connections / "0" / "abort").exists()


@pytest.mark.parametrize("fusectl", [False, True])
def test_one_that_cannot_be_aborted_says_what_to_do(
    system: System, caplog: pytest.LogCaptureFixture, fusectl: bool
) -> None:
    one = Connection(MOUNTPOINT)
    if fusectl:
        system.table.append(entry(7, system.connections))
    with caplog.at_level("INFO"):
        one.abort()
    assert "could not be aborted: No such file or directory" in caplog.text
    assert (FUSECTL_ADVICE in caplog.text) is not fusectl


def test_the_end_of_a_mount_that_never_was(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    system.table = []
    with caplog.at_level("INFO"):
        Connection(MOUNTPOINT).abort()
    assert "could not be aborted" in caplog.text
