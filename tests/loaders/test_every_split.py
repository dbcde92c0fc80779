"""Real loaders on every version and split: the same images, counts and labels as a plain walk."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.loaders import SPLITS, torchvision_datasets, walked
from tests.helpers.mounts import Mounted


@pytest.fixture(scope="module")
def torchvision() -> Iterator[Any]:
    with torchvision_datasets() as datasets:
        yield datasets


def decodable(path: str) -> bool:
    return Path(path).read_bytes()[:2] in (b"\xff\xd8", b"\x89P") and "_47249" not in path


@pytest.mark.parametrize("split", SPLITS)
def test_image_folder(torchvision: Any, sample_mount: Mounted, split: str) -> None:
    root = sample_mount.mountpoint / split
    dataset = torchvision.ImageFolder(str(root))
    assert dataset.samples == walked(root)
    for at in range(0, len(dataset), 40):
        if decodable(dataset.samples[at][0]):
            image, label = dataset[at]
            assert image.mode == "RGB"
            assert label == dataset.samples[at][1]


@pytest.mark.parametrize("split", SPLITS)
def test_timm(torchvision: Any, sample_mount: Mounted, split: str) -> None:
    timm = pytest.importorskip("timm.data")
    version, name = split.split("/")
    dataset = timm.create_dataset("folder", str(sample_mount.mountpoint / version), split=name)
    found = sorted((path, label) for path, label in dataset.reader.samples)
    assert found == sorted(walked(sample_mount.mountpoint / split))


@pytest.mark.parametrize(
    "version",
    [
        "ILSVRC2012",
        "ILSVRC2012_t3",
        "winter21_whole",
        "tiny-imagenet-200",
        "Imagenet8",
        "Imagenet16",
        "Imagenet32",
        "Imagenet64",
    ],
)
def test_datasets(
    sample_mount: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    root = sample_mount.mountpoint / version
    splits = {"train": "train", "val": "validation", "test": "test"}  # their name for val
    splits = {ours: theirs for ours, theirs in splits.items() if (root / ours).is_dir()}
    every = sorted({Path(p).parent.name for name in splits for p, _ in walked(root / name)})
    found = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path))
    assert sorted(found) == sorted(splits.values())
    for ours, theirs in splits.items():
        split = found[theirs].cast_column("image", datasets.Image(decode=False))
        names = split.features["label"].names
        assert names == every
        shown = sorted((row["image"]["path"], names[row["label"]]) for row in split)
        assert shown == sorted((p, Path(p).parent.name) for p, _ in walked(root / ours))


def test_datasets_with_the_labelled_splits_alone(
    sample_mount: Mounted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As README says: test's `unlabeled` is no class, so the labels are those of ImageFolder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    root = sample_mount.root
    files = {"train": f"{root}/train/**", "validation": f"{root}/val/**"}
    found = datasets.load_dataset("imagefolder", data_files=files, cache_dir=str(tmp_path))
    for ours, theirs in (("train", "train"), ("val", "validation")):
        split = found[theirs].cast_column("image", datasets.Image(decode=False))
        assert split.features["label"].names == (root / "wnids.txt").read_text().split()
        shown = sorted((row["image"]["path"], row["label"]) for row in split)
        assert shown == sorted(walked(root / ours))
