"""Fixtures of the tests over a slow or refusing source."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.imagenet_tars import TRAIN, VAL, train_images
from tests.helpers.user_bench import Make, places


@pytest.fixture(scope="session")
def images(sample: Path) -> dict[str, bytes]:
    """Path below ILSVRC2012 in the mount -> bytes, by Python's own tarfile; val by name alone."""
    train = train_images(sample / "ILSVRC2012" / TRAIN)
    found = {f"train/{name}": data for name, data in train.items()}
    with tarfile.open(sample / "ILSVRC2012" / VAL) as flat:
        for image in flat.getmembers():
            data = flat.extractfile(image)
            assert data is not None
            found[f"val/{image.name}"] = data.read()
    return found


@pytest.fixture
def base() -> Iterator[Path]:
    """A directory that every user may enter."""
    directory = Path(tempfile.mkdtemp(prefix="nfs-", dir=Path(os.environ["TMPDIR"]).parent))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def make(base: Path) -> Iterator[Make]:
    yield from places(base)
