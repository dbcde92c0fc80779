"""Directories of our own: private, one key a mountpoint, one holder a lock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.errors import PlaceRefusedError, StillBusyError
from imagenetfs.job import run_dir
from imagenetfs.job.run_dir import MountPaths, ensure_private, job_name, locked, prepare_paths


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({}, "imagenet"),
        ({"SLURM_STEP_ID": "0"}, "imagenet"),
        ({"SLURM_JOB_ID": "123"}, "123"),
        ({"SLURM_JOB_ID": "123", "SLURM_STEP_ID": "0"}, "123.0"),
        ({"SLURM_JOB_ID": "../../etc", "SLURM_STEP_ID": "a/b"}, "_.._etc.a_b"),
        ({"SLURM_JOB_ID": ".."}, "imagenet"),
        ({"SLURM_JOB_ID": ".run"}, "run"),
    ],
)
def test_the_name_of_a_job(environ: dict[str, str], name: str) -> None:
    assert job_name(environ) == name


def test_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IMAGENETFS_RUN_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert run_dir.root_of(config.resolve()) == Path(f"/tmp/imagenetfs-{os.geteuid()}")
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "r"))
    place = prepare_paths(Path("/mnt/x"), config.resolve())
    assert place.root == tmp_path / "r"
    assert place.lock_path.parent.stat().st_mode & 0o777 == 0o700
    assert not place.is_below_root
    assert prepare_paths(tmp_path / "r" / "name", config.resolve()).is_below_root


def test_a_private_directory(tmp_path: Path) -> None:
    ensure_private(tmp_path / "new")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    ensure_private(tmp_path / "open")
    assert (tmp_path / "open").stat().st_mode & 0o777 == 0o700


def test_what_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(PlaceRefusedError, match="is a symbolic link"):
        ensure_private(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(PlaceRefusedError, match="is no directory"):
        ensure_private(tmp_path / "file")
    with pytest.raises(PlaceRefusedError, match="could not be made"):
        ensure_private(tmp_path / "file" / "x")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PlaceRefusedError, match="belongs to another user"):
        ensure_private(tmp_path)


def test_one_key_a_mountpoint(tmp_path: Path) -> None:
    keys = {MountPaths(Path(path), tmp_path).key for path in ("/a", "/b", "/a/b")}
    assert len(keys) == 3
    assert all(len(key) == 16 for key in keys)


def test_one_holder_at_a_time(place: MountPaths) -> None:
    with locked(place), pytest.raises(StillBusyError, match="/mnt/x"), locked(place, 0.05):
        pass
    with locked(place, 0.05):
        pass


def test_a_child_keeps_the_lock_until_it_unlocks(place: MountPaths) -> None:
    ready, go = os.pipe(), os.pipe()
    with locked(place) as lock:
        child = os.fork()
        if child == 0:
            os.read(go[0], 1)
            run_dir.unlock(lock)
            os.write(ready[1], b"x")
            os.read(go[0], 1)
            os._exit(0)
    with pytest.raises(StillBusyError), locked(place, 0.05):
        pass
    os.write(go[1], b"x")
    os.read(ready[0], 1)
    # Given back, though the child still has the descriptor open.
    with locked(place, 0.05):
        pass
    os.write(go[1], b"x")
    os.waitpid(child, 0)
    for fd in (*ready, *go):
        os.close(fd)


def test_logs_of_two_mountpoints(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one = run_dir.log_path(MountPaths(Path("/a/b c"), tmp_path), config.resolve())
    two = run_dir.log_path(MountPaths(Path("/a/b-c"), tmp_path), config.resolve())
    assert one != two
    assert one.parent == tmp_path / "imagenetfs" / "log"
    assert one.name.startswith("a-b-c-")
    long = MountPaths(Path("/x" * 200), tmp_path)
    assert len(run_dir.log_path(long, config.resolve()).name) < 120
    named = config.resolve({"log": "/x.log"})
    assert run_dir.log_path(MountPaths(Path("/a"), tmp_path), named) == Path("/x.log")


def test_logs_of_two_namespaces(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    jobs = [
        MountPaths(Path("/media/imagenet"), Path("/media"), job) for job in ("12", "13", "12.0")
    ]
    assert len({run_dir.log_path(place, config.resolve()) for place in jobs}) == 3
    assert all(place.is_private for place in jobs)


def test_old_logs_are_forgotten(tmp_path: Path) -> None:
    for number in range(60):
        path = tmp_path / f"{number}.log"
        path.touch()
        os.utime(path, (number, number))
    run_dir.forget_old_logs(tmp_path)
    assert sorted(int(path.stem) for path in tmp_path.iterdir()) == list(range(10, 60))
    run_dir.forget_old_logs(tmp_path / "none")
