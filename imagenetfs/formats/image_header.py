"""What the first bytes of an image say of it: format, width, height, colour mode.

JPEG (ITU-T T.81, B.2.2: the frame header) and PNG (its IHDR chunk), which ImageNet consists of;
of others the format alone. No decoder: what stands behind the header is not looked at.
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

_PNG_MODES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey, alpha", 6: "RGB, alpha"}
_JPEG_MODES = {1: "grey", 3: "RGB", 4: "CMYK"}
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Markers of a frame header: all of C0 to CF but tables of codes and the reserved one."""

_ALONE = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length behind them."""

_OTHERS = (
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"II\*\0|MM\0\*"), "TIFF"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "WebP"),
    (re.compile(rb"P[1-6][\s#]"), "PNM"),
    (re.compile(rb"\0\0\0\x0cjP  "), "JPEG 2000"),
)


class ImageHeader(NamedTuple):
    """``mode``: the colours as they are stored; 0 and "" where the header was not understood."""

    format: str
    width: int = 0
    height: int = 0
    mode: str = ""


def image_header(data: bytes) -> ImageHeader | None:
    """What an image's bytes say of it; None where they do not begin as an image does."""
    if data.startswith(b"\xff\xd8\xff"):
        return _jpeg(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png(data)
    return next((ImageHeader(name) for first, name in _OTHERS if first.match(data)), None)


def _png(data: bytes) -> ImageHeader:
    if len(data) < 26 or data[12:16] != b"IHDR":
        return ImageHeader("PNG")
    width, height, _, colour = struct.unpack_from(">IIBB", data, 16)
    return ImageHeader("PNG", width, height, _PNG_MODES.get(colour, ""))


def _jpeg(data: bytes) -> ImageHeader:
    """Segment by segment up to the frame header."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # a byte of filling
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES and at + 10 <= len(data):
            height, width, components = struct.unpack_from(">HHB", data, at + 5)
            return ImageHeader("JPEG", width, height, _JPEG_MODES.get(components, ""))
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return ImageHeader("JPEG")
