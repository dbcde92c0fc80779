"""The generated pages are what the program says today, and nothing of this machine is in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs import config
from imagenetfs.cli.commands import COMMANDS
from tests.lint import reference_pages
from tests.lint.reference_pages import PAGES, REPOSITORY


@pytest.mark.slow
@pytest.mark.parametrize("name", PAGES)
def test_the_committed_page_is_what_the_program_says(name: str) -> None:
    advice = "write it anew: python -m tests.lint.reference_pages"
    assert (REPOSITORY / name).read_text() == PAGES[name](), advice


def test_every_command_and_every_setting_is_there() -> None:
    commands, settings = (PAGES[f"docs/{name}.md"]() for name in ("commands", "settings"))
    for name in COMMANDS:
        assert f"## `imagenetfs {name}" in commands
    for entry in config.table():
        assert f"## `{entry.name}`\n" in settings
        assert f"`${config.variable_name(entry.name)}`" in settings


@pytest.mark.slow
def test_nothing_of_this_machine_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = [page() for page in PAGES.values()]
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SLURM_TMPDIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("imagenetfs.config.settings.cpus", lambda: 3)
    assert [page() for page in PAGES.values()] == before


@pytest.mark.slow
def test_pages_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(reference_pages, "REPOSITORY", tmp_path)
    assert reference_pages.main() == 0
    for name, page in PAGES.items():
        assert (tmp_path / name).read_text() == page()
