"""keras.utils.image_dataset_from_directory on every version and split.

TensorFlow needs an environment of its own: ``make test-keras`` makes one and runs this file alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.loaders import SPLITS, walked
from tests.helpers.mounts import Mounted

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
tensorflow = pytest.importorskip("tensorflow")

READABLE = [split for split in SPLITS if not split.startswith("winter21")]
"""Keras decodes all it is given; winter21 has images that nothing decodes."""


@pytest.mark.parametrize("split", READABLE)
def test_image_dataset_from_directory(sample_mount: Mounted, split: str) -> None:
    root = sample_mount.mountpoint / split
    dataset: Any = tensorflow.keras.utils.image_dataset_from_directory(
        str(root), shuffle=False, batch_size=50, image_size=(16, 16), verbose=False
    )
    expected = walked(root)
    assert dataset.class_names == sorted({Path(path).parent.name for path, _ in expected})
    assert sorted(dataset.file_paths) == sorted(path for path, _ in expected)
    labels = dict(expected)
    seen = [int(label) for _, batch in dataset.take(4) for label in batch]
    assert seen == [labels[path] for path in dataset.file_paths[: len(seen)]]


def test_winter21_is_listed_too(sample_mount: Mounted) -> None:
    root = sample_mount.mountpoint / "winter21_whole" / "train"
    dataset: Any = tensorflow.keras.utils.image_dataset_from_directory(
        str(root), shuffle=False, verbose=False
    )
    assert sorted(dataset.file_paths) == sorted(path for path, _ in walked(root))
