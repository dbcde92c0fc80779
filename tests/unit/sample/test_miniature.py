"""The default miniature: complete, small, the same every time, with every trap in its place.

Everything is checked by programs other than this project: tarfile, numpy, scipy, Pillow, hashlib.
"""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from imagenetfs.sample import make_sample, synsets

ILSVRC2012_TARS = (
    "ILSVRC2012_img_test_patch_v10102019.tar",
    "ILSVRC2012_img_test_v10102019.tar",
    "ILSVRC2012_img_train_t3.tar",
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
)


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Path -> mode, mtime in ns, digest of the content."""
    seen = {}
    for path in sorted(root.rglob("*")):
        state = path.stat()
        content = path.read_bytes() if path.is_file() else b"directory"
        seen[str(path.relative_to(root))] = (
            state.st_mode,
            state.st_mtime_ns,
            hashlib.sha256(content).hexdigest(),
        )
    return seen


# --- the tree as a whole ------------------------------------------------------------------------


@pytest.mark.slow
def test_same_seed_gives_the_same_tree(tmp_path: Path) -> None:
    make_sample(tmp_path / "one", classes=3, images=12, seed=7)
    time.sleep(2)  # times within zip and MAT-files have steps of up to two seconds
    mask = os.umask(0o077)
    try:
        make_sample(tmp_path / "two", classes=3, images=12, seed=7)
    finally:
        os.umask(mask)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


@pytest.mark.slow
def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_sample(tmp_path / str(seed), classes=1, images=4, seed=seed)
    one, two = (tmp_path / str(seed) / "ILSVRC2012" / "ILSVRC2012_img_val.tar" for seed in (1, 2))
    assert one.read_bytes() != two.read_bytes()


def test_size(sample: Path) -> None:
    files = [path.stat() for path in sample.rglob("*") if path.is_file()]
    assert sum(state.st_size for state in files) < 60_000_000
    assert sum(state.st_blocks * 512 for state in files) < 60_000_000
    assert all(state.st_nlink == 1 for state in files)


def test_every_file_of_the_listing_is_there(sample: Path) -> None:
    assert {path.name for path in sample.iterdir()} == {
        "DownSampled",
        "ILSVRC2012",
        "tiny-imagenet-200",
        "winter21_whole",
    }
    ilsvrc = {path.name for path in (sample / "ILSVRC2012").iterdir()}
    directories = {"test", "train", "train_T3", "validation"}
    kits = {"ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t3"}
    assert ilsvrc == {*ILSVRC2012_TARS, *directories, *kits, "ILSVRC2012.md5"}
    winter = {path.name for path in (sample / "winter21_whole").iterdir()}
    assert {"n00004475", "n00007846", "tars", *synsets.FIRST_TEN} <= winter
    assert (sample / "winter21_whole/tars/n15102894.tar").is_file()
    tiny = {path.name for path in (sample / "tiny-imagenet-200").iterdir()}
    assert tiny == {"test", "train", "val", "wnids.txt", "words.txt"}
