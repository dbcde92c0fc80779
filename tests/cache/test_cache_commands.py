"""stage, cache, and --cache-dir on the command line: what a user types, and
what is said of mistakes.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from imagenetfs.cache.directory import unfit_type
from imagenetfs.cache.segment import BLOCK
from imagenetfs.errors import ExitCode
from tests.helpers.bench import Bench, settled, until
from tests.helpers.cache import epoch, files, make_train
from tests.helpers.passthrough import slow_source

TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"
HANG_SECONDS = 100


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source of 40 MB."""
    directory = tmp_path_factory.mktemp("train")
    make_train(directory, classes=6, images=60)
    return directory


def listed(at: Bench, cache: Path) -> list[dict[str, object]]:
    done = at.call("cache", "ls", "--json", "--cache-dir", cache)
    assert done.returncode == 0, done.stderr
    found: list[dict[str, object]] = json.loads(done.stdout)
    return found


def source_bytes(mountpoint: Path) -> int:
    def count() -> int:
        status = json.loads((mountpoint / ".imagenetfs" / "status.json").read_text())
        found: int = status["counters"]["source_bytes"]
        return found

    return settled(count)


def test_stage_then_mount(at: Bench, source: Path, tmp_path: Path) -> None:
    cache, size = tmp_path / "cache", (source / TRAIN).stat().st_size
    for fetched in (True, False):
        done = at.call("stage", source, "ILSVRC2012/train", "--cache-dir", cache)
        assert done.returncode == 0, done.stderr
        assert (" 0 B of them fetched" not in done.stdout) == fetched
    (entry,) = listed(at, cache)
    assert (entry["version"], entry["archive"]) == ("ILSVRC2012", TRAIN)
    assert entry["bytes"] == entry["size"] == size
    mountpoint = at.mountpoint()
    assert at.call("mount", source, mountpoint, "--cache-dir", cache).returncode == 0
    images = files(mountpoint / "ILSVRC2012" / "train")
    before = source_bytes(mountpoint)
    total = epoch(images, seed=1)
    assert source_bytes(mountpoint) == before
    assert at.call("umount", mountpoint).returncode == 0
    (entry,) = listed(at, cache)
    assert int(str(entry["hits"])) >= len(images)
    assert int(str(entry["saved"])) == total
    assert "100 %" in at.call("cache", "ls", "--cache-dir", cache).stdout
    verified = at.call("cache", "verify", "--cache-dir", cache)
    assert f"{-(-size // 65536):,} blocks are right, 0 were damaged" in verified.stdout
    clear = ("cache", "clear", "--cache-dir", cache)
    assert at.call(*clear, "Imagenet32").stdout.startswith("0 B")
    done = at.call(*clear, "ILSVRC2013")
    assert done.returncode == ExitCode.USAGE
    assert "There is no version ILSVRC2013" in done.stderr
    assert "Did you mean ILSVRC2012?" in done.stderr
    assert listed(at, cache) == [entry]
    assert at.call("cache", "clear", "--cache-dir", cache).returncode == 0
    assert listed(at, cache) == []


def test_everything_of_the_sample_can_be_staged(at: Bench, sample: Path, tmp_path: Path) -> None:
    """Tars in tars, flat tars, loose files, stored and deflated arrays:
    nothing is left to fetch.
    """
    cache = tmp_path / "cache"
    versions = sorted(p.name for p in sample.iterdir() if p.is_dir() and p.name != "DownSampled")
    more = ["ILSVRC2012_t3", *(f"Imagenet{side}" for side in (8, 16, 32, 64))]
    done = at.call("stage", sample, *versions, *more, "--cache-dir", cache)
    assert done.returncode == 0, done.stderr
    mountpoint = at.mountpoint()
    assert at.call("mount", sample, mountpoint, "--cache-dir", cache).returncode == 0
    names = [p.name for p in mountpoint.iterdir() if p.name != "archives"]
    for name in sorted(names):
        for split in (p for p in (mountpoint / name).iterdir() if p.is_dir() and p.name != "meta"):
            epoch(files(split), seed=1)
    status = json.loads((mountpoint / ".imagenetfs" / "status.json").read_text())
    assert status["counters"]["cache_misses"] == 0
    assert status["counters"]["errors"] == 0
    assert at.call("umount", mountpoint).returncode == 0


def test_shards_are_the_whole(at: Bench, source: Path, tmp_path: Path) -> None:
    size, parts = (source / TRAIN).stat().st_size, []
    for number in (1, 2, 3):
        cache = tmp_path / f"cache{number}"
        shard = ("--shard", f"{number}/3", "--cache-dir", cache)
        assert at.call("stage", source, "ILSVRC2012/train", *shard).returncode == 0
        parts.append(int(str(listed(at, cache)[0]["bytes"])))
    assert size <= sum(parts) <= size + 2 * 65536, "but for the blocks at the cuts"
    assert max(parts) - min(parts) <= 2 * 65536


def _kept(at: Bench, cache: Path) -> int:
    """Bytes of the one archive that is there, by the command."""
    found = listed(at, cache) if cache.is_dir() else []
    return int(str(found[0]["bytes"])) if found else 0


