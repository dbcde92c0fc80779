"""Contact sheets: which images, where they stand, and what cannot be drawn."""

from __future__ import annotations

import io
import random
import sys

import pytest
from PIL import Image

from imagenetfs.errors import MissingPackageError
from imagenetfs.library.contact_sheet import Row, batch_of, draw_sheet, encode_sheet, images_of
from imagenetfs.library.find import TreeSearch
from imagenetfs.library.opened import OpenedSource


def png(colour: tuple[int, int, int], size: tuple[int, int] = (40, 20)) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, colour).save(out, "PNG")
    return out.getvalue()


RED, BLUE = (250, 0, 0), (0, 0, 250)


@pytest.mark.slow
def test_rows_of_images() -> None:
    rows = [Row("reds", [(png(RED), "a")] * 9), Row("blues", [(png(BLUE, (20, 40)), "")])]
    sheet = draw_sheet("all", rows)
    assert sheet.broken == 0
    found = sheet.picture
    pixels = found.convert("RGB").load()
    reds = {(x, y) for x in range(found.width) for y in range(found.height) if pixels[x, y] == RED}
    blues = {
        (x, y) for x in range(found.width) for y in range(found.height) if pixels[x, y] == BLUE
    }
    assert len(reds) == 9 * 128 * 64, "nine tiles, twice as wide as high"
    assert len(blues) == 64 * 128
    assert max(y for _, y in reds) < min(y for _, y in blues)
    assert Image.open(io.BytesIO(encode_sheet(sheet, "PNG"))).size == found.size
    assert encode_sheet(sheet, "JPEG").startswith(b"\xff\xd8\xff")


@pytest.mark.slow
def test_what_cannot_be_decoded_is_grey_and_counted() -> None:
    sheet = draw_sheet("x" * 500, [Row("", [(b"no image", "y" * 99), (png(RED), "\u4e2d")])])
    assert sheet.broken == 1
    assert sheet.picture.getpixel((60, 60)) == (214, 214, 214)


def test_without_pillow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingPackageError, match="needs Pillow: pip install pillow"):
        draw_sheet("", [])


def test_images_of_a_class_and_a_batch(opened: OpenedSource) -> None:
    [place] = TreeSearch(opened).find("ILSVRC2012/train")
    [split] = place.splits
    names = [pick.path for pick in images_of(opened, split, b"n00000002")]
    assert names == [f"ILSVRC2012/train/n00000002/n00000002_{n}.JPEG" for n in range(4)]
    every = batch_of(opened, split, 99, random.Random(1))
    assert len({pick.path for pick in every}) == len(every) == 12
    assert {pick.wnid for pick in every} == {b"n00000001", b"n00000002", b"n00000003"}
    assert all(pick.path.split("/")[2].encode() == pick.wnid for pick in every)
    some = batch_of(opened, split, 3, random.Random(1))
    assert some == batch_of(opened, split, 3, random.Random(1))
    assert opened.read(some[0].inode, some[0].path).startswith(b"image 000")
