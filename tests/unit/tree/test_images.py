"""What is an image, by its name and by its first bytes, and what desktops and editors leave."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.tree.images import Verdict, begins_as_image, has_images_alone, is_dropping, judge
from tests.helpers.archives import index_of, tar_of, tar_table

DROPPINGS = [
    *("._n01440764_10026.JPEG", ".DS_Store", "Thumbs.db", "thumbs.DB", "ehthumbs.db"),
    *("desktop.ini", "Desktop.ini", "@eaDir", ".ipynb_checkpoints", ".nfs000000000af3", "x.JPEG~"),
    *(".x.JPEG.swp", "#x.JPEG#", ".x.JPEG.Ab12Cd", "__MACOSX", "$RECYCLE.BIN", "lost+found"),
    *("Icon\r", ".Trashes", "~$x.jpeg", ".git"),
]


@pytest.mark.parametrize("name", DROPPINGS)
def test_droppings(name: str) -> None:
    assert is_dropping(name.encode())
    assert judge(name.encode()) is Verdict.DROPPING
    assert judge(b"a/" + name.encode() + b"/n01440764_1.JPEG") is Verdict.DROPPING


@pytest.mark.parametrize(
    "name",
    [
        *("n01440764_10026.JPEG", "a.jpg", "a.Jpeg", "A.PNG", "a.webp", "a.b.tiff", "a~b.jpg"),
        *("ILSVRC2012_val_00000001.JPEG", "x (1).JPEG", "thumbs/x.gif", "#1.jpg", "x\n.jpg"),
    ],
)
def test_images_by_name(name: str) -> None:
    assert judge(name.encode()) is Verdict.IMAGE
    assert not is_dropping(name.encode())


@pytest.mark.parametrize(
    "name", ["a.txt", "n01440764_boxes.txt", "x.JPEG.part", "a.XML", "labels.csv", "x.JPEG.md5"]
)
def test_other_files_by_name(name: str) -> None:
    assert judge(name.encode()) is Verdict.OTHER


@pytest.mark.parametrize("name", ["n01440764_10026", "12", "x.JPEG.1", "README", "a.weird", ""])
def test_names_that_do_not_tell(name: str) -> None:
    assert judge(name.encode()) is Verdict.UNTOLD


@pytest.mark.parametrize(
    "first",
    [
        *(b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x89PNG\r\n\x1a\n\0\0", b"GIF89a", b"P6\n12 12"),
        *(b"RIFF\x10\0\0\0WEBPVP8 ", b"II*\0\x08\0", b"MM\0*\0\0\0\x08", b"BM\x36\0\0\0\0\0\0\0"),
    ],
)
def test_first_bytes_of_images(first: bytes) -> None:
    assert begins_as_image(first)


@pytest.mark.parametrize(
    "first",
    [
        *(b"", b"\xff\xd8", b"\0\x05\x16\x07\0\x02\0\0Mac OS X", b"<!DOCTYPE html>", b"Phobos"),
        *(b"BMW and other cars", b"RIFF\x10\0\0\0WAVEfmt ", b"\x1f\x8b\x08"),
    ],
)
def test_first_bytes_of_other_files(first: bytes) -> None:
    assert not begins_as_image(first)


@pytest.mark.parametrize(
    ("names", "alone"),
    [
        ([], True),
        (["n01440764_1.JPEG", "n01440764_2.JPEG"], True),
        (["1.JPEG", "b.JPEG", "Z.JPEG"], True),
        (["1.JPEG", "é.JPEG", "(2).JPEG"], True),
        (["a.jpg", "a.png"], True),
        (["._a.JPEG", "a.JPEG"], False),
        ([".JPEG", "a.JPEG"], False),
        (["._a.JPEG"], False),
        (["a.JPEG", "~$a.JPEG"], False),
        (["a.JPEG", "a.txt"], False),
        (["a", "b"], False),
    ],
)
def test_a_table_of_images_alone(tmp_path: Path, names: list[str], alone: bool) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of([(name, b"x") for name in names]))
    index = index_of(tmp_path, "t.tar")
    assert has_images_alone(tar_table(index, 0, OUTER)) is alone
