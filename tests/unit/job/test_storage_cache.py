"""The read cache from the settings: one that is named must work, the job's own need not."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from imagenetfs.config import Settings
from imagenetfs.errors import NoSpaceError, PlaceRefusedError, UsageError
from imagenetfs.job import storage
from imagenetfs.job.storage import prepare_cache
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.mount_table import settings_with


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)


def in_job(directory: Path, monkeypatch: pytest.MonkeyPatch, **options: object) -> Settings:
    """Settings where $SLURM_TMPDIR is this directory: a cache that no user named."""
    monkeypatch.setenv("SLURM_TMPDIR", str(directory))
    return settings_with(**options)


def test_no_cache() -> None:
    assert prepare_cache(settings_with()) is None
    assert prepare_cache(settings_with(cache_dir="none")) is None


def test_staging_needs_one() -> None:
    with pytest.raises(UsageError, match="Staging needs a cache: name a directory on this node"):
        prepare_cache(settings_with(stage=["ILSVRC2012/val"]))


def test_one_that_is_named(tmp_path: Path) -> None:
    settings = settings_with(cache_dir=tmp_path / "c", cache_size="1M", keep_free="2M")
    place = prepare_cache(settings)
    assert place is not None
    assert place.directory == tmp_path / "c"
    assert place.directory.stat().st_mode & 0o777 == 0o700
    assert (place.limits.size, place.limits.floor) == (10**6, 2 * 10**6)


def test_one_of_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "unfit_type", lambda directory: None)
    place = prepare_cache(in_job(tmp_path, monkeypatch))
    assert place is not None
    assert place.directory == tmp_path / "imagenetfs-cache"


def test_one_that_is_named_and_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(PlaceRefusedError, match="may be entered by others"):
        prepare_cache(settings_with(cache_dir=tmp_path / "open"))
    (tmp_path / "file").touch()
    with pytest.raises(NoSpaceError, match="cannot be made"):
        prepare_cache(settings_with(cache_dir=tmp_path / "file" / "c"))


def test_the_jobs_directory_is_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "unfit_type", lambda directory: "tmpfs")
    said: list[str] = []
    assert prepare_cache(in_job(tmp_path, monkeypatch), said.append) is None
    assert said == [
        f"there is no cache: {tmp_path}/imagenetfs-cache is on tmpfs, where a cache makes no "
        f"sense unless "
        "--cache-dir names it."
    ]
    assert prepare_cache(in_job(tmp_path, monkeypatch)) is None
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NoSpaceError, match="is on tmpfs"):
        prepare_cache(in_job(tmp_path, monkeypatch, stage=["ILSVRC2012"]))
    # Named by the user it is taken, whatever it lies on.
    named = in_job(tmp_path, monkeypatch, cache_dir=tmp_path / "c")
    assert prepare_cache(named) is not None


def test_a_job_directory_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    assert prepare_cache(in_job(tmp_path / "file", monkeypatch), said.append) is None
    assert len(said) == 1
    assert said[0].startswith("there is no cache: ")


def test_a_file_system_that_does_not_say_its_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(storage, "limits_of", fail)
    before = descriptors()
    with pytest.raises(NoSpaceError, match=r"c cannot be used: Input/output error\.$"):
        prepare_cache(settings_with(cache_dir=tmp_path / "c"))
    assert opened_since(before) == {}