def test_the_rate_and_ctrl_c(at: Bench, source: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    size = (source / TRAIN).stat().st_size
    arguments = ("stage", source, "ILSVRC2012/train", "--cache-dir", cache, "--limit")
    # The first block comes at once, and the next one not in this test's time.
    stage = at.start(*arguments, "1")
    try:
        assert until(lambda: _kept(at, cache) > 0)
        stage.send_signal(signal.SIGINT)
        _, err = stage.communicate(timeout=HANG_SECONDS)
    finally:
        stage.kill()
        stage.wait()
    assert stage.returncode == 130
    assert "are there and stay" in err
    assert 0 < _kept(at, cache) <= BLOCK
    done = at.call(*arguments, "10G")
    assert done.returncode == 0
    assert int(str(listed(at, cache)[0]["bytes"])) == size


def test_a_full_cache_ends_it_with_a_sentence(at: Bench, source: Path, tmp_path: Path) -> None:
    options = ("--cache-dir", tmp_path / "cache", "--cache-size", "10M")
    done = at.call("stage", source, "ILSVRC2012/train", *options)
    assert done.returncode == ExitCode.NO_SPACE
    assert "is full (10 MB at most)" in done.stderr
    assert "raise --cache-size" in done.stderr
    kept = int(str(listed(at, tmp_path / "cache")[0]["bytes"]))
    again = at.call("stage", source, "ILSVRC2012/train", *options)
    assert again.returncode == ExitCode.NO_SPACE
    assert kept > 1 << 20
    assert f" {kept / 1e6:.1f} MB of " in again.stderr, "what was there before counts"


def test_a_full_disk_is_said_to_be_that(at: Bench, source: Path, tmp_path: Path) -> None:
    options = ("--cache-dir", tmp_path / "cache", "--keep-free", "100%")
    done = at.call("stage", source, "ILSVRC2012/train", *options)
    assert done.returncode == ExitCode.NO_SPACE
    assert f"The disk of {tmp_path / 'cache'} is full" in done.stderr
    assert "lower --keep-free" in done.stderr
    assert "--cache-size" not in done.stderr


def test_ctrl_c_does_not_wait_for_a_slow_source(at: Bench, source: Path, tmp_path: Path) -> None:
    """Its requests are answered only after the command has said its last word."""
    cache = tmp_path / "cache"
    with slow_source(source) as slow:
        limit = ("--cache-dir", cache, "--limit", "64K")
        stage = at.start("stage", slow.path, "ILSVRC2012/train", *limit)
        assert until(lambda: _kept(at, cache) > 0)
        slow.fault("hang", "read")
        assert until(slow.hanging)
        stage.send_signal(signal.SIGINT)
        assert stage.stderr is not None
        assert "are there and stay" in stage.stderr.readline()
        slow.clear()  # FUSE lets no process end whose read it has not answered
        _, err = stage.communicate(timeout=HANG_SECONDS)
    assert stage.returncode == 130
    assert err == ""


def test_the_rate_holds_from_the_start(at: Bench, source: Path, tmp_path: Path) -> None:
    """No burst: the bytes there are those of the time since the start and one second at most."""
    cache, began = tmp_path / "cache", time.monotonic()
    limit = ("--cache-dir", cache, "--limit", "500K")
    stage = at.start("stage", source, "ILSVRC2012/train", *limit)
    assert until(lambda: _kept(at, cache) > 500_000)
    stage.send_signal(signal.SIGINT)
    stage.communicate(timeout=HANG_SECONDS)
    seconds = time.monotonic() - began  # a slow machine only allows more
    assert _kept(at, cache) <= 500e3 * (seconds + 1.2)


def test_progress_on_a_terminal(at: Bench, source: Path, tmp_path: Path) -> None:
    """Bar, rate, time left."""
    master, slave = os.openpty()
    command = ("stage", source, "ILSVRC2012/train", "--cache-dir", tmp_path / "c", "--limit", "20M")
    stage = at.start(*command, stderr=slave, environ={"TERM": "xterm", "COLUMNS": "100"})
    os.close(slave)
    shown = b""
    try:
        while True:
            try:
                piece = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            shown += piece
    finally:
        os.close(master)
        stage.communicate(timeout=60)
    assert b"Staging" in shown
    assert b"MB" in shown
    assert b" s left" in shown


@pytest.mark.expects_log("There is no version x: there are ILSVRC")
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["stage"], ExitCode.USAGE, "Missing argument"),
        (["stage", "{source}"], ExitCode.USAGE, "What shall be staged?"),
        (["stage", "{source}", "Imagenet9"], ExitCode.USAGE, "There is no version Imagenet9"),
        (["stage", "{source}", "ILSVRC2012/valid"], ExitCode.USAGE, "has no split valid"),
        (["stage", "{source}", "ILSVRC2012/trian"], ExitCode.USAGE, "Did you mean train?"),
        (["stage", "{source}", "ilsvrc2012/train"], ExitCode.USAGE, "Did you mean ILSVRC2012?"),
        (["stage", "Imagenet32/val", "{source}"], ExitCode.USAGE, "SOURCE comes first"),
        (["stage", "{source}", "ILSVRC2012", "--limit", "fast"], ExitCode.USAGE, "--limit must be"),
        (["stage", "{source}", "ILSVRC2012", "--shard", "4/3"], ExitCode.USAGE, "--shard must be"),
        (["cache", "ls"], ExitCode.USAGE, "There is no cache in"),
        (
            ["mount", "{source}", "{mnt}", "--cache-size", "lots"],
            ExitCode.USAGE,
            "must be an amount",
        ),
        (["mount", "{source}", "{mnt}", "--stage", "x"], ExitCode.USAGE, "There is no version x"),
    ],
)
def test_mistakes(
    at: Bench, source: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    places = {"source": source, "mnt": at.mountpoint()}
    given = [word.format(**places) for word in arguments]
    done = at.call(*given, "--cache-dir", tmp_path / "cache")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert at.leftovers() == []
    assert given[0] == "mount" or not (tmp_path / "cache").exists()


def test_without_a_cache(at: Bench, source: Path) -> None:
    for command in (("stage", source, "ILSVRC2012"), ("cache", "ls")):
        done = at.call(*command)
        assert done.returncode == ExitCode.USAGE
        assert "--cache-dir" in done.stderr
    done = at.call("mount", source, at.mountpoint(), "--stage", "ILSVRC2012")
    assert done.returncode == ExitCode.USAGE
    assert "Staging needs a cache" in done.stderr


def test_directories_that_are_refused(at: Bench, source: Path, tmp_path: Path) -> None:
    mountpoint = at.mountpoint()
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o770)
    (tmp_path / "good").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("good")
    for name, words in (
        ("shared", "its mode is 770"),
        ("link", "symbolic link"),
        ("mnt/cache", "lies under the mountpoint"),
    ):
        done = at.call("mount", source, mountpoint, "--cache-dir", tmp_path / name)
        assert done.returncode == ExitCode.PLACE_REFUSED, done.stderr
        assert words in done.stderr
        if not name.startswith("mnt"):
            done = at.call("cache", "ls", "--cache-dir", tmp_path / name)
            assert done.returncode == ExitCode.PLACE_REFUSED, done.stderr
            assert words in done.stderr
    assert at.leftovers() == []


