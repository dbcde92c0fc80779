"""torchvision's own loaders on the mount, unmodified: the same classes, numbers
and pictures as extracted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers.late_imports import late_imports
from tests.helpers.loaders import torchvision_datasets
from tests.helpers.mounts import Mounted
from tests.helpers.randomness import seeded

if TYPE_CHECKING:
    import torch

_late = late_imports("torch", torch="torch")


@pytest.fixture(scope="module")
def datasets() -> Iterator[Any]:
    with torchvision_datasets() as found:
        yield found


@pytest.fixture(scope="module")
def extracted(sample: Path) -> Path:
    """The sample's own extracted directories: what the mount is compared with."""
    return sample / "ILSVRC2012"


def pixels(dataset: Any, at: int) -> bytes:
    image, _ = dataset[at]
    return bytes(image.tobytes())


def test_image_folder_train(datasets: Any, extracted: Path, sample_mount: Mounted) -> None:
    ours = datasets.ImageFolder(str(sample_mount.root / "train"))
    theirs = datasets.ImageFolder(str(extracted / "train"))
    assert ours.class_to_idx == theirs.class_to_idx
    assert ours.targets == theirs.targets
    names = [os.path.relpath(path, sample_mount.root / "train") for path, _ in ours.samples]
    assert names == [os.path.relpath(path, extracted / "train") for path, _ in theirs.samples]
    for at in seeded("images").sample(range(len(ours)), 100):
        assert pixels(ours, at) == pixels(theirs, at)


def test_image_folder_val(datasets: Any, extracted: Path, sample_mount: Mounted) -> None:
    train = datasets.ImageFolder(str(sample_mount.root / "train"))
    val = datasets.ImageFolder(str(sample_mount.root / "val"))
    assert val.class_to_idx == train.class_to_idx
    assert len(val) == len(list((extracted / "validation").rglob("*.JPEG")))


@pytest.mark.parametrize("split", ["train", "val"])
def test_imagenet(datasets: Any, sample_mount: Mounted, split: str) -> None:
    ours = datasets.ImageNet(str(sample_mount.root), split)
    folder = datasets.ImageFolder(str(sample_mount.root / split))
    assert ours.wnids == folder.classes
    assert ours.targets == folder.targets
    assert all(isinstance(names, tuple) for names in ours.classes)
    assert ours.class_to_idx[ours.classes[0][0]] == 0
    assert len(ours[0][0].getbands()) == 3


def test_data_loader(datasets: Any, sample_mount: Mounted) -> None:
    from torchvision import transforms

    look = transforms.Compose([transforms.Resize((32, 32)), transforms.ToTensor()])
    dataset = datasets.ImageFolder(str(sample_mount.root / "train"), look)
    loader = torch.utils.data.DataLoader(dataset, batch_size=32, shuffle=True, num_workers=2)
    seen = torch.cat([labels for _, labels in loader])
    assert sorted(seen.tolist()) == sorted(dataset.targets)
