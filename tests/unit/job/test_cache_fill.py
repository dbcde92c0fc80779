"""How full a cache is: what its directory says, by split; a disk that hangs is not waited for."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cache import inventory
from imagenetfs.cache.directory import prepare
from imagenetfs.cache.inventory import VolumeUsage
from imagenetfs.job import cache_fill
from imagenetfs.job.cache_fill import fills_of
from imagenetfs.job.status import MountStatus, add_cache_fill

TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"
VOLUMES = [
    VolumeUsage("/s", "ILSVRC2012", TRAIN, 100, bytes=40, allocated=50),
    VolumeUsage("/s", "ILSVRC2012", f"{TRAIN}: n01440764", 100, bytes=2, allocated=5),
    VolumeUsage("/s", "winter21_whole", "winter21_whole/n1.tar", 100, bytes=7, allocated=10),
    VolumeUsage("/s", "", "odd", 100, bytes=1, allocated=1),
    VolumeUsage("/other", "ILSVRC2012", TRAIN, 100, bytes=1000, allocated=2000),
]


@pytest.fixture
def details(tmp_path: Path) -> dict[str, Any]:
    prepare(tmp_path / "c")
    return {
        "source": "/s",
        "cache": {"directory": str(tmp_path / "c"), "size": 9},
        "versions": {"ILSVRC2012": {"train": {"archives": [TRAIN]}}, "winter21_whole": {}},
    }


def test_what_is_held_of_which_data(
    details: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "list_volumes", lambda directory: VOLUMES)
    held = {"ILSVRC2012/train": 42, "winter21_whole": 7, "other data": 1}
    assert fills_of([details]) == [{"used": 2066, "held": held}]
    entry = MountStatus("/m", "/s", "live", details)
    add_cache_fill([entry, MountStatus("/n", "/s", "stale")])
    assert entry.details["cache"]["used"] == 2066
    assert entry.details["cache"]["size"] == 9


def test_an_empty_cache(details: dict[str, Any]) -> None:
    assert fills_of([details]) == [{"used": 0, "held": {}}]


@pytest.mark.parametrize("cache", [None, {}, {"directory": "/nonexistent/c"}])
def test_nothing_where_there_is_no_cache(details: dict[str, Any], cache: object) -> None:
    assert fills_of([{**details, "cache": cache}]) == [None]


def test_a_disk_that_hangs_is_not_waited_for(
    details: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_fill, "ANSWER_SECONDS", 0.05)
    monkeypatch.setattr(inventory, "list_volumes", lambda directory: time.sleep(1000))
    assert fills_of([details, details]) == [None, None]
