"""What is looked at before mounting, without mounting anything."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from imagenetfs import errors
from imagenetfs.job import preflight
from imagenetfs.system import child_call, mounts, namespaces
from imagenetfs.system.patience import ROOT_SECONDS, Patience, ask
from tests.helpers.mount_table import MountTable


def nothing(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_source_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "ILSVRC2012").mkdir()
    preflight.check_source(tmp_path)


def test_a_source_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(errors.SourceMissingError, match="mounted on this node"):
        preflight.check_source(tmp_path / "none")


def test_a_source_that_is_missing_beside_one_of_a_like_name(tmp_path: Path) -> None:
    (tmp_path / "imagenet").mkdir()
    with pytest.raises(errors.SourceMissingError, match=f"Did you mean {tmp_path}/imagenet\\?"):
        preflight.check_source(tmp_path / "imagnet")


@pytest.mark.slow
@pytest.mark.parametrize("typed", ["https://image-net.org/x", "s3://bucket/x", "host:/export"])
def test_an_address_of_another_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.SourceMissingError, match="address of another machine"):
        preflight.check_source(tmp_path / typed)


@pytest.mark.slow
def test_source_and_mountpoint_swapped(tmp_path: Path) -> None:
    empty, full = tmp_path / "mnt", tmp_path / "imagenet"
    empty.mkdir()
    (full / "ILSVRC2012").mkdir(parents=True)
    with pytest.raises(errors.SourceMissingError, match=f"imagenetfs mount {full} {empty}"):
        preflight.check_order(empty, full)
    preflight.check_order(full, empty)
    preflight.check_order(empty, empty)
    preflight.check_order(tmp_path / "none", full)


def test_a_source_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "x.tar").touch()
    with pytest.raises(errors.SourceMissingError, match="is a file"):
        preflight.check_source(tmp_path / "x.tar")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "sentence"),
    [(errno.EACCES, "may not be read"), (errno.ESTALE, "Stale"), (errno.EIO, "could not be read")],
)
def test_a_source_that_may_not_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, sentence: str
) -> None:
    def refuse(path: Path) -> Iterator[str]:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(preflight, "_look_into", refuse)
    with pytest.raises(errors.SourceUnreadableError, match=sentence):
        preflight.check_source(tmp_path)


def test_a_source_that_does_not_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "SOURCE_SECONDS", 0.2)
    monkeypatch.setattr(preflight, "_look_into", lambda path: time.sleep(60))
    with pytest.raises(errors.SourceUnreadableError, match="does not answer"):
        preflight.check_source(tmp_path)


class OutOfPatience(Patience):
    """Root's, of which a tenth of a second is left."""

    def __init__(self) -> None:
        super().__init__(is_root=lambda: True)
        self._spent.append((self._clock.monotonic(), ROOT_SECONDS - 0.1))


@pytest.fixture
def tired(monkeypatch: pytest.MonkeyPatch) -> Patience:
    """What root's command has waited for already is nearly all that it may."""
    patience = OutOfPatience()
    monkeypatch.setattr(preflight, "PATIENCE", patience)
    monkeypatch.setattr(preflight, "ask", partial(ask, patience=patience))
    return patience


def _hang(path: Path) -> None:
    time.sleep(60)


def test_root_waits_no_longer_for_a_source_than_is_left(
    tmp_path: Path, tired: Patience, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "_look_into", _hang)
    with pytest.raises(errors.SourceUnreadableError, match=r"nothing came within 0 s\. Its file"):
        preflight.check_source(tmp_path)
    assert tired.seconds(60.0) == 0.0