def test_a_job_has_a_cache(at: Bench, source: Path, tmp_path: Path) -> None:
    """On in $SLURM_TMPDIR, off with a word where that is in memory, unless it is named."""
    local = tmp_path / "local"
    local.mkdir()
    if unfit_type(local) is not None:
        pytest.skip("the directory for temporary files lies in memory: the next test")
    mountpoint = at.mountpoint()
    assert at.call("mount", source, mountpoint, SLURM_TMPDIR=str(local)).returncode == 0
    epoch(files(mountpoint / "ILSVRC2012" / "train")[:10], seed=1)
    assert at.call("umount", mountpoint).returncode == 0
    cache = local / "imagenetfs-cache"
    assert cache.stat().st_mode & 0o777 == 0o700
    assert len(list(cache.glob("*.00000"))) == 1


def test_a_jobs_directory_in_memory(at: Bench, source: Path, tmp_path: Path) -> None:
    memory = tmp_path / "memory"
    memory.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root mounts a tmpfs")
    subprocess.run(["mount", "-t", "tmpfs", "none", memory], check=True)
    try:
        mountpoint = at.mountpoint()
        done = at.call("mount", source, mountpoint, SLURM_TMPDIR=str(memory))
        assert done.returncode == 0
        assert "there is no cache" in done.stderr
        assert "tmpfs" in done.stderr
        assert at.call("umount", mountpoint).returncode == 0
        assert list(memory.iterdir()) == []
        named = ("--cache-dir", memory / "cache")
        assert at.call("mount", source, mountpoint, *named).returncode == 0
        epoch(files(mountpoint / "ILSVRC2012" / "train")[:10], seed=1)
        assert at.call("umount", mountpoint).returncode == 0
        assert len(list((memory / "cache").glob("*.00000"))) == 1
    finally:
        subprocess.run(["umount", "-l", memory], check=True)


def test_what_cannot_be_read_is_named(at: Bench, source: Path, tmp_path: Path) -> None:
    """The rest is there; a source that is gone ends it with a sentence."""
    copy, cache = tmp_path / "imagenet", tmp_path / "cache"
    shutil.copytree(source, copy)
    with slow_source(copy, bandwidth=40e6) as slow:
        plan = (slow.path, "ILSVRC2012/train", "--cache-dir", cache)
        stage = at.start("stage", *plan)
        assert until(lambda: slow.counters()["bytes"] > 10e6)
        slow.fault("EIO", "read")
        _, err = stage.communicate(timeout=60)
        assert stage.returncode == ExitCode.SOURCE_UNREADABLE
        assert "Input/output error" in err
        slow.clear()
        done = at.call("stage", *plan)
        assert done.returncode == 0, done.stderr
    assert int(str(listed(at, cache)[0]["bytes"])) == (source / TRAIN).stat().st_size
