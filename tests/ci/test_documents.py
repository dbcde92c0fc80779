"""Links between the pages lead to files and headings, and each block of code is run or marked."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

from imagenetfs.errors import ExitCode
from tests.helpers.documents import (
    PAGES,
    REPOSITORY,
    RUN_ELSEWHERE,
    Block,
    anchors_in,
    blocks,
    blocks_in,
    links_in,
    name,
)

_PATH = re.compile(r"`((?:tests|tree|cli|config|sample|docs)/[\w/.-]+?\.(?:py|md))(?::\w+)?`")
DOCS = REPOSITORY / "docs"


# --- links ----------------------------------------------------------------------------------------


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in links_in(page.read_text()):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        is_page = target.exists() and target.suffix == ".md"
        has_heading = not is_page or not anchor or anchor in anchors_in(target.read_text())
        if not target.exists() or not has_heading:
            broken.append(link)
    return broken


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    assert broken_links(page) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_text("# The `one`: of two\n## The one: of two\n```\n# no\n```\n")
    page = tmp_path / "a.md"
    page.write_text(
        "[x](b.md) [x](b.md#the-one-of-two) [x](b.md#the-one-of-two-1) [x](https://x/y#z)\n"
        "`[x](code.md)`\n```\n[x](code.md)\n```\n"
        "[gone](c.md) [gone](b.md#no) [gone](#here) ![gone](d.svg)\n"
    )
    assert broken_links(page) == ["c.md", "b.md#no", "#here", "d.svg"]


def test_the_index_names_every_page() -> None:
    text = (DOCS / "README.md").read_text()
    pages = {page.name for page in DOCS.glob("*.md")} - {"README.md"}
    assert pages - {Path(link.partition("#")[0]).name for link in links_in(text)} == set()


def test_paths_of_the_page_for_developers_exist() -> None:
    paths = _PATH.findall((DOCS / "development.md").read_text())
    paths = [path for path in paths if "NAME" not in path]
    assert len(paths) > 10
    places = (REPOSITORY, REPOSITORY / "imagenetfs")
    assert [path for path in paths if not any((p / path).exists() for p in places)] == []


# --- blocks ---------------------------------------------------------------------------------------


def test_blocks_and_their_marks() -> None:
    text = (
        "a\n```bash\nls\n```\n<!-- site: Nibi -->\n```python\nx\ny\n```\n\n"
        "<!-- m -->\n\n```\nz\n```\n"
    )
    assert blocks_in("p.md", text) == [
        Block("p.md", 2, "bash", "ls\n"),
        Block("p.md", 5, "python", "x\ny\n", "site: Nibi"),
        Block("p.md", 13, "", "z\n"),
    ]
    assert Block("p.md", 1, "python", "", "needs: torch timm").needs == ["torch", "timm"]
    assert not Block("p.md", 1, "bash", "", "sites: x").is_marked_rightly
    assert not Block("p.md", 1, "bash", "", "site: ").is_marked_rightly


@pytest.mark.parametrize("language", ["bash", "python"])
def test_marks_are_known_and_some_blocks_are_run(language: str) -> None:
    found = blocks(language)
    assert [str(block) for block in found if not block.is_marked_rightly] == []
    assert sum(block.is_run for block in found) >= 3


def test_every_block_of_bash_is_sound() -> None:
    for block in blocks("bash"):
        done = subprocess.run(
            ["bash", "-n"], input=block.code, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), str(block)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_every_block_of_python_is_sound(block: Block) -> None:
    ast.parse(block.code)


def test_what_runs_the_blocks_of_the_other_pages_is_there() -> None:
    for page, test in RUN_ELSEWHERE.items():
        if (REPOSITORY / page).exists():
            assert (REPOSITORY / test).exists(), page


# --- what the program promises --------------------------------------------------------------------


def test_targets_of_make_that_are_named_exist() -> None:
    targets = set(re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    for page in (REPOSITORY / "README.md", *DOCS.glob("*.md")):
        named = set(re.findall(r"`make ([a-z][\w-]*)", page.read_text()))
        assert named <= targets, name(page)


def test_every_exit_code_has_its_row() -> None:
    rows = re.findall(r"^\| (\d+) \|", (DOCS / "exit-codes.md").read_text(), re.MULTILINE)
    assert {int(row) for row in rows} == {int(code) for code in ExitCode}


def test_the_front_page_is_short() -> None:
    assert len((REPOSITORY / "README.md").read_text().splitlines()) <= 150
