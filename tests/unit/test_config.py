"""Settings: precedence, files, ceilings, and what is said of wrong ones."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.config.value_types import Size
from imagenetfs.errors import UsageError


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The user's and the site's file, neither of which exists yet."""
    site = tmp_path / "site.toml"
    user = tmp_path / "home" / "imagenetfs" / "config.toml"
    user.parent.mkdir(parents=True)
    for name in list(os.environ):
        if name.startswith("IMAGENETFS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IMAGENETFS_SITE_CONFIG", str(site))
    monkeypatch.setattr(config, "SITE_CONFIG", tmp_path / "no-such.toml")
    return user, site


def test_defaults(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    settings = config.resolve()
    assert settings.source is None
    assert settings.in_flight is None
    assert settings.index_dir == Path("/cache/imagenetfs/index")
    assert settings.prefer == "archives"
    assert set(settings.origins.values()) == {"default"}
    assert settings.notes == ()


def test_the_strongest_wins(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    user, site = files
    site.write_text("workers = 1\n")
    assert (config.resolve().workers, config.resolve().origins["workers"]) == (1, str(site))
    user.write_text("workers = 2\n")
    assert (config.resolve().workers, config.resolve().origins["workers"]) == (2, str(user))
    monkeypatch.setenv("IMAGENETFS_WORKERS", "3")
    assert config.resolve().workers == 3
    assert config.resolve().origins["workers"] == "$IMAGENETFS_WORKERS"
    settings = config.resolve({"workers": "4"})
    assert (settings.workers, settings.origins["workers"]) == (4, "--workers")


def test_an_empty_variable_and_an_option_not_given_count_as_unset(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGENETFS_PREFER", "")
    assert config.resolve({"prefer": None}).prefer == "archives"


def test_paths(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/someone")
    settings = config.resolve({"source": "data", "index_dir": "none", "log": "~/log"})
    assert settings.source == tmp_path / "data"
    assert settings.index_dir is None
    assert settings.log == Path("/home/someone/log")
    assert settings.index_path == ()
    monkeypatch.setenv("IMAGENETFS_INDEX_PATH", "/site/index:more")
    assert config.resolve().index_path == (Path("/site/index"), tmp_path / "more")
    files[0].write_text("index_path = ['relative']")
    with pytest.raises(UsageError, match="index_path must be an absolute path"):
        config.resolve()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("1.5", 1.5), ("90s", 90.0), ("2m", 120.0), ("1h", 3600.0)]
)
def test_times(files: tuple[Path, Path], text: str, seconds: float) -> None:
    assert config.resolve({"read_timeout": text}).read_timeout == seconds


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("workers", "0"),
        ("workers", "65"),
        ("workers", "many"),
        ("workers", "2.5"),
        ("in_flight", "-1"),
        ("read_timeout", "soon"),
        ("read_timeout", "s"),
        ("read_timeout", "0"),
        ("read_timeout", "nan"),
        ("prefer", "neither"),
        ("source", ""),
        ("index_dir", ""),
        ("source", "~nobody-of-that-name/x"),
    ],
)
def test_wrong_options_are_named(files: tuple[Path, Path], name: str, text: str) -> None:
    with pytest.raises(UsageError, match=f"{config.option_name(name)} must be") as caught:
        config.resolve({name: text})
    assert repr(text) in str(caught.value)


def test_a_wrong_variable_is_named(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMAGENETFS_IN_FLIGHT", "x")
    with pytest.raises(UsageError, match=r"\$IMAGENETFS_IN_FLIGHT must be a whole number"):
        config.resolve()


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("worker = 3", "unknown setting worker"),
        ("workers = '3'", "workers must be a whole number"),
        ("workers = true", "workers must be a whole number"),
        ("workers = 1.0", "workers must be a whole number"),
        ("read_timeout = false", "read_timeout must be a time"),
        ("source = 5", "source must be a path"),
        ("source = 'data'", "source must be an absolute path"),
        ("log = 'x.log'", "log must be an absolute path, not 'x.log'"),
        ("view = ['a=/x', 'b=y']", "view must be an absolute path"),
        ("view = 'a=y'", "view must be an absolute path"),
        ("index_dir = 'none/x'", "index_dir must be an absolute path"),
        ("prefer = 'neither'", "prefer must be one of archives, directories"),
        ("workers = ", "is not valid TOML"),
    ],
)
def test_a_wrong_file_is_named_with_its_key(
    files: tuple[Path, Path], which: int, content: str, sentence: str
) -> None:
    files[which].write_text(content)
    with pytest.raises(UsageError, match=sentence) as caught:
        config.resolve()
    assert str(files[which]) in str(caught.value)


def test_files_may_hold_every_setting(files: tuple[Path, Path]) -> None:
    files[0].write_text(
        "source = '/data'\nworkers = 5\nin_flight = 6\nindex_dir = 'none'\nread_timeout = '2m'\n"
        "prefer = 'directories'\nlog = '~/x.log'\nrun_dir = '/run/x'\nview = ['a=/x', 'b=/y']\n"
        "cache_dir = '/scratch/c'\ncache_size = '200G'\nkeep_free = '10%'\nstage = "
        "['ILSVRC2012/val']\n"
        "index_path = ['/site/index', '~/more']\n"
        "revalidate = 30\nopt_in_page = 'u'\nsupport_address = 'a@b'\nsupport_subject = 's'\n"
        "namespace = 'never'\nidle = '30m'\nlog_level = 'debug'\nrequire = ['a/b:complete', 'c']\n"
    )
    settings = config.resolve()
    assert settings.read_timeout == 120.0
    assert settings.index_dir is None
    assert settings.view == (("a", Path("/x")), ("b", Path("/y")))
    assert settings.cache_size == Size(count=200 * 10**9)
    assert settings.stage == ("ILSVRC2012/val",)
    assert settings.require == ("a/b:complete", "c")
    assert set(settings.origins.values()) == {str(files[0])}


