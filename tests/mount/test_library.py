"""The tree in the process against a mount of the same source: every path, in many processes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import imagenetfs
from tests.helpers.forked import answer
from tests.helpers.loaders import SPLITS, walked
from tests.helpers.mounts import Mounted
from tests.helpers.randomness import seeded

LIVE = {".imagenetfs"}


def paths_below(mountpoint: Path) -> tuple[list[str], list[str]]:
    """(directories, files) of a mount, in order, as paths of the tree."""
    directories, files = [], []
    for directory, below, names in os.walk(mountpoint):
        below.sort()
        here = os.path.relpath(directory, mountpoint).removeprefix(".")
        directories.append(here)
        files += [f"{here}/{name}".lstrip("/") for name in sorted(names)]
    return directories, files


def digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=8).hexdigest()


@pytest.mark.timeout(300)
def test_every_path_is_that_of_the_mount(sample: Path, sample_mount: Mounted) -> None:
    """S21: names, attributes and bytes, of everything that a mount shows."""
    top = sample_mount.mountpoint
    directories, files = paths_below(top)
    with imagenetfs.open(sample, index_dir="none") as tree:
        for directory in directories:
            assert tree.listdir(directory) == sorted(os.listdir(top / directory)), directory
            assert tree.stat(directory).st_mode == (top / directory).stat().st_mode
        for path in files:
            theirs, ours = (top / path).stat(), tree.stat(path)
            assert (ours.st_mode, ours.st_size, ours.st_mtime_ns, ours.st_ino) == (
                *(theirs.st_mode, theirs.st_size, theirs.st_mtime_ns, theirs.st_ino),
            ), path
        small = [path for path in files if tree.stat(path).st_size < 1 << 20]
        assert len(small) > 5_000
        for path, data in zip(small, tree.read_many(small), strict=True):
            assert data == (top / path).read_bytes(), path
        for path in seeded("large").sample(sorted(set(files) - set(small)), 3):
            assert tree.read(path) == (top / path).read_bytes(), path


@pytest.mark.parametrize("hidden", ["ILSVRC2012/validation", "ILSVRC2012/train/meta.bin"])
def test_what_answers_without_being_listed(
    sample: Path, sample_mount: Mounted, hidden: str
) -> None:
    with imagenetfs.open(sample, index_dir="none") as tree:
        assert tree.exists(hidden) == (sample_mount.mountpoint / hidden).exists()
        directory, _, name = hidden.rpartition("/")
        assert name not in tree.listdir(directory)


def test_splits_have_image_folder_s_order(sample: Path, sample_mount: Mounted) -> None:
    with imagenetfs.open(sample, index_dir="none") as tree:
        assert set(SPLITS) <= set(tree.splits)
        for name in SPLITS:
            split = tree[name]
            wanted = walked(sample_mount.mountpoint / name)
            top = f"{sample_mount.mountpoint}/"
            found = [split.path(number) for number in range(len(split))]
            assert found == [path.removeprefix(top) for path, _ in wanted]
            assert split.labels.tolist() == [label for _, label in wanted]


def test_eight_processes_at_once(sample: Path, sample_mount: Mounted) -> None:
    with imagenetfs.open(sample, index_dir="none") as tree:
        split = tree["ILSVRC2012/train"]
        wanted = [
            digest((sample_mount.mountpoint / split.path(number)).read_bytes())
            for number in range(len(split))
        ]
        parts = [list(range(number, len(split), 8)) for number in range(8)]
        pipes = [os.pipe() for _ in parts]
        pids = []
        for part, (_, writer) in zip(parts, pipes, strict=True):
            pid = os.fork()
            if not pid:
                try:
                    found = [digest(data) for data in split.read_many(part)]
                    os.write(writer, json.dumps(found).encode())
                finally:
                    os._exit(0)
            pids.append(pid)
        for part, (reader, writer), pid in zip(parts, pipes, pids, strict=True):
            os.close(writer)
            assert os.waitpid(pid, 0)[1] == 0
            with open(reader) as file:
                assert json.loads(file.read()) == [wanted[number] for number in part]


def test_a_deflated_array_is_inflated_once(sample: Path, sample_mount: Mounted) -> None:
    name = "Imagenet16/train"
    with imagenetfs.open(sample, index_dir="none") as tree:
        split = tree[name]
        some = range(0, len(split), 40)
        found = [answer(lambda: [digest(split.read(n)) for n in some]) for _ in range(2)]
        theirs = [(sample_mount.mountpoint / split.path(n)).read_bytes() for n in some]
        assert found == [[digest(data) for data in theirs]] * 2


SPAWNED = """
import multiprocessing, sys, imagenetfs

def part(split, numbers):
    return split.read_many(numbers) == [split.read(n) for n in numbers] and len(split)

if __name__ == "__main__":
    for method in ("spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with imagenetfs.open(sys.argv[1], index_dir="none") as tree, context.Pool(1) as pool:
            split = tree["ILSVRC2012/val"]
            print(pool.apply(part, (split, [0, 5, 9])) == len(split))
"""


def test_spawn_and_forkserver(sample: Path, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(SPAWNED)
    done = subprocess.run(
        [sys.executable, program, sample], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("True\nTrue\n", "")