@pytest.mark.slow
@pytest.mark.parametrize("what", ["_is_occupied", "resolve", "lstat", "statvfs", "is_dir"])
def test_nor_for_anything_else(
    tmp_path: Path, tired: Patience, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    place = tmp_path / "m"
    place.mkdir()
    entry = MountTable(tmp_path, monkeypatch).add(tmp_path / "other")
    where = {
        "_is_occupied": (preflight, "_is_occupied"),
        "resolve": (mounts, "resolve"),
        "lstat": (Path, "lstat"),
        "statvfs": (os, "statvfs"),
        "is_dir": (Path, "is_dir"),
    }[what]
    monkeypatch.setattr(*where, _hang)
    monkeypatch.setattr(preflight, "DEFAULT_SOURCES", (place,))
    asked: dict[str, Callable[[], object]] = {
        "_is_occupied": lambda: preflight.check_mountpoint(place, tmp_path / "s", nothing),
        "resolve": lambda: preflight.resolved("mountpoint", place),
        "lstat": lambda: preflight.check_places(tmp_path / "n", {"log file": place}),
        "statvfs": lambda: preflight.health(entry),
        "is_dir": preflight.default_source,
    }
    if what == "statvfs":
        assert asked[what]() is preflight.Health.SILENT
    else:
        with pytest.raises(errors.ImagenetfsError, match=r"does not answer: nothing came within 0"):
            asked[what]()
    assert tired.seconds(60.0) == 0.0


@pytest.mark.parametrize("served", ["", "ILSVRC2012"])
def test_root_reads_no_source_that_a_user_serves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: str
) -> None:
    """Nor one that a user serves a part of: what reads it to its end has no bound."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(namespaces, "in_user_namespace", lambda: False)
    table = MountTable(tmp_path, monkeypatch)
    entry = table.add(tmp_path / "source" / served, fstype="fuse.sshfs", options="rw,user_id=31002")
    with pytest.raises(errors.SourceUnreadableError, match="root waits for no such program") as one:
        preflight.refuse_others_source(tmp_path / "source")
    assert f"(fuse.sshfs at {entry.mountpoint})" in str(one.value)
    preflight.refuse_others_source(tmp_path / "other")
    monkeypatch.setattr(namespaces, "in_user_namespace", lambda: True)
    preflight.refuse_others_source(tmp_path / "source")  # a container's root hinders no one
    monkeypatch.setattr(os, "geteuid", lambda: 31001)
    preflight.refuse_others_source(tmp_path / "source")


def test_a_link_to_a_source_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real" / "ILSVRC2012").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    assert preflight.check_source(tmp_path / "link") == tmp_path / "real"


@pytest.mark.slow
def test_the_default_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "DEFAULT_SOURCES", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(errors.SourceMissingError, match="IMAGENETFS_SOURCE"):
        preflight.default_source()
    with pytest.raises(errors.SourceMissingError, match="imagenetfs mount /here MOUNTPOINT"):
        preflight.default_source(Path("/here"))
    (tmp_path / "b").mkdir()
    assert preflight.default_source() == tmp_path / "b"


def test_a_good_mountpoint(tmp_path: Path) -> None:
    mountpoint = tmp_path / "m"
    mountpoint.mkdir()
    preflight.check_mountpoint(mountpoint, tmp_path / "s", nothing)
    (mountpoint / "NOT_MOUNTED").touch()
    preflight.check_mountpoint(mountpoint, tmp_path / "s", nothing)


def test_bad_mountpoints(tmp_path: Path) -> None:
    source = tmp_path / "s"
    with pytest.raises(errors.MountpointMissingError):
        preflight.check_mountpoint(tmp_path / "none", source, nothing)
    (tmp_path / "file").touch()
    with pytest.raises(errors.MountpointNotDirectoryError):
        preflight.check_mountpoint(tmp_path / "file", source, nothing)
    with pytest.raises(errors.MountpointNotEmptyError):
        preflight.check_mountpoint(tmp_path, source, nothing)
    with pytest.raises(errors.MountpointInUseError, match="proc"):
        preflight.check_mountpoint(Path("/proc"), source, nothing)


def test_the_source_itself_may_be_covered_and_nothing_below_it(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    preflight.check_mountpoint(tmp_path, tmp_path, nothing)
    with pytest.raises(errors.PlaceRefusedError, match="would show itself"):
        preflight.check_mountpoint(tmp_path / "x", tmp_path, nothing)


@pytest.mark.slow
def test_places_under_the_mountpoint(tmp_path: Path) -> None:
    mountpoint = tmp_path / "m"
    (tmp_path / "link").symlink_to(mountpoint)
    preflight.check_places(mountpoint, {"log file": tmp_path / "log", "index directory": None})
    for place in (mountpoint, mountpoint / "x" / "y", tmp_path / "link" / "index"):
        with pytest.raises(errors.PlaceRefusedError, match="index directory"):
            preflight.check_places(mountpoint, {"index directory": place})


def test_a_dead_mount_of_another_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: Path) -> None:
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(errors.MountpointStaleError, match="fusermount3 -uz"):
        preflight.check_mountpoint(tmp_path / "m", tmp_path / "s", nothing)


ENTRY = mounts.MountEntry(999999999, "0:1", "/mnt/x", mounts.OUR_TYPE, "/s", "ro,user_id=0")


@pytest.mark.parametrize(
    ("raised", "state"),
    [
        (None, preflight.Health.LIVE),
        (OSError(errno.EACCES, ""), preflight.Health.LIVE),
        (OSError(errno.ENOTCONN, ""), preflight.Health.DEAD),
        (child_call.NoAnswerError(), preflight.Health.SILENT),
    ],
)
def test_health(
    monkeypatch: pytest.MonkeyPatch, raised: Exception | None, state: preflight.Health
) -> None:
    def ask(question: object, seconds: float) -> None:
        if raised is not None:
            raise raised

    monkeypatch.setattr(child_call, "call_in_child", ask)
    assert preflight.health(ENTRY) is state


def test_a_dead_mount_that_cannot_be_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def detach(entry: mounts.MountEntry, *, lazy: bool) -> None:
        raise errors.StillBusyError("not yours")

    monkeypatch.setattr(mounts, "wait_unmounted", lambda entry, seconds: False)
    monkeypatch.setattr(mounts, "find_mount", lambda mountpoint: ENTRY)
    monkeypatch.setattr(mounts, "detach", detach)
    with pytest.raises(errors.MountpointStaleError, match="not yours"):
        preflight.remove_dead_mount(ENTRY, nothing)


def test_no_fuse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FUSE_DEVICE", tmp_path / "fuse")
    with pytest.raises(errors.FuseUnavailableError, match="There is no"):
        preflight.check_fuse(needs_helper=True)
    for code, sentence in (
        (errno.ENODEV, "no FUSE behind it"),
        (errno.EMFILE, "could not be opened"),
    ):

        def refuse(path: Path, flags: int, code: int = code) -> int:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "open", refuse)
        with pytest.raises(errors.FuseUnavailableError, match=sentence):
            preflight.check_fuse(needs_helper=True)


def test_a_device_that_a_container_keeps_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = tmp_path / "fuse"
    device.touch()
    monkeypatch.setattr(preflight, "FUSE_DEVICE", device)

    def refuse(path: Path, flags: int) -> int:
        raise PermissionError(errno.EACCES, "refused")

    monkeypatch.setattr(os, "open", refuse)
    for mode, words in ((0o600, "sets its mode to 0666"), (0o666, "leave out --bind /dev/fuse")):
        device.chmod(mode)
        with pytest.raises(errors.FuseUnavailableError, match=words):
            preflight.check_fuse(needs_helper=False)


def test_no_fusermount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "FUSE_DEVICE", Path("/dev/null"))
    monkeypatch.setattr(mounts, "find_fusermount", lambda: None)
    preflight.check_fuse(needs_helper=False)
    with pytest.raises(errors.FuseUnavailableError, match="fusermount3"):
        preflight.check_fuse(needs_helper=True)
