"""The table of settings: what each entry says of itself, and defaults that depend on the job."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config import settings


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a user's file, nor a site's, nor variables of the caller."""
    for name in [name for name in os.environ if name.startswith("IMAGENETFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.delenv("SLURM_TMPDIR", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(config, "SITE_CONFIG", tmp_path / "no-such.toml")


@pytest.mark.parametrize(("cpus", "workers"), [(1, 8), (4, 8), (6, 12), (32, 64), (200, 64)])
def test_workers_follow_the_cpus_of_the_job(
    monkeypatch: pytest.MonkeyPatch, cpus: int, workers: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cpus)))
    assert config.resolve().workers == workers


def test_the_cache_is_on_in_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.resolve().cache_dir is None
    monkeypatch.setenv("SLURM_TMPDIR", "/local/7")
    settings = config.resolve()
    assert settings.cache_dir == Path("/local/7/imagenetfs-cache")
    assert settings.origins["cache_dir"] == "default"
    assert (str(settings.cache_size), str(settings.keep_free)) == ("50%", "5%")
    assert config.resolve({"cache_dir": "none"}).cache_dir is None


def test_every_setting_has_a_help_text() -> None:
    for entry in config.table():
        assert config.help_of(entry.name).endswith((".", ")."))


def test_the_cpus_are_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {1, 5, 7})
    assert settings.cpus() == 3


def test_every_setting_says_what_it_is() -> None:
    for entry in settings.table():
        known = {"kind", "default", "help", "group", "ceiling", "of_mount"}
        assert set(entry.metadata) == known
    names = [entry.name for entry in settings.table()]
    assert len(names) == len(set(names))
    assert not {"origins", "notes"} & {*names}


def test_what_a_site_may_limit() -> None:
    limited = {entry.name for entry in settings.table() if entry.metadata["ceiling"]}
    assert limited == {"workers", "in_flight", "cache_size"}


def test_every_default_is_one_that_its_option_would_take() -> None:
    """What `settings` shows of a default can be typed."""
    defaults = config.resolve({}, {})
    for entry in settings.table():
        value = getattr(defaults, entry.name)
        if value not in (None, ()):
            assert entry.metadata["kind"].parse(config.as_text(value)) == value, entry.name


def test_settings_do_not_change() -> None:
    with pytest.raises(AttributeError):
        config.resolve({}, {}).workers = 3  # type: ignore[misc]
