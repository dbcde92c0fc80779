"""Text that others had a hand in (names of files and members, messages), made fit for a terminal or
a log.

A control character could rewrite what stands on the screen, set a terminal's title, or begin a line
of a log that looks like one of ours.
"""

from __future__ import annotations

import re

_UNFIT = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # controls (C0, DEL, C1)
    "\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"  # line ends, and directions of writing
    "\ud800-\udfff"  # bytes that are no UTF-8 (os.fsdecode)
    "]"
)


def printable(text: str) -> str:
    r"""The text on one line: ``\x1b`` for ESC, ``\n`` for a newline, ``\xfc`` for a byte that is no
    UTF-8.
    """
    return _UNFIT.sub(_escaped, text)


def decoded(name: bytes) -> str:
    """A name or path as text for a sentence; a byte that is no UTF-8 is shown as ``\\xNN``."""
    return name.decode("utf-8", "backslashreplace")


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if found[0] in "\n\r\t":
        return {"\n": "\\n", "\r": "\\r", "\t": "\\t"}[found[0]]
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
