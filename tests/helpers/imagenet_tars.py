"""ILSVRC2012's archives by Python's own tarfile: what a mount of them must show."""

from __future__ import annotations

import tarfile
from pathlib import Path

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


def train_images(archive: Path) -> dict[str, bytes]:
    """Class/image -> bytes of a tar of class tars, by Python's own tarfile."""
    found = {}
    with tarfile.open(archive) as outer:
        for member in outer.getmembers():
            with tarfile.open(fileobj=outer.extractfile(member)) as inner:
                wnid = member.name.removesuffix(".tar")
                for image in inner.getmembers():
                    data = inner.extractfile(image)
                    assert data is not None
                    found[f"{wnid}/{image.name}"] = data.read()
    return found
