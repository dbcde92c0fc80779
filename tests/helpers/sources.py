"""Small sources, made in a moment, for commands and trees that need no images."""

from __future__ import annotations

from pathlib import Path

from tests.helpers.archives import tar_of, train_tar

TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"
TEST = "ILSVRC2012/ILSVRC2012_img_test_v10102019.tar"


def train_and_test(root: Path, classes: int = 3, images: int = 3) -> Path:
    """``root``/ILSVRC2012 with a train tar of class tars n00000001 and on.

    And a test tar of two images.
    """
    write(root / TRAIN, train_tar(classes, images))
    names = (f"test/ILSVRC2012_test_{number:08d}.JPEG" for number in (1, 2))
    write(root / TEST, tar_of(dict.fromkeys(names, b"x" * 10)))
    return root


def write(path: Path, data: bytes) -> Path:
    """A file, and the directories around it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
