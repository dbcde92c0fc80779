"""Links between the pages, and paths that development.md names, lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("tests/**/*.md")]
)
_LINK = re.compile(r"\]\(([^)#\s]+)(#[^)]*)?\)")
_PATH = re.compile(r"`((?:tests|tree|cli|config|sample|docs)/[\w/.-]+?\.(?:py|md))(?::\w+)?`")


def name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link, _ in _LINK.findall(page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_paths_of_the_page_for_developers_exist() -> None:
    paths = _PATH.findall((REPOSITORY / "docs" / "development.md").read_text())
    paths = [path for path in paths if "NAME" not in path]
    assert len(paths) > 10
    places = (REPOSITORY, REPOSITORY / "imagenetfs")
    assert [path for path in paths if not any((p / path).exists() for p in places)] == []


def test_targets_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md")):
        named = set(re.findall(r"`make ([a-z][\w-]*)", page.read_text()))
        assert named <= targets, name(page)
