"""torchvision beside any torch, and what every version and split of the sample must show."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

SPLITS = [
    "ILSVRC2012/train",
    "ILSVRC2012/val",
    "ILSVRC2012/test",
    "ILSVRC2012_t3/train",
    "winter21_whole/train",
    "tiny-imagenet-200/train",
    "tiny-imagenet-200/val",
    "tiny-imagenet-200/test",
    *(f"Imagenet{side}/{split}" for side in (8, 16, 32, 64) for split in ("train", "val")),
]


@contextmanager
def torchvision_datasets() -> Iterator[Any]:
    """torchvision.datasets, also beside a torch for the CPU that lacks two
    operators of detection models.

    Where it has them, they must not be defined a second time: the library that brings them aborts.
    """
    torch = pytest.importorskip("torch")
    library = None
    try:
        pytest.importorskip("torchvision")
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            library.define(operator + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield pytest.importorskip("torchvision.datasets")
    del library


def walked(root: Path) -> list[tuple[str, int]]:
    """(path of an image, label by sorted class directory), by a plain walk."""
    classes = sorted(os.listdir(root))
    return [
        (str(root / name / image), label)
        for label, name in enumerate(classes)
        for image in sorted(os.listdir(root / name))
    ]
