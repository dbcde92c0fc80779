"""Text for terminals and logs: one line, no control character, nothing lost that can be read."""

from __future__ import annotations

import os
import sys
import unicodedata

import pytest

from imagenetfs.system.text import printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("n01443537_1.JPEG, 1,300 Bilder für Ünïcode ✓ 猫", None),
        ("\x1b]0;PWN\x07\x1b[31m", r"\x1b]0;PWN\x07\x1b[31m"),
        ("a\nb\rc\td\0", r"a\nb\rc\td\x00"),
        ("\x9b31m\x7f\x85", r"\x9b31m\x7f\x85"),
        ("gpj\u202e.exe\u2028x", r"gpj\u202e.exe\u2028x"),
        (os.fsdecode(b"\xfc\xff"), r"\xfc\xff"),
        ("\ud800", r"\ud800"),
    ],
)
def test_what_is_shown(text: str, shown: str | None) -> None:
    assert printable(text) == (text if shown is None else shown)


@pytest.mark.slow
def test_no_control_character_is_left() -> None:
    shown = printable("".join(map(chr, range(sys.maxunicode + 1))))
    assert len(shown.splitlines()) == 1
    assert {"Cc", "Cs", "Zl", "Zp"}.isdisjoint(map(unicodedata.category, set(shown)))
