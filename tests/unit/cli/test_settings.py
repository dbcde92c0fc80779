"""imagenetfs settings: every setting, its value, and who set it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.cli import app
from imagenetfs.cli.settings import SettingLine, page


def test_settings_that_are_not_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["settings", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    unset = {"value": None, "set_by": "default"}
    assert [shown[name] for name in ("index_path", "in_flight", "view", "log")] == [unset] * 4


@pytest.fixture(autouse=True)
def _no_site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    site = tmp_path / "site.toml"
    monkeypatch.setenv("IMAGENETFS_SITE_CONFIG", str(site))
    monkeypatch.setattr(config, "SITE_CONFIG", tmp_path / "none")
    return site


def test_a_line_for_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.main(["settings"]) == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split("\t") == ["setting", "value", "set by", "what it is for"]
    assert [line.split("\t")[0] for line in lines] == [entry.name for entry in config.table()]
    assert all(len(line.split("\t")) == 4 for line in lines)
    assert any(line.startswith("read_timeout\t60s\t") for line in lines), "a time has a unit"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_a_page_for_people_has_groups_and_wraps(width: int) -> None:
    entries = config.table()
    lines = [SettingLine(e.name, "-", "default", config.help_of(e.name)) for e in entries]
    lines[-1] = lines[-1]._replace(set_by="/site.toml")  # of the site's own, and set
    text = list(page(lines, width))
    headings = [line for line in text if line.endswith(":") and not line.startswith(" ")]
    assert headings == ["Source:", "Index:", "Cache:", "Advanced:"]
    names = [line.split()[0] for line in text if line.startswith("  ") and line[2] != " "]
    shown = {e.name.replace("_", "-") for e in entries} - {"opt-in-page", "support-address"}
    assert len(names) == len(shown)
    assert set(names) == shown
    assert max(map(len, text)) <= max(width, 50)


def test_who_set_it(
    _no_site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _no_site.write_text("read_timeout = '2m'\n[ceilings]\nworkers = 3\n")
    monkeypatch.setenv("IMAGENETFS_WORKERS", "9")
    monkeypatch.setenv("IMAGENETFS_VIEW", "a=/x:b=/y")
    assert app.main(["settings", "--json"]) == 0
    out, err = capsys.readouterr()
    shown = json.loads(out)
    assert shown["read_timeout"] == {"value": 120.0, "set_by": str(_no_site)}
    assert shown["workers"] == {"value": 3, "set_by": f"ceiling of {_no_site}"}
    assert shown["view"] == {"value": "a=/x:b=/y", "set_by": "$IMAGENETFS_VIEW"}
    assert err == f"imagenetfs: workers lowered from 9 to 3, the site's ceiling ({_no_site}).\n"


def test_a_setting_that_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMAGENETFS_WORKERS", "many")
    assert app.main(["settings"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("imagenetfs: $IMAGENETFS_WORKERS must be a whole number from 1 to 64")
