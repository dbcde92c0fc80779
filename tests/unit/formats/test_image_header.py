"""The first bytes of images, against what Pillow says of the same files."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from imagenetfs.formats.image_header import ImageHeader, image_header

MODES = {"RGB": "RGB", "L": "grey", "CMYK": "CMYK", "P": "palette", "RGBA": "RGB, alpha"}


@pytest.mark.parametrize(
    ("format", "mode"),
    [
        *(("JPEG", mode) for mode in ("RGB", "L", "CMYK")),
        *(("PNG", mode) for mode in ("RGB", "L", "P", "RGBA")),
    ],
)
def test_what_pillow_writes(format: str, mode: str) -> None:
    out = io.BytesIO()
    exif = b"Exif\0\0" + bytes(300)
    more = {"progressive": True, "exif": exif} if format == "JPEG" else {}
    Image.new(mode, (70, 31)).save(out, format, **more)
    assert image_header(out.getvalue()) == (format, 70, 31, MODES[mode])


@pytest.mark.parametrize(("format", "name"), [("GIF", "GIF"), ("BMP", "BMP"), ("TIFF", "TIFF")])
def test_of_others_the_format_alone(format: str, name: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (3, 3)).save(out, format)
    assert image_header(out.getvalue()) == ImageHeader(name)


def test_filling_and_markers_without_a_length() -> None:
    frame = b"\xff\xc2\x00\x0b\x08\x00\x02\x00\x03\x01\x01\x11\x00"
    assert image_header(b"\xff\xd8\xff\xff\xff\x01" + frame) == ("JPEG", 3, 2, "grey")


@pytest.mark.parametrize("cut", [3, 5, 20])
def test_what_is_cut_off(cut: int) -> None:
    for format in ("JPEG", "PNG"):
        out = io.BytesIO()
        Image.new("RGB", (70, 31)).save(out, format)
        found = image_header(out.getvalue()[:cut])
        assert found in (ImageHeader(format), None if format == "PNG" else ImageHeader(format))


def test_what_is_no_image() -> None:
    assert image_header(b"") is None
    assert image_header(b"<html>") is None
