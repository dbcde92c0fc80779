"""Bad input: one clear sentence, its exit code, and nothing left mounted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.bench import Bench

pytestmark = [pytest.mark.timeout(120), pytest.mark.spread]


def refused(at: Bench, code: int, *arguments: object, **environ: str) -> str:
    """Call, and expect a sentence and nothing else; returns the sentence."""
    before = sorted({*os.listdir(at.directory), "run"})
    done = at.call(*arguments, **environ)
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("imagenetfs: ")
    assert done.stderr.endswith((".\n", "?\n"))
    assert at.leftovers() == []
    assert sorted({*os.listdir(at.directory), "run"}) == before
    return done.stderr


def test_source_missing(at: Bench) -> None:
    assert "mounted on this node" in refused(at, 10, "mount", "/no/such", at.mountpoint())


def test_source_not_named(at: Bench) -> None:
    if any(Path(path).is_dir() for path in ("/datashare/imagenet", "/datashare/ImageNet")):
        pytest.skip("there is a default source on this machine")
    assert "IMAGENETFS_SOURCE" in refused(at, 10, "mount", at.mountpoint())


def test_source_is_a_file(at: Bench, sample: Path) -> None:
    archive = next(sample.rglob("*.tar"))
    assert "is a file" in refused(at, 10, "mount", archive, at.mountpoint())


@pytest.mark.expects_log(
    "holds no version of ImageNet that is known here:",
    "holds no version of ImageNet that is known here;",
)
def test_source_without_any_version(at: Bench) -> None:
    source = at.mountpoint("source")
    (source / "something.txt").touch()
    refused(at, 12, "mount", source, at.mountpoint())


def test_mountpoint_missing(at: Bench, sample: Path) -> None:
    assert "mkdir" in refused(at, 20, "mount", sample, at.directory / "none")


def test_mountpoint_not_a_directory(at: Bench, sample: Path) -> None:
    (at.directory / "file").touch()
    assert "name an empty directory" in refused(at, 21, "mount", sample, at.directory / "file")


def test_mountpoint_not_empty(at: Bench, sample: Path) -> None:
    (at.mountpoint() / "file").touch()
    assert "name an empty directory" in refused(at, 22, "mount", sample, at.mountpoint())


def test_mountpoint_of_something_else(at: Bench, sample: Path) -> None:
    refused(at, 23, "mount", sample, "/proc")


def test_mounted_already(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint).returncode == 0
    done = at.call("mount", sample, mountpoint)
    assert done.returncode == 23
    assert f"imagenetfs umount {mountpoint}" in done.stderr
    assert len(at.entries()) == 1
    assert at.call("umount", mountpoint).returncode == 0


def test_mountpoint_within_the_source(at: Bench, sample_copy: Path) -> None:
    (sample_copy / "mnt").mkdir()
    done = at.call("mount", sample_copy, sample_copy / "mnt")
    assert done.returncode == 27
    assert "would show itself" in done.stderr


@pytest.mark.parametrize("option", ["--index-dir", "--log"])
def test_our_own_places_under_the_mountpoint(at: Bench, sample: Path, option: str) -> None:
    mountpoint = at.mountpoint()
    (at.directory / "link").symlink_to(mountpoint)
    for place in (mountpoint / "x", at.directory / "link" / "deep" / "x"):
        refused(at, 27, "mount", sample, mountpoint, option, place)
        assert os.listdir(mountpoint) == []


def test_a_cache_under_the_mountpoint_over_the_source(at: Bench, sample_copy: Path) -> None:
    environ = {"XDG_CACHE_HOME": str(sample_copy / "cache")}
    done = at.call("mount", sample_copy, sample_copy, **environ)
    assert done.returncode == 27
    assert "index directory" in done.stderr
    assert at.entries() == []


def test_a_log_that_cannot_be_written(at: Bench, sample: Path) -> None:
    said = refused(at, 27, "mount", sample, at.mountpoint(), "--log", "/proc/no/such.log")
    assert "Name another with --log." in said


def test_a_state_directory_that_cannot_be_written_is_no_reason(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint, XDG_STATE_HOME="/proc/none").returncode == 0
    assert at.call("umount", mountpoint).returncode == 0


def test_a_run_directory_that_others_could_have_put_there(at: Bench, sample: Path) -> None:
    at.mountpoint("elsewhere")
    at.run_root.symlink_to("elsewhere")
    done = at.call("mount", sample, at.mountpoint())
    assert done.returncode == 27
    assert "symbolic link" in done.stderr


def test_an_index_directory_that_cannot_be_used_is_told(at: Bench, sample: Path) -> None:
    mountpoint = at.mountpoint()
    (at.directory / "file").touch()
    place = at.directory / "file" / "index"
    done = at.call("mount", sample, mountpoint, "--index-dir", place)
    assert done.returncode == 0
    assert done.stderr.count("warning: ") == 1
    assert f"no index can be kept in {place}" in done.stderr
    assert f"{at.directory / 'file'} is no directory" in done.stderr
    assert "--index-dir DIR or $IMAGENETFS_INDEX_DIR" in done.stderr
    assert "no index can be kept" in at.call("status", mountpoint).stdout
    assert at.call("umount", mountpoint).returncode == 0
    done = at.call("run", sample, "--index-dir", place, "--", "true")
    assert (done.returncode, done.stderr.count("no index can be kept")) == (0, 1)
    done = at.call("info", sample, "--index-dir", place)
    assert done.returncode == 0
    assert done.stderr.count(f"no index is kept in {place}") == 1


def test_a_source_whose_name_is_no_ascii(at: Bench, sample: Path) -> None:
    source, mountpoint = at.directory / os.fsdecode("müll \xff".encode() + b"\xff"), at.mountpoint()
    source.symlink_to(sample)
    assert at.call("mount", source, mountpoint).returncode == 0
    found = json.loads(at.call("status", "--json", mountpoint).stdout)
    assert found[0]["source"] == str(source)
    assert f"{at.directory}/müll ÿ\\xff" in at.call("status", mountpoint).stdout
    done = at.call("run", source, "--at", mountpoint, "--", "true")
    assert (done.returncode, done.stderr) == (0, "")
    assert at.call("umount", mountpoint).returncode == 0


def test_no_dev_fuse(at: Bench, sample: Path) -> None:
    script = 'mount -t tmpfs none /dev && mknod -m 666 /dev/null c 1 3 && exec "$@"'
    inner = [sys.executable, "-m", "imagenetfs", "mount", str(sample), str(at.mountpoint())]
    command = ["unshare", "-m", "--propagation", "private", "sh", "-c", script, "sh", *inner]
    done = subprocess.run(
        command, env=at.environ(), capture_output=True, text=True, timeout=60, check=False
    )
    if "unshare" in done.stderr:
        pytest.skip("no mount namespaces here")
    assert done.returncode == 30
    assert "There is no /dev/fuse" in done.stderr


def test_the_same_under_run_is_125(at: Bench, sample: Path) -> None:
    assert "mounted on this node" in refused(at, 125, "run", "/no/such", "--", "true")
    refused(at, 125, "run", sample, "--at", at.directory / "a" / "b", "--", "true")
    (at.mountpoint() / "file").touch()
    refused(at, 125, "run", sample, "--at", at.mountpoint(), "--", "true")
    assert "--workers" in refused(at, 125, "run", sample, "--workers", "x", "--", "true")
