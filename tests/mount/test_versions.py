"""winter21_whole, tiny-imagenet-200 and Imagenet8 to 64: every file equals its
origin, counted and complete.

What is expected is computed from the source by other programs: GNU tar, numpy, scipy, a walk.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from tests.helpers import learning
from tests.helpers.mounts import Mounted

SIDES = (8, 16, 32, 64)
LABEL_FILES = {
    "wnids.txt",
    "words.txt",
    "labels.txt",
    "LOC_synset_mapping.txt",
    "imagenet_class_index.json",
    "meta.bin",
}


def wnid_by_id(sample: Path) -> dict[int, str]:
    meta = sample / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    rows = loadmat(meta, squeeze_me=True)["synsets"]
    return {int(r["ILSVRC2012_ID"]): str(r["WNID"]) for r in rows if int(r["num_children"]) == 0}


def images(root: Path) -> Iterator[str]:
    """Every file below a directory, relative to it."""
    for directory, _, names in os.walk(root):
        for name in names:
            yield str((Path(directory) / name).relative_to(root))


@pytest.fixture(scope="module")
def winter(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Path below train/ -> the file that GNU tar extracted, or the extracted directory's own."""
    base, root = tmp_path_factory.mktemp("winter"), sample / "winter21_whole"
    found: dict[str, Path] = {}
    for directory in sorted(root.iterdir()):
        if directory.name != "tars":
            found |= {f"{directory.name}/{path.name}": path for path in directory.iterdir()}
    for tar in sorted((root / "tars").iterdir()):
        found = {k: v for k, v in found.items() if not k.startswith(f"{tar.stem}/")}
        below = base / tar.stem
        below.mkdir()
        subprocess.run(["tar", "-xf", str(tar), "-C", str(below)], check=True)
        found |= {f"{tar.stem}/{path.name}": path for path in below.iterdir()}
    return found


def test_winter21(winter: dict[str, Path], sample_mount: Mounted) -> None:
    train = sample_mount.mountpoint / "winter21_whole" / "train"
    assert sorted(images(train)) == sorted(winter)
    for name, path in winter.items():
        assert (train / name).read_bytes() == path.read_bytes()
        assert (train / name).stat().st_mtime_ns == path.stat().st_mtime_ns


def test_winter21_answers_under_its_old_names(
    winter: dict[str, Path], sample_mount: Mounted
) -> None:
    root = sample_mount.mountpoint / "winter21_whole"
    for name in winter:
        assert (root / name).stat().st_ino == (root / "train" / name).stat().st_ino
    wnid = next(iter(winter)).partition("/")[0]
    assert (root / wnid).stat().st_ino != (root / "train" / wnid).stat().st_ino
    assert wnid not in os.listdir(root)


def test_tiny(sample: Path, sample_mount: Mounted) -> None:
    root = sample / "tiny-imagenet-200"
    lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
    expected = {
        f"train/{path.parts[-3]}/{path.name}": path for path in root.glob("train/*/images/*")
    }
    expected |= {
        f"val/{line.split()[1]}/{line.split()[0]}": root / "val" / "images" / line.split()[0]
        for line in lines
    }
    expected |= {f"test/unlabeled/{path.name}": path for path in root.glob("test/images/*")}
    shown = sample_mount.mountpoint / "tiny-imagenet-200"
    found = [f"{split}/{n}" for split in ("train", "val", "test") for n in images(shown / split)]
    assert sorted(found) == sorted(expected)
    for name, path in expected.items():
        assert (shown / name).read_bytes() == path.read_bytes()


def rows_of(sample: Path, side: int, split: str) -> Iterator[tuple[str, Any, int]]:
    """(name of the picture, its pixels, its label) of every row of every npz, by numpy."""
    for path in sample.glob(f"DownSampled/Imagenet{side}_{split}*_npz/*.npz"):
        with np.load(path, allow_pickle=False) as arrays:
            pixels = arrays["data"].reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
            for row, (picture, label) in enumerate(zip(pixels, arrays["labels"], strict=True)):
                yield f"{path.stem}_{row:06d}.png", picture, int(label)


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("side", SIDES)
def test_downsampled(sample: Path, sample_mount: Mounted, side: int, split: str) -> None:
    wnids, shown = wnid_by_id(sample), sample_mount.mountpoint / f"Imagenet{side}" / split
    expected = {
        f"{wnids[label]}/{name}": pixels for name, pixels, label in rows_of(sample, side, split)
    }
    assert sorted(images(shown)) == sorted(expected)
    for name, pixels in expected.items():
        with Image.open(shown / name) as image:
            assert image.format == "PNG"
            assert np.array_equal(np.asarray(image), pixels)
        assert (shown / name).stat().st_size == len((shown / name).read_bytes())


