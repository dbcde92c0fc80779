"""imagenetfs status: lines for people, all there is for programs, metrics for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cli import status
from imagenetfs.job.status import MountStatus
from tests.helpers.in_process import call

DETAILS: dict[str, Any] = {"pid": 4242, "version": "1.2.3", "workers": [{"state": "idle"}]}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[MountStatus]:
    """The mounts that there are."""
    mounts: list[MountStatus] = []
    monkeypatch.setattr(status, "collect", lambda mountpoint: mounts)
    monkeypatch.setattr(status, "add_cache_fill", lambda mounts: None)
    return mounts


def lines(capsys: pytest.CaptureFixture[str]) -> list[list[str]]:
    done = call(capsys, "status")
    assert (done.code, done.err) == (0, "")
    return [line.split("\t") for line in done.out.splitlines()]


def test_no_mounts(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(capsys, "status") == (
        *(0, ""),
        "imagenetfs: this user has no mount of imagenetfs here.\n",
    )
    done = call(capsys, "status", "--json")
    assert (done.code, json.loads(done.out), done.err) == (0, [], "")


def test_each_mount_is_shown(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    found += [MountStatus("/a", "/s", "stale"), MountStatus("/b", "/s", "live", DETAILS)]
    assert lines(capsys) == [
        ["mountpoint", "/a"],
        ["source", "/s"],
        ["state", "stale: its server has gone (imagenetfs umount takes it away)"],
        ["mountpoint", "/b"],
        ["source", "/s"],
        ["now", "1 worker"],
        ["problems", "none"],
        ["server", "process 4242, imagenetfs 1.2.3"],
    ]


def test_metrics_go_to_a_file(
    found: list[MountStatus], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    found.append(MountStatus("/m", "/s", "live", DETAILS))
    path = tmp_path / "x.prom"
    assert call(capsys, "status", "--metrics", path) == (0, "", "")
    assert 'imagenetfs_up{mountpoint="/m"} 1\n' in path.read_text()


@pytest.mark.parametrize("other", [["--watch"], ["--metrics", "x"]])
def test_json_goes_alone(
    found: list[MountStatus], capsys: pytest.CaptureFixture[str], other: list[str]
) -> None:
    done = call(capsys, "status", "--json", *other)
    assert (done.code, done.out) == (2, "")
    assert "--json goes with neither" in done.err


def test_for_programs(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    found.append(MountStatus("/m", "/s", "live", DETAILS))
    done = call(capsys, "status", "/m", "--json")
    [shown] = json.loads(done.out)
    assert shown == {**DETAILS, "mountpoint": "/m", "source": "/s", "state": "live"}
