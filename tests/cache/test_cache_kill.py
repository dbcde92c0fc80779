"""Workers, the stager and the supervisor killed at random moments while the
cache fills: no wrong byte.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from imagenetfs.cache.directory import CacheDirectory, prepare
from imagenetfs.cache.inventory import verify
from tests.helpers import forkserver
from tests.helpers.cache import PLENTY, files, make_train, sums
from tests.helpers.children import children_of, kill
from tests.helpers.forkserver import COMMAND_LINE
from tests.helpers.mounts import Mounted, detach, mounted
from tests.helpers.randomness import SEED, seeded

KILLS = int(os.environ.get("IMAGENETFS_TEST_KILLS", "60"))
"""Set to 300 for the full number."""

READER = """
import errno, hashlib, os, random, sys, time
root, seed, stop = sys.argv[1], int(sys.argv[2]), sys.argv[3]
expected = dict(line.split("  ", 1)[::-1] for line in sys.stdin.read().splitlines())
names, choose, done, lost = sorted(expected), random.Random(sys.argv[4]), 0, 0
gone = (errno.ECONNABORTED, errno.ENOTCONN, errno.ENOENT)
while not os.path.exists(stop):
    name = choose.choice(names)
    try:
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
    except OSError as error:
        assert error.errno in gone, error
        lost += 1
        time.sleep(0.005)
        continue
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    try:
        with open(fd, "rb", buffering=0) as file:
            data = file.read()
    except OSError as error:  # the supervisor's death ends the mount
        assert error.errno in gone, error
        lost += 1
        continue
    assert hashlib.md5(data).hexdigest() == expected[name], name
    done += 1
print(done, lost, flush=True)
"""

COMMANDS = {"worker": "imagenetfs-work", "stager": "imagenetfs-stag"}


def _children(pid: int, command: str) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for word in children_of(pid):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{word}/comm").read_text().strip() == command:
                    found.append(int(word))
    return found


class _Run:
    """A mount that is made again whenever its supervisor is killed, and a
    count of what was killed.
    """

    def __init__(self, source: Path, mountpoint: Path, cache: Path) -> None:
        self.source, self.mountpoint, self.cache = source, mountpoint, cache
        self.choose = seeded("kills while it fills")
        self.killed = {"worker": 0, "stager": 0, "supervisor": 0}
        self.mount = self._start()
        self.stager = self._stage()

    def _stage(self) -> subprocess.Popen[str]:
        """The command, so slow that it is at work most of the time."""
        words = ["stage", self.source, "ILSVRC2012/train", "--cache-dir", self.cache]
        options = ["--limit", "4M", "--index-dir", "none"]
        null = subprocess.DEVNULL
        server = forkserver.shared()
        return server.popen(COMMAND_LINE, [*words, *options], stdout=null, stderr=null)

    def close(self) -> None:
        """End all of it."""
        self.stager.kill()
        self.stager.wait()
        self.mount.close()

    def _start(self) -> Mounted:
        return mounted(
            *(self.source, self.mountpoint),
            cache_dir=self.cache,
            cache_size=PLENTY,
            stage=["ILSVRC2012/train"],
        )

    def kill_one(self) -> None:
        if self.choose.random() < 0.07:
            self.mount.process.kill()
            self.mount.process.wait()
            detach(self.mountpoint)
            self.killed["supervisor"] += 1
            self.mount = self._start()
            return
        kind = self.choose.choice(["worker", "worker", "stager"])
        if kind == "stager" and self.stager.poll() is None and self.choose.random() < 0.7:
            self.stager.kill()
            self.killed["stager"] += 1
        if self.stager.poll() is not None:
            self.stager = self._stage()
        pids = _children(self.mount.process.pid, COMMANDS[kind])
        if pids and kill(self.choose.choice(pids)):
            self.killed[kind] += 1

    def empty(self) -> None:
        """Throw all of the cache away under the readers, so that it fills again."""
        directory = CacheDirectory(self.cache)
        for segment in directory.segments():
            directory.remove(segment.name)
        directory.close()


@pytest.mark.expects_log("s; another takes its place", "staging ended early")
@pytest.mark.timeout(1200)
def test_kill_anybody_while_it_fills(tmp_path: Path) -> None:
    source, cache, stop = tmp_path / "source", tmp_path / "cache", tmp_path / "stop"
    make_train(source, classes=4, images=25)
    prepare(cache)
    run = _Run(source, tmp_path / "mnt", cache)
    root = run.mount.root
    expected = sums(root, files(root / "train"))
    text = "".join(f"{digest}  {name}\n" for name, digest in expected.items())
    readers = []
    try:
        for seed in range(3):
            command = [sys.executable, "-c", READER, str(root), str(seed), str(stop)]
            command.append(f"{SEED} {seed}")
            pipe = subprocess.PIPE
            reader = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
            assert reader.stdin is not None
            reader.stdin.write(text)
            reader.stdin.close()
            reader.stdin = None
            readers.append(reader)
        turn = 0
        while sum(run.killed.values()) < KILLS:
            assert all(reader.poll() is None for reader in readers), "a reader has failed"
            turn += 1
            if turn % 8 == 0:
                run.empty()
            run.kill_one()
            time.sleep(run.choose.uniform(0.01, 0.15))
        stop.touch()
        for reader in readers:
            out, err = reader.communicate(timeout=120)
            assert reader.returncode == 0, err
            assert int(out.split()[0]) > 0
        assert sums(root, files(root / "train")) == expected
    finally:
        stop.touch()
        for reader in readers:
            reader.kill()
            reader.wait()
        run.close()
    print(f"\nkilled: {run.killed}")
    assert all(run.killed.values()) or KILLS < 30
    directory = CacheDirectory(cache)
    assert verify(directory, lambda done, whole: None).wrong == 0
    directory.close()
