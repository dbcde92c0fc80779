"""The root directory of a mount for all users has the source's owner, group and rights."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs.job.server import root_access_of


@pytest.mark.parametrize(("mode", "shown"), [(0o2750, 0o750), (0o777, 0o755), (0o500, 0o700)])
def test_what_the_source_lets_in(tmp_path: Path, mode: int, shown: int) -> None:
    tmp_path.chmod(mode)
    assert root_access_of(tmp_path) == (os.geteuid(), tmp_path.stat().st_gid, shown)


def test_a_source_that_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o710)
    (tmp_path / "link").symlink_to("there")
    assert root_access_of(tmp_path / "link")[2] == 0o710


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        root_access_of(tmp_path / "none")
