"""Fixtures of the tests of the index."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.shared_index import source_of_one
from tests.helpers.system_calls import patch_os


@pytest.fixture
def no_fsync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Index files are written without waiting for the disk."""
    patch_os(monkeypatch, "imagenetfs.index", fsync=lambda fd: None)


@pytest.fixture
def train(tmp_path: Path) -> Path:
    """A source with one archive, ``t.tar``."""
    return source_of_one(tmp_path)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where the index file of ``t.tar`` goes."""
    return tmp_path / "index" / "t.idx"
