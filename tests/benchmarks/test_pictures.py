"""The pictures of screens: what a terminal shows becomes an SVG with its words and colours."""

from __future__ import annotations

import html
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.helpers.mount_table import MountTable

from .pictures import _THEMES, DOCS, OF_THE_PAGES, SCREENS, check_alone, svg_of

_SHOWN = "\x1b[32mgreen\x1b[0m  FUSE: /dev/fuse <may> be opened\nlimit      ▄██ µs"


def _words(svg: str) -> str:
    root = ElementTree.fromstring(svg)
    return html.unescape(" ".join("".join(root.itertext()).split()))


@pytest.mark.parametrize("theme", [*_THEMES])
def test_words_and_colours_of_a_screen(theme: str) -> None:
    svg = svg_of(_SHOWN, 80, "imagenetfs doctor", _THEMES[theme])
    words = _words(svg)
    for word in ("imagenetfs doctor", "green", "<may>", "▄██ µs"):
        assert word in words
    green = _THEMES[theme].ansi_colors[2]
    assert f"fill: #{bytes(green).hex()}" in svg
    assert "@font-face" not in svg, "nothing is fetched by who looks at it"
    assert not any(line != line.rstrip() for line in svg.splitlines())


def test_themes_and_widths_give_pictures_of_their_own() -> None:
    svgs = {
        svg_of(_SHOWN, columns, "x", theme) for columns in (80, 120) for theme in _THEMES.values()
    }
    assert len(svgs) == 4
    assert svg_of(_SHOWN, 80, "x", _THEMES["dark"]) in svgs, "the same screen, the same picture"


def test_the_pages_have_their_pictures() -> None:
    names = {screen.name for screen in SCREENS}
    for name, theme in OF_THE_PAGES:
        assert name in names and theme in _THEMES
        words = _words((DOCS / f"{name}.svg").read_text(encoding="utf-8"))
        assert "imagenetfs" in words


def test_mounts_of_the_user_are_not_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = MountTable(tmp_path, monkeypatch)
    check_alone()
    table.add("/m/other")
    with pytest.raises(SystemExit, match="/m/other would be in the pictures"):
        check_alone()
