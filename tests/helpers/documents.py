"""The pages, their links and headings, and the blocks of commands and code in them.

A block of bash or python is run by a test as it stands, unless a comment on the line above says
why not:

    <!-- site: Nibi -->                 a site's or user's own: names, paths, a network, a browser
    <!-- not run: it needs a GPU -->    its package or device is not among the tests'
    <!-- needs: torchvision datasets --> run where these modules can be imported
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("tests/**/*.md")]
)
USERS_PAGES = [
    page
    for page in PAGES
    if page.parent
    in (REPOSITORY, *(REPOSITORY / "docs" / name for name in ("", "install", "slurm")))
]
RUN_ELSEWHERE = {
    "docs/python.md": "tests/mount/test_python_document.py",
    "docs/development.md": "Makefile",
}
"""Pages whose blocks another test runs, and which; those for developers are what make does."""

_LINK = re.compile(r"(?<!\!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
_FENCE = re.compile(r"(?:^<!-- (.+?) -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_MARKS = ("site", "not run", "needs")


def name(page: Path) -> str:
    """A page's path in the repository."""
    return str(page.relative_to(REPOSITORY))


@dataclass(frozen=True)
class Block:
    """A block of a page: ``line`` is that of its fence, ``mark`` the comment above it."""

    page: str
    line: int
    language: str
    code: str
    mark: str = ""

    @property
    def needs(self) -> list[str]:
        """The modules without which it is not run."""
        kind, _, words = self.mark.partition(": ")
        return words.split() if kind == "needs" else []

    @property
    def is_run(self) -> bool:
        """Whether a test runs it."""
        return not self.mark or bool(self.needs)

    @property
    def is_marked_rightly(self) -> bool:
        """Whether its mark, if it has one, is known and gives a reason."""
        kind, _, words = self.mark.partition(": ")
        return not self.mark or (kind in _MARKS and bool(words.strip()))

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_in(page: str, text: str) -> list[Block]:
    """The fenced blocks of a page in their order."""
    return [
        Block(
            page=page,
            line=text.count("\n", 0, found.start()) + 1,
            language=found[2],
            code=found[3],
            mark=found[1] or "",
        )
        for found in _FENCE.finditer(text)
    ]


def blocks(language: str) -> list[Block]:
    """The blocks of the users' pages in one language, but for pages that other tests run."""
    return [
        block
        for page in USERS_PAGES
        if name(page) not in RUN_ELSEWHERE
        for block in blocks_in(name(page), page.read_text())
        if block.language == language
    ]


def links_in(text: str) -> list[str]:
    """What a page links to, but for other sites; code is no text."""
    found = _LINK.findall(re.sub(r"`[^`\n]*`", "", _FENCE.sub("", text)))
    return [link or picture for link, picture in found if "://" not in (link or picture)]


def anchors_in(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
    found: set[str] = set()
    for heading in headings:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while (one := f"{anchor}-{number}" if number else anchor) in found:
            number += 1
        found.add(one)
    return found
