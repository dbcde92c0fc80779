"""The pass-through itself: what the tests that stand on it believe of it."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import mounts_below
from tests.helpers.passthrough import SlowSource, slow_source
from tests.helpers.passthrough.permission import ACCESS_LIST

DATA = os.urandom(3 << 20)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    root = tmp_path / "slow"
    (root / "deep").mkdir(parents=True)
    (root / "a.tar").write_bytes(DATA)
    (root / "deep" / "b.tar").write_bytes(DATA[::-1])
    (root / "link").symlink_to("deep/b.tar")
    return root


@pytest.fixture
def source(directory: Path) -> Iterator[SlowSource]:
    with slow_source(directory) as slow:
        yield slow


def _side_by_side(count: int, work: Callable[[int], object]) -> float:
    """Seconds that ``count`` threads take together."""
    threads = [threading.Thread(target=work, args=(n,)) for n in range(count)]
    started = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - started


def test_it_shows_the_directory(source: SlowSource) -> None:
    assert sorted(os.listdir(source.path)) == ["a.tar", "deep", "link"]
    assert (source.path / "a.tar").read_bytes() == DATA
    assert (source.path / "link").read_bytes() == DATA[::-1]
    assert os.readlink(source.path / "link") == "deep/b.tar"
    with pytest.raises(OSError, match="Read-only"):
        (source.path / "new").write_bytes(b"")


def test_every_read_is_a_request(source: SlowSource) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.reset()
    for _ in range(5):
        assert os.pread(fd, 1000, 512) == DATA[512:1512]
    os.close(fd)
    assert source.counters()["read"] == 5
    assert source.counters()["bytes"] == 5000
    assert source.counters()["opendir"] == 0


def test_latency_is_slept_side_by_side(source: SlowSource) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.set(latency=0.2)
    started = time.monotonic()
    os.pread(fd, 512, 0)
    assert time.monotonic() - started >= 0.2
    assert _side_by_side(20, lambda n: os.pread(fd, 512, n * 512)) < 20 * 0.2 / 2
    os.close(fd)


def test_bandwidth_is_shared(source: SlowSource) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.set(bandwidth=1e6)
    assert _side_by_side(4, lambda n: os.pread(fd, 100_000, n * 100_000)) >= 0.4
    os.close(fd)


def test_faults_repeat_with_the_seed(directory: Path) -> None:
    def errors() -> list[int | None]:
        with slow_source(directory, seed=7) as source:
            fd = os.open(source.path / "a.tar", os.O_RDONLY)
            source.fault("EIO", rate=0.3)
            source.fault("ESTALE", rate=0.3)
            seen: list[int | None] = []
            for n in range(200):
                try:
                    assert os.pread(fd, 512, n * 512) == DATA[n * 512 :][:512]
                    seen.append(0)
                except OSError as error:
                    seen.append(error.errno)
            os.close(fd)
            return seen

    first = errors()
    assert first == errors()
    assert set(first) == {0, errno.EIO, errno.ESTALE}


def test_short_and_empty_reads(source: SlowSource) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.fault("short", count=1)
    short = os.pread(fd, 10_000, 0)
    assert len(short) < 10_000
    assert DATA.startswith(short)
    source.fault("empty", count=1)
    assert os.pread(fd, 10_000, 0) == b""
    assert len(os.pread(fd, 10_000, 0)) == 10_000
    os.close(fd)


def test_faults_keep_to_their_paths_and_operations(source: SlowSource) -> None:
    source.fault("EACCES", ["open", "opendir"], paths="deep*")
    assert (source.path / "a.tar").read_bytes() == DATA
    for path in ("deep/b.tar", "deep"):
        with pytest.raises(PermissionError):
            os.close(os.open(source.path / path, os.O_RDONLY))
    source.clear()
    assert (source.path / "deep" / "b.tar").read_bytes() == DATA[::-1]


def test_a_hang_ends_on_command(source: SlowSource) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.fault("hang", count=1)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(os.pread(fd, 512, 0)))
    reader.start()
    while not source.hanging():
        time.sleep(0.01)
    assert (source.path / "deep" / "b.tar").read_bytes() == DATA[::-1]  # others are served
    assert got == []
    source.release()
    reader.join(10)
    assert got == [DATA[:512]]
    os.close(fd)


def test_a_replaced_file_is_stale(source: SlowSource, directory: Path) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    (directory / "new").write_bytes(b"new")
    os.replace(directory / "new", directory / "a.tar")
    with pytest.raises(OSError) as caught:
        os.pread(fd, 512, 0)
    assert caught.value.errno == errno.ESTALE
    os.close(fd)
    assert (source.path / "a.tar").read_bytes() == b"new"


def test_a_read_tells_of_new_attributes(source: SlowSource, directory: Path) -> None:
    fd = os.open(source.path / "a.tar", os.O_RDONLY)
    source.reset()
    for _ in range(5):
        os.fstat(fd)
    assert source.counters()["getattr"] == 0
    os.utime(directory / "a.tar", (1, 1))
    assert os.fstat(fd).st_mtime != 1  # nobody asked
    os.pread(fd, 512, 0)
    assert os.fstat(fd).st_mtime == 1
    assert source.counters()["getattr"] == 1
    os.close(fd)


def test_a_swap_at_a_request(source: SlowSource) -> None:
    before = os.stat(source.path / "a.tar").st_ino
    source.fault("swap", "open", paths="a.tar", partner="deep/b.tar", count=1)
    assert (source.path / "a.tar").read_bytes() == DATA  # it was opened as the exchange came
    assert (source.path / "a.tar").read_bytes() == DATA[::-1]
    assert os.stat(source.path / "deep" / "b.tar").st_ino == before


def _as(uid: int, gid: int, groups: list[int], *command: str) -> subprocess.CompletedProcess[str]:
    of_groups = f"--groups={','.join(map(str, groups))}" if groups else "--clear-groups"
    who = [f"--reuid={uid}", f"--regid={gid}", of_groups]
    return subprocess.run(["setpriv", *who, *command], capture_output=True, text=True, timeout=60)


@pytest.fixture
def open_source(directory: Path) -> Iterator[SlowSource]:
    """The source at a place that every user may reach."""
    with slow_source(directory, below=Path(os.environ["TMPDIR"]).parent) as slow:
        yield slow


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_sixteen_groups_count(directory: Path, open_source: SlowSource) -> None:
    os.chown(directory / "deep", 0, 70_018)
    (directory / "deep").chmod(0o750)
    listing = ["ls", str(open_source.path / "deep")]
    many = list(range(70_001, 70_021))
    assert "Permission denied" in _as(65_000, 65_000, many, *listing).stderr
    assert _as(65_000, 70_018, many, *listing).stdout == "b.tar\n"  # the primary group is sent
    assert _as(65_000, 65_000, many[6:], *listing).stdout == "b.tar\n"
    open_source.set(groups=None)
    assert _as(65_000, 65_000, many, *listing).stdout == "b.tar\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_access_lists_count(directory: Path, open_source: SlowSource) -> None:
    (directory / "deep").chmod(0o700)
    # Version 2: the owner, one user, the owning group, one group, the mask, others.
    entries = [(1, 7, -1), (2, 5, 65_001), (4, 0, -1), (8, 5, 70_018), (16, 5, -1), (32, 0, -1)]
    value = b"".join(struct.pack("<HHi", *entry) for entry in entries)
    os.setxattr(directory / "deep", ACCESS_LIST, struct.pack("<I", 2) + value)
    listing = ["ls", str(open_source.path / "deep")]
    many = list(range(70_001, 70_021))
    assert _as(65_001, 65_001, [], *listing).stdout == "b.tar\n"
    assert _as(65_000, 65_000, many[6:], *listing).stdout == "b.tar\n"
    assert "Permission denied" in _as(65_000, 65_000, many, *listing).stderr
    assert os.getxattr(open_source.path / "deep", ACCESS_LIST)[4:] == value


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_permission_is_asked_on_open_descriptors_too(
    directory: Path, open_source: SlowSource
) -> None:
    script = 'exec 3<"$1"; head -c 5 <&3 >/dev/null; echo open; read -r _; head -c 5 <&3'
    who = ["setpriv", "--reuid=65000", "--regid=65000", "--clear-groups"]
    reader = subprocess.Popen(
        [*who, "bash", "-c", script, "bash", str(open_source.path / "a.tar")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout is not None
    assert reader.stdout.readline() == "open\n"
    (directory / "a.tar").chmod(0o600)
    _, errors = reader.communicate("\n", timeout=30)
    assert "Permission denied" in errors


def test_a_wrong_command_says_so(source: SlowSource) -> None:
    with pytest.raises(ValueError, match="no fault is called EWHAT"):
        source.fault("EWHAT")
    with pytest.raises(ValueError, match="no such settings: speed"):
        source.set(speed=3)


def test_the_command_line(directory: Path, tmp_path: Path) -> None:
    mountpoint = tmp_path / "mnt"
    mountpoint.mkdir()
    command = [sys.executable, "-m", "tests.helpers.passthrough", str(directory), str(mountpoint)]
    command += ["--latency", "1ms", "--bandwidth", "100M", "--fault", "EIO:read:1:deep/*"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "READY\n"
        assert (mountpoint / "a.tar").read_bytes() == DATA
        with pytest.raises(OSError, match="Input/output"):
            (mountpoint / "link").read_bytes()
    finally:
        process.terminate()
        assert process.wait(20) == 0
    assert os.listdir(mountpoint) == []


def test_it_ends_with_its_parent(directory: Path) -> None:
    script = (
        "import os, sys; from tests.helpers.passthrough import slow_source\n"
        "with slow_source(sys.argv[1]) as source: print(source.path, flush=True); os._exit(9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(directory)], stdout=subprocess.PIPE, text=True
    )
    mountpoint = Path(done.stdout.strip())
    deadline = time.monotonic() + 20
    while mounts_below(mountpoint):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    shutil.rmtree(mountpoint.parent)
