"""The run directory: private, and the next place where another user has the usual one."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.errors import PlaceRefusedError, RunDirRefusedError
from imagenetfs.job import run_dir
from imagenetfs.job.mount_paths import find_paths, locked, prepare_paths
from imagenetfs.job.run_dir import ensure_private, job_name


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


@pytest.fixture
def no_runtime_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """None is named, /tmp stands for the test's directory, and there is no other place yet."""
    monkeypatch.delenv("IMAGENETFS_RUN_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    usual = tmp_path / f"imagenetfs-{os.geteuid()}"
    roots = run_dir._roots

    def moved(settings: config.Settings) -> list[Path]:
        found = roots(settings)
        return [usual if path == Path("/tmp") / usual.name else path for path in found]

    monkeypatch.setattr(run_dir, "_roots", moved)
    return usual


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_root(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("IMAGENETFS_RUN_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert run_dir._roots(config.resolve())[0] == Path(f"/tmp/imagenetfs-{os.geteuid()}")
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "r"))
    place = prepare_paths(Path("/mnt/x"), config.resolve())
    assert place.root == tmp_path / "r"
    assert mode(place.root) == mode(place.lock_path.parent) == 0o700
    assert not place.is_below_root
    assert prepare_paths(tmp_path / "r" / "name", config.resolve()).is_below_root


def test_a_private_directory(tmp_path: Path) -> None:
    ensure_private(tmp_path / "new")
    assert mode(tmp_path / "new") == 0o700
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown").chmod(0o755)
    ensure_private(tmp_path / "shown")
    assert mode(tmp_path / "shown") == 0o755


def test_one_of_a_strict_umask(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        ensure_private(tmp_path / "new")
    finally:
        os.umask(before)
    assert mode(tmp_path / "new") == 0o700


@pytest.mark.parametrize("given", [0o777, 0o2775, 0o770, 0o722])
def test_what_exists_is_never_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int
) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(given)
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(shared))
    with pytest.raises(PlaceRefusedError, match="can be written to by others"):
        prepare_paths(Path("/mnt/x"), config.resolve())
    assert mode(shared) == given
    assert list(shared.iterdir()) == []


def test_a_directory_for_all_gets_a_part_for_each_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = tmp_path / "tmp"
    shared.mkdir()
    shared.chmod(0o1777)
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(shared))
    place = prepare_paths(Path("/mnt/x"), config.resolve())
    assert place.root == shared / f"imagenetfs-{os.geteuid()}"
    assert (mode(shared), mode(place.root)) == (0o1777, 0o700)


def test_a_sites_directory_has_a_part_for_each_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_runtime_directory: Path
) -> None:
    monkeypatch.setattr(run_dir, "_in_runtime_directory", list)
    shared = tmp_path / "site"
    site = tmp_path / "site.toml"
    site.write_text(f'run_dir = "{shared}"\n')
    monkeypatch.setenv("IMAGENETFS_SITE_CONFIG", str(site))
    said: list[str] = []
    # The administrator has not made it: this user's own would shut all others out.
    place = prepare_paths(Path("/mnt/x"), config.resolve(), said.append)
    assert place.root == no_runtime_directory
    assert not shared.exists()
    assert "No such file" in said[0]
    shared.mkdir(mode=0o700)
    shared.chmod(0o1777)
    assert prepare_paths(Path("/mnt/x"), config.resolve()).root == shared / place.root.name
    assert mode(shared) == 0o1777
    shared.chmod(0o777)
    said.clear()
    assert prepare_paths(Path("/mnt/x"), config.resolve(), said.append).root == place.root
    assert "needs the mode 1777" in said[0]


def taken_by_a_file(path: Path) -> None:
    path.touch()


def taken_by_a_link(path: Path) -> None:
    path.symlink_to("/tmp")


def taken_by_another(path: Path) -> None:
    path.mkdir()
    os.chown(path, 65534, 65534)


@pytest.mark.skipif(os.geteuid() != 0, reason="makes another user's directory")
@pytest.mark.parametrize("take", [taken_by_a_file, taken_by_a_link, taken_by_another])
def test_the_next_place_where_another_has_the_usual_one(
    no_runtime_directory: Path, tmp_path: Path, take: Callable[[Path], None]
) -> None:
    take(no_runtime_directory)
    (tmp_path / "runtime").mkdir(mode=0o700)
    said: list[str] = []
    settings = config.resolve()
    place = prepare_paths(Path("/mnt/x"), settings, said.append)
    assert place.root == tmp_path / "runtime" / "imagenetfs"
    assert len(said) == 1
    assert str(no_runtime_directory) in said[0]
    assert f"Until then {place.root} is used." in said[0]
    assert run_dir.find_root(settings) == place.root
    # What was made there is found again when the usual place is free.
    with locked(place):
        if no_runtime_directory.is_dir() and not no_runtime_directory.is_symlink():
            no_runtime_directory.rmdir()
        else:
            no_runtime_directory.unlink()
        assert find_paths(Path("/mnt/x"), settings) == place
    assert not place.root.exists()


def test_no_place_at_all(
    no_runtime_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_runtime_directory.touch()
    monkeypatch.setattr(run_dir, "_in_runtime_directory", list)
    with pytest.raises(RunDirRefusedError, match="is no directory"):
        prepare_paths(Path("/mnt/x"), config.resolve())


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
