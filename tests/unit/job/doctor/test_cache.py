"""The line on the read cache: none, too small, large enough, out of order."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config import Settings
from imagenetfs.job.doctor import cache
from imagenetfs.job.doctor.findings import Finding, Grade
from tests.helpers.mount_table import MountTable

GB = 10**9
SIZES = {"ILSVRC2012/train": 138 * GB, "ILSVRC2012/val": 6 * GB}


@pytest.fixture
def mount_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MountTable:
    return MountTable(tmp_path, monkeypatch)


def settings_with(**given: object) -> Settings:
    return config.resolve(given, {})


def line_of(sizes: dict[str, int], **given: object) -> Finding:
    [line] = cache.cache(settings_with(**given), sizes)
    return line


def test_none_beside_a_source_on_this_node(mount_table: MountTable) -> None:
    line = line_of(SIZES, cache_dir="none", source="/datashare")
    assert (line.grade, line.advice) == (Grade.GREEN, "")
    assert line.what == "none is set, and a source on this node needs none"


@pytest.mark.parametrize(
    ("kind", "through"),
    [
        ("nfs4", "over the network"),
        ("lustre", "over the network"),
        ("fuse.sshfs", "through the program that shows it"),
    ],
)
def test_none_beside_a_source_on_the_network(
    mount_table: MountTable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    through: str,
) -> None:
    """The line has an option that can be pasted: the first disk of this node that can be used."""
    mount_table.add("/datashare", fstype=kind)
    for name in ("memory", "network", "disk"):
        (tmp_path / name).mkdir()
    mount_table.add(tmp_path / "memory", fstype="tmpfs")
    mount_table.add(tmp_path / "network", fstype="nfs")
    places = [tmp_path / name for name in ("not there", "memory", "network", "disk")]
    monkeypatch.setattr(cache, "_LOCAL", places)
    line = line_of(SIZES, cache_dir="none", source="/datashare/imagenet")
    assert line.grade is Grade.YELLOW
    assert line.what == f"none is set, so each epoch reads all of the source {through} ({kind})"
    assert f"--cache-dir {tmp_path}/disk/$USER-imagenet keeps" in line.advice
    monkeypatch.setattr(cache, "_LOCAL", places[:3])
    line = line_of(SIZES, cache_dir="none", source="/datashare/imagenet")
    assert "--cache-dir DIR, on a disk of this node, keeps" in line.advice


@pytest.mark.parametrize(
    ("room", "grade", "said"),
    [
        (28, Grade.YELLOW, "has room for 28.0 GB: 20 % of ILSVRC2012/train (138.0 GB)"),
        (200, Grade.GREEN, "has room for 200.0 GB: ILSVRC2012/train (138.0 GB) fits"),
    ],
)
def test_whether_it_holds_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int, grade: Grade, said: str
) -> None:
    monkeypatch.setattr(cache, "_room", lambda place, settings: (room * GB, 0))
    line = line_of(SIZES, cache_dir=str(tmp_path))
    assert (line.grade, line.what) == (grade, f"{tmp_path} {said}")
    assert bool(line.advice) is (grade is Grade.YELLOW)


def test_what_it_may_have_is_what_the_settings_say(tmp_path: Path) -> None:
    place = tmp_path / "not" / "there"
    line = line_of({}, cache_dir=str(place), cache_size="10M", keep_free="0")
    assert line.facts == {"path": str(place), "room": 10**7, "held": 0}
    assert not place.exists()
    line = line_of({}, cache_dir=str(place), cache_size="10M", keep_free="100%")
    assert line.facts["room"] == 0


def test_one_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    for name in ("file", "loop"):
        line = line_of({}, cache_dir=str(tmp_path / name / "x"))
        assert (line.grade, line.advice) == (
            Grade.RED,
            "name another directory of this node with --cache-dir",
        )
