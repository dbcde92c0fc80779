"""``imagenetfs.mount``: a mount of an interpreter's, and how it ends with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs import errors
from imagenetfs.library.settings import OpenSettings
from imagenetfs.system import mounts
from tests.helpers.bench import Bench, until
from tests.helpers.forked import answer
from tests.helpers.sources import train_and_test

OPTIONS: OpenSettings = {"index_dir": "none"}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "imagenet")


@pytest.fixture(autouse=True)
def _directories(at: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(at.run_root))
    yield
    assert at.leftovers() == []


def is_mounted(path: str) -> bool:
    return mounts.find_mount(mounts.resolve(path)) is not None


def test_as_a_context(source: Path) -> None:
    with imagenetfs.mount(source, **OPTIONS) as mount:
        assert {"ILSVRC2012", "archives"} <= set(os.listdir(mount))
        assert (mount.source, os.fspath(mount)) == (str(source), mount.path)
        status = mount.status()
        assert (status["state"], status["mountpoint"]) == ("live", mount.path)
        assert mount.path in repr(mount) and not mount.closed
    assert mount.closed and "closed" in repr(mount)
    assert not is_mounted(mount.path) and not os.path.exists(mount.path)
    with pytest.raises(errors.NotMountedError):
        mount.status()
    mount.close()


def test_at_a_place(source: Path, at: Bench) -> None:
    mount = imagenetfs.mount(source, at.mountpoint(), **OPTIONS)
    assert mount.path == str(at.mountpoint()) and is_mounted(mount.path)
    mount.close()
    assert not is_mounted(mount.path) and at.mountpoint().is_dir()


def test_one_for_all_of_a_job(source: Path) -> None:
    with imagenetfs.mount(source, **OPTIONS) as first:
        with imagenetfs.mount(source, **OPTIONS) as second:
            assert second.path == first.path
        assert os.listdir(first.path)


def test_a_fork_is_no_user_of_it(source: Path) -> None:
    with imagenetfs.mount(source, **OPTIONS) as mount:

        def look() -> list[str]:
            mount.close()
            return os.listdir(mount.path)

        assert answer(look) == os.listdir(mount.path)


@pytest.mark.parametrize("end", ["sys.exit()", "os.kill(os.getpid(), 9)", "pass"])
def test_it_ends_with_the_interpreter(source: Path, end: str) -> None:
    """S27: by its end, by SIGKILL; a child that was forked lives on."""
    code = f"""
import os, sys, time, imagenetfs
print(imagenetfs.mount({str(source)!r}, index_dir="none").path, flush=True)
if os.fork() == 0:  # a child that lives on does not keep it
    sys.stdin.read()
    os._exit(0)
{end}
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        path = process.stdout.readline().strip()
        assert path
        process.wait()
        assert process.returncode in (0, -signal.SIGKILL)
        assert until(lambda: not is_mounted(path))
        assert until(lambda: not os.path.exists(path))


@pytest.mark.parametrize(
    ("settings", "kind", "words"),
    [
        ({"cachedir": "/x"}, errors.UsageError, "no setting cachedir"),
        ({"workers": "many"}, errors.UsageError, "workers must be"),
        ({"require": "ILSVRC2012/val"}, errors.RequirementError, "is required"),
    ],
)
def test_bad_settings(
    source: Path, settings: dict[str, str], kind: type[Exception], words: str
) -> None:
    with pytest.raises(kind, match=words):
        imagenetfs.mount(source, **{**OPTIONS, **settings})  # type: ignore[arg-type]  # the test


def test_sources_and_places_that_cannot_be(source: Path, at: Bench, tmp_path: Path) -> None:
    with pytest.raises(errors.SourceMissingError, match="is not there"):
        imagenetfs.mount(tmp_path / "nowhere", **OPTIONS)
    (at.mountpoint() / "full").touch()
    with pytest.raises(errors.MountpointNotEmptyError) as caught:
        imagenetfs.mount(source, at.mountpoint(), **OPTIONS)
    assert caught.value.exit_code == errors.ExitCode.MOUNTPOINT_NOT_EMPTY
