"""A small source, and the tree of it that tests read and do not close."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from tests.helpers.sources import train_and_test


@pytest.fixture(scope="module")
def shared_source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_and_test(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def shared_tree(shared_source: Path) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(shared_source, index_dir="none") as tree:
        yield tree
