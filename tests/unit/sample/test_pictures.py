"""The miniature's pictures can be learned, and what is learned holds in every version.

A softmax in numpy on down-sampled pixels, trained on ILSVRC2012/train alone: wherever a label is
wrong, it is wrong too.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import io as scipy_io

from imagenetfs.sample import make_sample
from tests.helpers.learning import Array, features, files, train

pytestmark = pytest.mark.slow


class Learned:
    """A model of a sample's train images; labels are wnids, as each version tells them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.wnids = sorted(path.name for path in (root / "ILSVRC2012/train").iterdir())
        rows, labels = [], []
        for label, wnid in enumerate(self.wnids):
            rows.append(files((root / "ILSVRC2012/train" / wnid).iterdir()))
            labels += [label] * len(rows[-1])
        self.model = train(np.concatenate(rows), np.array(labels), len(self.wnids))
        kit = root / "ILSVRC2012/ILSVRC2012_devkit_t12/data"
        synsets = scipy_io.loadmat(kit / "meta.mat", squeeze_me=True)["synsets"]
        self.wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in synsets}
        truth = (kit / "ILSVRC2012_validation_ground_truth.txt").read_text()
        self.truth = [self.wnid_of[int(line)] for line in truth.split("\n")]

    def right(self, rows: Array, wnids: Iterable[str]) -> float:
        """The share of rows whose highest score is that of their class."""
        labels = np.array([self.wnids.index(wnid) for wnid in wnids])
        return float((self.model.scores(rows).argmax(axis=1) == labels).mean())


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Learned:
    root = tmp_path_factory.mktemp("learned") / "imagenet"
    make_sample(root, images=40, seed=3)
    return Learned(root)


def test_val(learned: Learned) -> None:
    rows = files(sorted((learned.root / "ILSVRC2012/validation").iterdir()))
    assert learned.right(rows, learned.truth) > 0.9


@pytest.mark.parametrize("side", [8, 16, 32, 64])
def test_downsampled_val(learned: Learned, side: int) -> None:
    path = learned.root / f"DownSampled/Imagenet{side}_val_npz/val_data.npz"
    with np.load(path, allow_pickle=False) as arrays:
        pixels = arrays["data"].reshape(-1, 3, side, side).transpose(0, 2, 3, 1)
        wnids = [learned.wnid_of[int(label)] for label in arrays["labels"]]
    rows = np.array([features(Image.fromarray(each)) for each in pixels])
    assert learned.right(rows, wnids) > 0.9


def test_downsampled_train(learned: Learned) -> None:
    root = learned.root / "DownSampled/Imagenet16_train_npz"
    for path in sorted(root.iterdir()):
        with np.load(path, allow_pickle=False) as arrays:
            pixels = arrays["data"].reshape(-1, 3, 16, 16).transpose(0, 2, 3, 1)
            wnids = [learned.wnid_of[int(label)] for label in arrays["labels"]]
        rows = np.array([features(Image.fromarray(each)) for each in pixels])
        assert learned.right(rows, wnids) > 0.9


def test_tiny_val(learned: Learned) -> None:
    root = learned.root / "tiny-imagenet-200/val"
    lines = [line.split("\t") for line in (root / "val_annotations.txt").read_text().splitlines()]
    rows = files(root / "images" / line[0] for line in lines)
    assert learned.right(rows, [line[1] for line in lines]) > 0.9


def test_dogs_and_winter21(learned: Learned) -> None:
    for directory in (learned.root / "ILSVRC2012/train_T3", learned.root / "winter21_whole"):
        for wnid in {path.name for path in directory.iterdir()} & set(learned.wnids):
            paths = [path for path in (directory / wnid).iterdir() if readable(path)]
            assert learned.right(files(paths), [wnid] * len(paths)) > 0.8


def readable(path: Path) -> bool:
    return path.read_bytes()[:2] == b"\xff\xd8"


def test_wrong_labels_would_show(learned: Learned) -> None:
    rows = files(sorted((learned.root / "ILSVRC2012/validation").iterdir()))
    shifted = [learned.wnids[(learned.wnids.index(wnid) + 1) % 10] for wnid in learned.truth]
    assert learned.right(rows, shifted) < 0.1
