"""imagenetfs status: a table for people, all there is for programs."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from imagenetfs.cli import status
from imagenetfs.job.status import MountStatus
from tests.helpers.in_process import call

DETAILS: dict[str, Any] = {
    "pid": 4242,
    "version": "1.2.3",
    "started": 1000.0,
    "workers": [{"state": "idle"}, {"state": "in the source"}, {}],
    "worker_restarts": 2,
    "versions": {"ILSVRC2012": {}, "winter21_whole": {}},
    "cache": {"directory": "/c", "size": 3 << 30},
    "counters": {
        "opens": 12345,
        "source_bytes": 1536,
        "errors": {"EIO": 3, "ESTALE": 0},
        "refusals": {"EACCES": 0},
        "mode": "fast",
    },
    "log": "/log/x.log",
    "warnings": ["one", "two"],
}


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> list[MountStatus]:
    """The mounts that there are."""
    mounts: list[MountStatus] = []
    monkeypatch.setattr(status, "collect", lambda mountpoint: mounts)
    monkeypatch.setattr(time, "time", lambda: 1000.0 + 3725)
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


def test_a_mount_that_lives(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    found.append(MountStatus("/m", "/s", "live", DETAILS))
    assert lines(capsys) == [
        ["mountpoint", "/m"],
        ["source", "/s"],
        ["server", "process 4242, imagenetfs 1.2.3"],
        ["up for", "1 h 02 min"],
        ["workers", "3, 2 restarts, 1 in the source"],
        ["versions", "ILSVRC2012, winter21_whole"],
        ["cache", "/c, at most 3.0 GiB"],
        ["opens", "12,345"],
        ["source bytes", "1.5 KiB"],
        ["errors", "EIO 3"],
        ["refusals", "0"],
        ["mode", "fast"],
        ["log", "/log/x.log"],
        ["warning", "one"],
        ["warning", "two"],
    ]


def test_a_server_of_another_version_may_say_less(
    found: list[MountStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    found.append(MountStatus("/m", "/s", "live", {}))
    assert lines(capsys) == [
        ["mountpoint", "/m"],
        ["source", "/s"],
        ["server", "process ?, imagenetfs ?"],
        ["workers", "0, 0 restarts"],
    ]


def test_a_cache_in_trouble(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    cache = {"directory": "/c", "size": 1024, "steps_aside": "the disk is full"}
    found.append(MountStatus("/m", "/s", "live", {"cache": cache}))
    assert ["cache", "/c, at most 1.0 KiB; steps aside now: the disk is full"] in lines(capsys)


def test_mounts_without_an_answer(
    found: list[MountStatus], capsys: pytest.CaptureFixture[str]
) -> None:
    found += [MountStatus("/a", "/s", "stale"), MountStatus("/b", "/s", "silent")]
    assert lines(capsys) == [
        ["mountpoint", "/a"],
        ["source", "/s"],
        ["state", "stale: its server has gone (imagenetfs umount takes it away)"],
        ["mountpoint", "/b"],
        ["source", "/s"],
        ["state", "does not answer"],
    ]


def test_for_programs(found: list[MountStatus], capsys: pytest.CaptureFixture[str]) -> None:
    found.append(MountStatus("/m", "/s", "live", DETAILS))
    done = call(capsys, "status", "/m", "--json")
    [shown] = json.loads(done.out)
    assert shown == {**DETAILS, "mountpoint": "/m", "source": "/s", "state": "live"}
