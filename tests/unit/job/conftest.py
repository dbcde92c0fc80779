"""Fixtures of the tests of a mount's run directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.run_dir import ensure_private


@pytest.fixture
def place(tmp_path: Path) -> MountPaths:
    """The run directory's files of a mount at ``/mnt/x``."""
    ensure_private(tmp_path / ".run")
    return MountPaths(Path("/mnt/x"), tmp_path)
