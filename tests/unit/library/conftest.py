"""Small sources, opened for tests that read and do not close them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs.config import resolve
from imagenetfs.library.opened import OpenedSource
from imagenetfs.library.settings import spec_of
from tests.helpers.devkit import meta_mat
from tests.helpers.sources import train_and_test
from tests.helpers.trees import ilsvrc2012

VIEW = "word 1\nval/n00000007\n"


@pytest.fixture(scope="module")
def shared_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_and_test(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def shared_tree(shared_source: Path) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(shared_source, index_dir="none") as tree:
        yield tree


@pytest.fixture(scope="package")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenedSource]:
    """ILSVRC2012 with a devkit that has glosses and parents, and a view."""
    root = ilsvrc2012(tmp_path_factory.mktemp("described") / "imagenet")
    kit = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data" / "meta.mat"
    kit.write_bytes(meta_mat(above=True))
    (root / "mine.txt").write_text(VIEW)
    given = {"source": str(root), "index_dir": "none", "view": [f"mine={root / 'mine.txt'}"]}
    source = OpenedSource(spec_of(resolve(given, {})))
    yield source
    source.close()
