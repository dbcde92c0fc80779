"""Readers on one mount for a time: ``python -m tests.prove.load --seconds N``.

Each reader opens images in a random order, lets go of the kernel's pages, so that the server is
asked each time, and compares the sum with that of the tar's own bytes. At the end the server's
memory is compared with what it was after a tenth of the time.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import random
import re
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from tests.helpers.mounts import Mounted, mounted

READERS = 4
GROWTH = 1.5
"""How many times its early memory a server may have at the end, beside ``SLACK_BYTES``."""
SLACK_BYTES = 64 << 20


def sums_of(directory: Path) -> dict[str, str]:
    """The md5 sum of each image in the tars below ``directory`` by its name, read by tarfile."""
    found: dict[str, str] = {}

    def scan(archive: tarfile.TarFile) -> None:
        for member in archive:
            file = archive.extractfile(member) if member.isfile() else None
            if file is None:
                continue
            data = file.read()
            if member.name.endswith(".tar"):
                with tarfile.open(fileobj=io.BytesIO(data)) as inner:
                    scan(inner)
            elif member.name.endswith(".JPEG"):
                found[Path(member.name).name] = hashlib.md5(data).hexdigest()

    for path in (directory / "ILSVRC2012_img_train.tar", directory / "ILSVRC2012_img_val.tar"):
        with tarfile.open(path) as archive:
            scan(archive)
    return found


def read(root: Path, sums: Path, seed: int, seconds: float) -> int:
    """Read until the time is over; prints how many images. AssertionError for a wrong byte."""
    expected: dict[str, str] = json.loads(sums.read_text())
    paths = [path for split in ("train", "val") for path in (root / split).rglob("*.JPEG")]
    assert len(paths) == len(expected) > 0, (len(paths), len(expected))
    choose, done, end = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        path = choose.choice(paths)
        with path.open("rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            data = file.readall()
        assert hashlib.md5(data).hexdigest() == expected[path.name], path
        done += 1
        if done % 1000 == 0:
            names = os.listdir(path.parent)
            assert path.name in names and len(names) == len(set(names)), path.parent
    print(done)
    return 0


def memory(mount: Mounted) -> int:
    """Bytes: the proportional set size of the server and of its processes."""
    pids, total = [mount.process.pid, *mount.worker_pids()], 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total += sum(int(kb) for kb in re.findall(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)) << 10
    return total


def under_load(directory: Path, seconds: float) -> int:
    """Mount a sample below ``directory``, read, and judge; 1 if anything was wrong."""
    from imagenetfs.sample import make_sample

    source, sums = directory / "imagenet", directory / "sums.json"
    make_sample(source)
    sums.write_text(json.dumps(sums_of(source / "ILSVRC2012")))
    mount = mounted(source, directory / "mnt", workers=2)
    readers: list[subprocess.Popen[str]] = []
    try:
        for seed in range(READERS):
            words = [mount.root, sums, seed, seconds]
            command = [sys.executable, "-m", "tests.prove.load", "--read", *map(str, words)]
            readers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        time.sleep(seconds / 10)
        early = memory(mount)
        done = [int(reader.communicate()[0] or 0) for reader in readers]
        late, restarts = memory(mount), mount.status()["worker_restarts"]
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
        ended = mount.close()
    wrong = [f"reader {i}: exit {r.returncode}" for i, r in enumerate(readers) if r.returncode]
    wrong += [f"{restarts} workers died"] if restarts else []
    wrong += [f"the server ended with {ended}"] if ended else []
    if late > GROWTH * early + SLACK_BYTES:
        wrong.append(f"memory grew from {early >> 20} to {late >> 20} MiB")
    print("\n".join(wrong))
    print(f"memory: {early >> 20} MiB after a tenth of the time, {late >> 20} MiB at the end")
    print(f"PROVED: {sum(done):,} images")
    return 1 if wrong or not all(done) else 0


def main(words: list[str]) -> int:
    """``--seconds N`` is for callers; ``--read`` is what a reader is started with."""
    parser = argparse.ArgumentParser("tests.prove.load")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--read", nargs=4, metavar=("ROOT", "SUMS", "SEED", "SECONDS"))
    arguments = parser.parse_args(words)
    if arguments.read:
        root, sums, seed, seconds = arguments.read
        return read(Path(root), Path(sums), int(seed), float(seconds))
    if arguments.seconds is None:
        parser.error("--seconds is needed")
    with tempfile.TemporaryDirectory(prefix="imagenetfs-load-") as directory:
        for name in ("IMAGENETFS_RUN_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[name] = str(Path(directory) / name.lower())
        return under_load(Path(directory), arguments.seconds)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
