"""Which file a mount logs to, and how many of them stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.job import logs
from imagenetfs.job.mount_paths import MountPaths


def test_logs_of_two_mountpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = logs.log_path(MountPaths(Path("/a/b c"), tmp_path), config.resolve())
    two = logs.log_path(MountPaths(Path("/a/b-c"), tmp_path), config.resolve())
    assert one != two
    assert one.parent == tmp_path / "imagenetfs" / "log"
    assert one.name.startswith("a-b-c-")
    long = MountPaths(Path("/x" * 200), tmp_path)
    assert len(logs.log_path(long, config.resolve()).name) < 120
    named = config.resolve({"log": "/x.log"})
    assert logs.log_path(MountPaths(Path("/a"), tmp_path), named) == Path("/x.log")


def test_logs_of_two_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    jobs = [
        MountPaths(Path("/media/imagenet"), Path("/media"), job) for job in ("12", "13", "12.0")
    ]
    assert len({logs.log_path(place, config.resolve()) for place in jobs}) == 3
    assert all(place.is_private for place in jobs)


def test_old_logs_are_forgotten(tmp_path: Path) -> None:
    for number in range(60):
        path = tmp_path / f"{number}.log"
        path.touch()
        os.utime(path, (number, number))
    logs.forget_old_logs(tmp_path)
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == list(range(10, 60))
    logs.forget_old_logs(tmp_path / "none")
