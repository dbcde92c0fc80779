"""Options that commands share: what was given reaches the settings, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagenetfs import config
from imagenetfs.cli import options
from imagenetfs.errors import UsageError


@pytest.fixture(autouse=True)
def _no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGENETFS_SITE_CONFIG", str(tmp_path / "site.toml"))
    monkeypatch.setattr(config, "SITE_CONFIG", tmp_path / "none")


def context(**params: object) -> Any:
    return SimpleNamespace(params=params)


def test_options_that_are_settings() -> None:
    settings = options.settings_of(context(workers="3", as_json=True, quick=True, index_dir=None))
    assert (settings.workers, settings.origins["workers"]) == (3, "--workers")
    assert settings.origins["index_dir"] == "default"


def test_the_source_argument() -> None:
    assert options.settings_of(context(source=None), "/s").source == Path("/s")
    assert options.settings_of(context(source="/s")).source == Path("/s")
    assert options.settings_of(context(source="/s"), "/s").source == Path("/s")
    with pytest.raises(UsageError) as caught:
        options.settings_of(context(source="/s"), "/t")
    assert str(caught.value) == "SOURCE is given twice, as an argument and by --source."


def test_a_repeatable_option_that_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGENETFS_VIEW", "a=/x")
    unset: object
    for unset in (None, [], ()):
        assert options.settings_of(context(view=unset)).view == (("a", Path("/x")),)
    assert options.settings_of(context(view=["b=/y"])).view == (("b", Path("/y")),)


def test_an_option_counts_more_than_one_of_o() -> None:
    weaker = {"workers": "3", "prefer": "directories"}
    settings = options.settings_of(context(workers="5", prefer=None), None, weaker)
    assert (settings.workers, settings.prefer) == (5, "directories")
    assert settings.origins["prefer"] == "--prefer"


def test_what_a_ceiling_lowered_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.toml").write_text("[ceilings]\nworkers = 3\n")
    assert options.settings_of(context(workers="9")).workers == 3
    assert capsys.readouterr().err.startswith("imagenetfs: workers lowered from 9 to 3")


def test_every_shared_option_is_a_setting() -> None:
    names = {config.option_name(entry.name) for entry in config.table()}
    shared = [value for name, value in vars(options).items() if name.endswith("Option")]
    assert len(shared) == 16
    for annotated in shared:
        [option] = annotated.__metadata__
        assert set(option.param_decls) | {option.default} & names
        assert option.help


def test_options_of_a_cache_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options.settings_of(context(cache_size="5G", keep_free="1G"))
    assert "--cache-size and --keep-free: of no effect" in capsys.readouterr().err
    options.settings_of(context(cache_size="5G", cache_dir=str(tmp_path)))
    assert capsys.readouterr().err == ""