def test_pictures_are_read_in_pieces_too(sample_mount: Mounted) -> None:
    for path in sorted((sample_mount.mountpoint / "Imagenet64" / "val").glob("*/*"))[::20]:
        whole = path.read_bytes()
        with path.open("rb", buffering=0) as file:
            for start in (0, 1, 4095, 4096, 12000, 12419, 12420, 20000):
                assert os.pread(file.fileno(), 5000, start) == whole[start : start + 5000]


def test_batches_are_listed_in_their_own_order(sample_mount: Mounted) -> None:
    for directory in (sample_mount.mountpoint / "Imagenet64" / "train").iterdir():
        names = [entry.name for entry in os.scandir(directory)]
        keys = [tuple(map(int, name[:-4].rsplit("_", 2)[1:])) for name in names]
        assert keys == sorted(keys)
        assert {batch for batch, _ in keys} >= {2, 10}


def test_nothing_else_is_shown(sample_mount: Mounted) -> None:
    root = sample_mount.mountpoint
    versions = {"winter21_whole", "tiny-imagenet-200", *(f"Imagenet{side}" for side in SIDES)}
    assert set(os.listdir(root)) == {
        *versions,
        "ILSVRC2012",
        "ILSVRC2012_t3",
        "archives",
    }
    for version in versions:
        names = set(os.listdir(root / version))
        assert names - {"train", "val", "test", "meta"} == LABEL_FILES - {"meta.bin"}


def test_class_names_come_from_whichever_file_knows_them(
    sample: Path, sample_mount: Mounted
) -> None:
    lines = (sample / "tiny-imagenet-200" / "words.txt").read_text().splitlines()
    nouns = dict(line.split("\t") for line in lines)
    root = sample_mount.mountpoint
    for version in ("winter21_whole", "tiny-imagenet-200", "Imagenet8"):
        wnids = sorted(os.listdir(root / version / "train"))
        assert (root / version / "wnids.txt").read_text().split() == wnids
        words = dict(
            line.split("\t") for line in (root / version / "words.txt").read_text().splitlines()
        )
        assert list(words) == wnids
        assert all(words[wnid] == nouns[wnid] for wnid in wnids)


LABELLED = [
    "ILSVRC2012/val",
    "ILSVRC2012_t3/train",
    "winter21_whole/train",
    "tiny-imagenet-200/train",
    "tiny-imagenet-200/val",
    *(f"Imagenet{side}/{split}" for side in SIDES for split in ("train", "val")),
]


@pytest.fixture(scope="module")
def learned(sample_mount: Mounted) -> tuple[list[str], learning.Softmax]:
    """The classes of ILSVRC2012/train as the mount shows it, and a model that tells them apart."""
    train = sample_mount.mountpoint / "ILSVRC2012" / "train"
    wnids = sorted(os.listdir(train))
    rows = [learning.files((train / wnid).iterdir()) for wnid in wnids]
    labels = np.repeat(np.arange(len(wnids)), [len(part) for part in rows])
    return wnids, learning.train(np.concatenate(rows), labels, len(wnids))


@pytest.mark.parametrize("split", LABELLED)
def test_labels_line_up_across_versions(
    learned: tuple[list[str], learning.Softmax], sample_mount: Mounted, split: str
) -> None:
    """What is on a picture says its class, whichever version it stands in."""
    wnids, model = learned
    root = sample_mount.mountpoint / split
    shared = sorted(set(wnids) & set(os.listdir(root)))
    assert shared
    if split.startswith(("ILSVRC2012/", "Imagenet")):
        assert shared == wnids == sorted(os.listdir(root))
    right = total = 0
    for wnid in shared:
        pictures = [path for path in (root / wnid).iterdir() if decodable(path)]
        scores = model.scores(learning.files(pictures))
        right += int((scores.argmax(axis=1) == wnids.index(wnid)).sum())
        total += len(scores)
    assert right / total > 0.9


def decodable(path: Path) -> bool:
    """winter21 has images that are gzip streams."""
    with path.open("rb") as file:
        return file.read(2) in (b"\xff\xd8", b"\x89P")
