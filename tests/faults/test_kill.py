"""Workers killed while files are opened and read: no wrong byte, no
hang, one failed open a kill.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.children import children_of, kill
from tests.helpers.mounts import Mounted
from tests.helpers.randomness import SEED, seeded

KILLS = int(os.environ.get("IMAGENETFS_TEST_WORKER_KILLS", "100"))
OPENS = 20_000

READER = """
import hashlib, os, random, sys
root, seed, count, enough = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
progress = open(sys.argv[5], "r+b", buffering=0)
expected = dict(line.split("  ", 1)[::-1] for line in sys.stdin.read().splitlines())
names, choose, lost, done = sorted(expected), random.Random(sys.argv[6]), 0, 0
print("READING", flush=True)
while done < count or not os.path.exists(enough):
    done += 1
    os.pwrite(progress.fileno(), done.to_bytes(8, "little"), 8 * seed)
    name = choose.choice(names)
    try:
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
    except ConnectionAbortedError:
        lost += 1
        continue
    # Away with what the kernel keeps, so that the read reaches a worker.
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    with open(fd, "rb", buffering=0) as file:
        data = file.read()
    assert hashlib.md5(data).hexdigest() == expected[name], name
print(done, lost, flush=True)
"""


def _start(root: Path, seed: int, sums: str, enough: Path, progress: Path) -> subprocess.Popen[str]:
    """A reader that goes on until it has done its part and ``enough`` exists."""
    words = [root, seed, OPENS // 4, enough, progress, f"{SEED} {seed}"]
    reader = subprocess.Popen(
        [sys.executable, "-c", READER, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert reader.stdin is not None
    reader.stdin.write(sums)
    reader.stdin.close()
    reader.stdin = None
    return reader


def _sums(root: Path) -> str:
    paths = [p for p in (root / "train").rglob("*.JPEG")]
    sums = ((hashlib.md5(p.read_bytes()).hexdigest(), p.relative_to(root)) for p in paths)
    return "".join(f"{digest}  {name}\n" for digest, name in sums)


def _status(mounted: Mounted) -> dict[str, object]:
    """status.json; its own open may be the one that a kill ends."""
    while True:
        try:
            return mounted.status()
        except OSError as error:
            assert error.errno == errno.ECONNABORTED


def _wait_until_all_went_on(
    progress: Path, before: bytes, readers: list[subprocess.Popen[str]]
) -> None:
    """Until no reader is at what it was at before."""
    for at in range(0, len(before), 8):
        while progress.read_bytes()[at : at + 8] == before[at : at + 8]:
            if any(reader.poll() is not None for reader in readers):
                return
            time.sleep(0.005)


@pytest.mark.expects_log("s; another takes its place")
@pytest.mark.timeout(max(300, 3 * KILLS))
def test_kill_workers_under_load(sample_mount_here: Mounted, tmp_path: Path) -> None:
    mounted, enough = sample_mount_here, tmp_path / "enough"
    sums = _sums(mounted.root)
    progress = tmp_path / "progress"
    progress.write_bytes(bytes(32))
    readers = [_start(mounted.root, seed, sums, enough, progress) for seed in range(4)]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "READING\n"
        choose, killed = seeded("kills under load"), set[int]()
        while len(killed) < KILLS and all(reader.poll() is None for reader in readers):
            pids = [pid for pid in _workers(mounted.process.pid) if pid not in killed]
            if pids:
                victim = choose.choice(pids)
                if kill(victim):
                    killed.add(victim)
            # Not so fast that one read meets two kills: the kernel tries it again once.
            before = progress.read_bytes()
            time.sleep(choose.uniform(0.02, 0.15))
            _wait_until_all_went_on(progress, before, readers)
        enough.touch()
        done = lost = 0
        for reader in readers:
            out, err = reader.communicate(timeout=200)
            assert reader.returncode == 0, err
            done, lost = done + int(out.split()[-2]), lost + int(out.split()[-1])
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
    # Only what has been reaped is counted, and the last one may not have been yet.
    settled = until(lambda: _status(mounted)["worker_restarts"] == len(killed))
    print(f"\n{done:,} opens and reads, {len(killed)} kills, {lost} ECONNABORTED")
    assert len(killed) == KILLS
    assert done >= OPENS
    assert lost <= KILLS
    assert settled, _status(mounted)["worker_restarts"]
    assert mounted.process.poll() is None


@pytest.mark.expects_log("s; another takes its place")
@pytest.mark.timeout(120)
def test_reads_of_open_files_survive_kills(sample_mount_here: Mounted) -> None:
    """A buffered read in the hands of a killed worker is tried again by the kernel."""
    mounted = sample_mount_here
    paths = sorted((mounted.root / "train").rglob("*.JPEG"))[:200]
    expected = [p.read_bytes() for p in paths]
    files = [os.open(p, os.O_RDONLY) for p in paths]
    choose, kills = seeded("kills of open files"), 0
    try:
        while kills < 20:
            at = choose.randrange(len(files))
            os.posix_fadvise(files[at], 0, 0, os.POSIX_FADV_DONTNEED)
            pids = _workers(mounted.process.pid)
            dying = choose.choice(pids) if choose.random() < 0.1 and len(pids) >= 2 else None
            if dying is not None:
                kills += kill(dying)
            assert os.pread(files[at], 1 << 20, 0) == expected[at]
            while dying in _workers(
                mounted.process.pid
            ):  # two kills that meet in a read are too many
                os.sched_yield()
    finally:
        for fd in files:
            os.close(fd)


def _workers(pid: int) -> list[int]:
    """The server's workers, found by their name."""
    found = []
    for word in children_of(pid):
        with contextlib.suppress(OSError):
            if Path(f"/proc/{word}/comm").read_text().strip() == "imagenetfs-work":
                found.append(int(word))
    return found
