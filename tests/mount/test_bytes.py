"""Every file under ILSVRC2012 and ILSVRC2012_t3 equals what GNU tar
extracts, however it is read.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import Mounted
from tests.helpers.randomness import seeded


def extract(archive: Path, into: Path) -> Path:
    into.mkdir(parents=True)
    subprocess.run(["tar", "-xf", str(archive), "-C", str(into)], check=True)
    return into


@pytest.fixture(scope="module")
def origin(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Path in the mount -> the file that GNU tar extracted."""
    base, root = tmp_path_factory.mktemp("extracted"), sample / "ILSVRC2012"
    kit = root / "ILSVRC2012_devkit_t12" / "data"
    expected: dict[str, Path] = {}
    for split, name in (
        ("ILSVRC2012/train", "ILSVRC2012_img_train.tar"),
        ("ILSVRC2012_t3/train", "ILSVRC2012_img_train_t3.tar"),
    ):
        for class_tar in sorted(extract(root / name, base / name).iterdir()):
            below = extract(class_tar, base / f"{name}.classes" / class_tar.stem)
            expected |= {f"{split}/{class_tar.stem}/{p.name}": p for p in below.iterdir()}
    wnids = _wnid_by_id(kit / "meta.mat")
    truth = (kit / "ILSVRC2012_validation_ground_truth.txt").read_text().split()
    val = extract(root / "ILSVRC2012_img_val.tar", base / "val")
    for position, path in enumerate(sorted(val.iterdir())):
        expected[f"ILSVRC2012/val/{wnids[int(truth[position])]}/{path.name}"] = path
    test: dict[str, Path] = {}
    for name in ("ILSVRC2012_img_test_v10102019.tar", "ILSVRC2012_img_test_patch_v10102019.tar"):
        files = extract(root / name, base / name).rglob("*.JPEG")
        test |= {path.name: path for path in files}
    return expected | {f"ILSVRC2012/test/unlabeled/{name}": path for name, path in test.items()}


def _wnid_by_id(meta: Path) -> dict[int, str]:
    from scipy.io import loadmat

    rows = loadmat(meta, squeeze_me=True)["synsets"]
    return {int(r["ILSVRC2012_ID"]): str(r["WNID"]) for r in rows if int(r["num_children"]) == 0}


def shown(mountpoint: Path) -> Iterator[str]:
    """Every image below the splits, as a path relative to the mount."""
    for version in ("ILSVRC2012", "ILSVRC2012_t3"):
        for split in ("train", "val", "test"):
            for directory, _, names in os.walk(mountpoint / version / split):
                for name in names:
                    yield str((Path(directory) / name).relative_to(mountpoint))


def test_complete(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    found = list(shown(sample_mount.mountpoint))
    assert len(found) == len(set(found)) == len(origin)
    assert set(found) == set(origin)


def test_whole(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    for name, path in origin.items():
        assert (sample_mount.mountpoint / name).read_bytes() == path.read_bytes(), name


def test_random_pieces(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    choose = seeded("pieces")
    for name, path in choose.sample(sorted(origin.items()), 200):
        expected = path.read_bytes()
        fd = os.open(sample_mount.mountpoint / name, os.O_RDONLY)
        try:
            for _ in range(20):
                offset = choose.randrange(len(expected) + 100)
                length = choose.choice([1, 511, 512, 4096, 70000])
                assert os.pread(fd, length, offset) == expected[offset : offset + length]
        finally:
            os.close(fd)


def test_direct(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    name, path = max(origin.items(), key=lambda item: item[1].stat().st_size)
    fd = os.open(sample_mount.mountpoint / name, os.O_RDONLY | os.O_DIRECT)
    try:
        buffer = mmap.mmap(-1, 1 << 20)
        count = os.preadv(fd, [buffer], 0)
        assert buffer[:count] == path.read_bytes()
    finally:
        os.close(fd)


def test_mapped(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    for name, path in seeded("mapped").sample(sorted(origin.items()), 100):
        if path.stat().st_size == 0:
            continue
        with (sample_mount.mountpoint / name).open("rb") as file:
            with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as view:
                assert view[:] == path.read_bytes()


def test_eight_processes(sample_mount: Mounted, origin: dict[str, Path]) -> None:
    """Eight readers at once, each all files in an order of its own."""
    expected = {n: hashlib.md5(p.read_bytes()).hexdigest() for n, p in origin.items()}
    readers = []
    for number in range(8):
        names = sorted(origin)
        seeded("order", number).shuffle(names)
        command = ["xargs", "-0", "md5sum", "--zero", "--"]
        reader = subprocess.Popen(
            command, cwd=sample_mount.mountpoint, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert reader.stdin is not None
        reader.stdin.write("\0".join(names).encode())
        reader.stdin.close()
        readers.append(reader)
    for reader in readers:
        assert reader.stdout is not None
        lines = reader.stdout.read().decode().split("\0")
        reader.stdout.close()
        assert reader.wait() == 0
        assert dict(line.split("  ", 1)[::-1] for line in lines if line) == expected
