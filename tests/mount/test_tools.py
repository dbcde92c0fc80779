"""Ordinary programs on every version: a walk, find, du, cp, tar and rsync see
and copy the same files.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.helpers.mounts import Mounted

VERSIONS = [
    "ILSVRC2012",
    "ILSVRC2012_t3",
    "winter21_whole",
    "tiny-imagenet-200",
    *(f"Imagenet{side}" for side in (8, 16, 32, 64)),
]


def sums(root: Path) -> dict[str, str]:
    return {
        os.path.relpath(Path(directory) / name, root): hashlib.sha256(
            (Path(directory) / name).read_bytes()
        ).hexdigest()
        for directory, _, names in os.walk(root)
        for name in names
    }


def run(*command: object) -> str:
    done = subprocess.run(
        [str(part) for part in command], check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_the_same_for_all(sample_mount: Mounted, tmp_path: Path, version: str) -> None:
    root = sample_mount.mountpoint / version
    expected = sums(root)
    found = run("find", root, "-type", "f", "-printf", "%P\\n").splitlines()
    assert sorted(found) == sorted(expected)
    size = sum((root / name).stat().st_size for name in expected)
    listed = run("find", root, "-type", "f", "-printf", "%s\\n").split()
    assert sum(map(int, listed)) == size
    assert int(run("du", "-s", "--apparent-size", "-B1", root).split()[0]) == size
    blocks = sum(-(-(root / name).stat().st_size // 512) for name in expected)
    assert int(run("du", "-s", "-B512", root).split()[0]) == blocks

    run("cp", "-r", root, tmp_path / "cp")
    assert sums(tmp_path / "cp") == expected

    (tmp_path / "tar").mkdir()
    archive = tmp_path / "whole.tar"
    run("tar", "-cf", archive, "-C", root, ".")
    run("tar", "-xf", archive, "-C", tmp_path / "tar")
    assert sums(tmp_path / "tar") == expected


@pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")
@pytest.mark.parametrize("version", VERSIONS)
def test_rsync(sample_mount: Mounted, tmp_path: Path, version: str) -> None:
    root = sample_mount.mountpoint / version
    run("rsync", "-rc", f"{root}/", tmp_path / "rsync")
    assert sums(tmp_path / "rsync") == sums(root)
    assert run("rsync", "-rcni", "--delete", f"{root}/", tmp_path / "rsync").strip() == ""


def test_rsync_keeps_hard_links_of_archives(tmp_path: Path, sample_mount: Mounted) -> None:
    """Nothing in two views is a hard link, so nothing is linked in a copy of both."""
    root = sample_mount.mountpoint
    few = [root / "winter21_whole" / "train" / "n00004475", root / "archives" / "winter21_whole"]
    for path in few:
        assert all(file.stat().st_nlink == 1 for file in path.rglob("*") if file.is_file())