def test_a_ceiling_of_the_cache(files: tuple[Path, Path]) -> None:
    files[1].write_text("[ceilings]\ncache_size = '100G'\n")
    default = config.resolve()
    assert str(default.cache_size) == "50% at most 100G"
    assert default.cache_size.of(10**12) == 10**11
    assert default.cache_size.of(10**11) == 5 * 10**10
    asked = config.resolve({"cache_size": "200G"})
    assert asked.cache_size.of(10**15) == 10**11
    assert "lowered from 200G to 100G" in asked.notes[0]
    assert config.resolve({"cache_size": "1G"}).notes == ()


def test_what_to_stage(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.resolve().stage == ()
    assert config.resolve({"stage": ["a/b", "c", "a/b/"]}).stage == ("a/b", "c")
    monkeypatch.setenv("IMAGENETFS_STAGE", "a/b:c")
    assert config.resolve().stage == ("a/b", "c")
    assert config.resolve({"stage": ["none"]}).stage == ()
    with pytest.raises(UsageError, match="--stage must be VERSION or VERSION/SPLIT"):
        config.resolve({"stage": ["a/b/c"]})


def test_what_is_required(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert config.resolve().require == ()
    wanted = ("a/b", "a/c:complete", "d")
    for given in (["a/b,a/c:complete,d"], ["a/b", "a/c:complete", "d"], ["a/b:a/c:complete:d,a/b"]):
        assert config.resolve({"require": given}).require == wanted
    assert config.resolve({"require": [config.as_text(wanted)]}).require == wanted
    monkeypatch.setenv("IMAGENETFS_REQUIRE", "a/b,a/c:complete,d")
    assert config.resolve().require == wanted
    assert config.resolve({"require": ["none"]}).require == ()
    assert config.resolve({"require": ["views/a/b:complete"]}).require == ("views/a/b:complete",)
    for wrong in ("a/b/c", "views/a/b/c", "complete", "a:complete:complete", "a,,b", "/"):
        with pytest.raises(UsageError, match="--require must be VERSION/SPLIT"):
            config.resolve({"require": [wrong]})


def test_views(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert config.resolve().view == ()
    assert config.resolve({"view": ["a=x", "b=/y"]}).view == (
        ("a", tmp_path / "x"),
        ("b", Path("/y")),
    )
    monkeypatch.setenv("IMAGENETFS_VIEW", "a=/x:b=y")
    assert config.resolve().view == (("a", Path("/x")), ("b", tmp_path / "y"))
    for wrong in ("a", "=x", "a/b=x", ".a=x", "a=", "a=/x:a=/y"):
        with pytest.raises(UsageError, match="--view must be NAME=FILE"):
            config.resolve({"view": [wrong]})


def test_a_variable_that_is_almost_a_setting(files: tuple[Path, Path]) -> None:
    environ = {"IMAGENETFS_WROKERS": "3", "IMAGENETFS_MOUNT": "/x", "IMAGENETFS_RUN_OPTIONS": ""}
    assert config.resolve({}, environ).notes == (
        "$IMAGENETFS_WROKERS is no setting, and has no effect: did you mean $IMAGENETFS_WORKERS?",
    )
    assert config.resolve({}, {"IMAGENETFS_WORKERS": "3"}).notes == ()


def test_a_file_that_may_not_be_read(files: tuple[Path, Path]) -> None:
    files[0].mkdir()
    with pytest.raises(UsageError, match="could not be read: it is no regular file"):
        config.resolve()


def test_only_the_site_sets_ceilings(files: tuple[Path, Path]) -> None:
    files[0].write_text("[ceilings]\nworkers = 3\n")
    with pytest.raises(UsageError, match="unknown setting ceilings"):
        config.resolve()


def test_nobody_passes_a_ceiling(files: tuple[Path, Path]) -> None:
    files[1].write_text("[ceilings]\nworkers = 3\nin_flight = 5\n")
    settings = config.resolve({"workers": "40", "in_flight": "2"})
    assert (settings.workers, settings.in_flight) == (3, 2)
    assert len(settings.notes) == 1
    assert "workers lowered from 40 to 3" in settings.notes[0]
    assert str(files[1]) in settings.notes[0]
    assert settings.origins["workers"] == f"ceiling of {files[1]}"


def test_a_default_is_lowered_without_a_word(files: tuple[Path, Path]) -> None:
    files[1].write_text("[ceilings]\nworkers = 3\nin_flight = 5\n")
    settings = config.resolve()
    assert (settings.workers, settings.in_flight, settings.notes) == (3, 5, ())
    files[1].write_text("[ceilings]\nin_flight = 500\n")
    assert config.resolve().in_flight is None


def test_the_variable_is_no_way_around_the_real_ceilings(
    files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = tmp_path / "etc.toml"
    real.write_text("source = '/of-the-site'\n[ceilings]\nworkers = 2\n")
    monkeypatch.setattr(config, "SITE_CONFIG", real)
    settings = config.resolve({"workers": "4"})
    assert settings.workers == 2
    assert settings.source is None


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("ceilings = 3", "ceilings must be a table"),
        ("[ceilings]\nprefer = 'archives'", r"unknown setting ceilings\.prefer"),
        ("[ceilings]\nworkers = 'few'", r"ceilings\.workers must be a whole number"),
    ],
)
def test_wrong_ceilings(files: tuple[Path, Path], content: str, sentence: str) -> None:
    files[1].write_text(content)
    with pytest.raises(UsageError, match=sentence):
        config.resolve()
