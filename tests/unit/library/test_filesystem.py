"""fsspec's protocol: names, bytes, and what is said of what is not there."""

from __future__ import annotations

import datetime
import errno
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import imagenetfs
from imagenetfs.errors import UsageError

pytest.importorskip("fsspec")

from imagenetfs.library.filesystem import ImagenetFileSystem

CLASS = "ILSVRC2012/train/n00000001"
IMAGES = [f"{CLASS}/n00000001_{number}.JPEG" for number in range(3)]


@pytest.fixture(scope="module")
def fs(shared_source: Path) -> Iterator[ImagenetFileSystem]:
    found = ImagenetFileSystem(str(shared_source), index_dir="none", skip_instance_cache=True)
    yield found
    found.tree.close()


@pytest.fixture(scope="module")
def whole(shared_tree: imagenetfs.Tree) -> list[bytes]:
    return shared_tree.read_many(IMAGES)


@pytest.mark.parametrize(
    ("path", "stripped"),
    [
        ("imagenetfs://a/b", "a/b"),
        ("imagenetfs:///a/b/", "a/b"),
        ("/a/b", "a/b"),
        ("", ""),
        ("imagenetfs://", ""),
        (Path("a/b"), "a/b"),
        (["imagenetfs://a", "b"], ["a", "b"]),
    ],
)
def test_paths_without_the_protocol(path: object, stripped: object) -> None:
    assert ImagenetFileSystem._strip_protocol(path) == stripped


def test_what_is_said_of_a_file_and_of_a_directory(
    fs: ImagenetFileSystem, whole: list[bytes]
) -> None:
    info = fs.info(f"imagenetfs://{IMAGES[0]}")
    assert (info["name"], info["size"], info["type"]) == (IMAGES[0], len(whole[0]), "file")
    assert stat.S_ISREG(info["mode"])
    assert fs.modified(IMAGES[0]) == datetime.datetime.fromtimestamp(7, datetime.UTC)
    info = fs.info(CLASS)
    assert (info["name"], info["size"], info["type"]) == (CLASS, 0, "directory")
    assert fs.info("")["type"] == "directory"


def test_listings(fs: ImagenetFileSystem) -> None:
    assert fs.ls(CLASS, detail=False) == IMAGES
    assert fs.ls(f"/{CLASS}/") == [fs.info(path) for path in IMAGES]
    assert fs.ls(IMAGES[0], detail=False) == [IMAGES[0]]
    assert fs.ls(IMAGES[0]) == [fs.info(IMAGES[0])]
    assert "ILSVRC2012" in fs.ls("", detail=False)
    assert sorted(fs.find(CLASS)) == IMAGES


@pytest.mark.parametrize(
    ("start", "end"),
    [(None, None), (3, 9), (None, 5), (7, None), (-4, None), (None, -4), (-9, -4), (9, 3)],
)
def test_parts_of_a_file_are_a_slice(
    fs: ImagenetFileSystem, whole: list[bytes], start: int | None, end: int | None
) -> None:
    assert fs.cat_file(IMAGES[0], start, end) == whole[0][start:end]
    assert fs.cat_file(IMAGES[0], start=1 << 40) == b""


@pytest.mark.parametrize(
    ("starts", "ends", "slices"),
    [
        (0, 16, [(0, 16)] * 3),
        (None, None, [(None, None)] * 3),
        ([0, 5, -3], [16, None, None], [(0, 16), (5, None), (-3, None)]),
        (range(3), 16, [(0, 16), (1, 16), (2, 16)]),
        (np.array([0, 1, 2]), np.array([5, 6, 7]), [(0, 5), (1, 6), (2, 7)]),
        (iter([0, 1, 2]), None, [(0, None), (1, None), (2, None)]),
    ],
    ids=["one", "none", "lists", "range", "arrays", "iterator"],
)
def test_parts_of_many(
    fs: ImagenetFileSystem,
    whole: list[bytes],
    starts: Any,
    ends: Any,
    slices: list[tuple[int | None, int | None]],
) -> None:
    expected = [data[low:high] for data, (low, high) in zip(whole, slices, strict=True)]
    assert fs.cat_ranges(IMAGES, starts, ends) == expected


def test_what_does_not_fit_together(fs: ImagenetFileSystem) -> None:
    with pytest.raises(ValueError, match="as many"):
        fs.cat_ranges(IMAGES, [0, 1], 5)
    with pytest.raises(TypeError, match="a list of paths"):
        fs.cat_ranges(IMAGES[0], 0, 5)
    with pytest.raises(TypeError):
        fs.cat_ranges(IMAGES, [0.5, 1.5, 2.5], 5)


def test_one_that_is_not_there_among_many(fs: ImagenetFileSystem, whole: list[bytes]) -> None:
    paths = [IMAGES[0], f"{CLASS}/gone.JPEG", IMAGES[2]]
    first, error, last = fs.cat_ranges(paths, 0, 5)
    assert (first, last) == (whole[0][:5], whole[2][:5])
    assert isinstance(error, FileNotFoundError)
    with pytest.raises(FileNotFoundError):
        fs.cat_ranges(paths, 0, 5, on_error="raise")
    with pytest.raises(FileNotFoundError):
        fs.cat(paths)
    assert isinstance(fs.cat(paths, on_error="return")[paths[1]], FileNotFoundError)
    assert fs.cat(paths, on_error="omit") == {IMAGES[0]: whole[0], IMAGES[2]: whole[2]}


def test_a_file_is_itself_and_several_are_by_their_paths(
    fs: ImagenetFileSystem, whole: list[bytes]
) -> None:
    assert fs.cat(IMAGES[0]) == whole[0]
    assert fs.cat([IMAGES[0]]) == {IMAGES[0]: whole[0]}
    assert fs.cat(f"{CLASS}/*.JPEG") == dict(zip(IMAGES, whole, strict=True))
    assert fs.cat(CLASS, recursive=True) == dict(zip(IMAGES, whole, strict=True))
    with fs.open(f"imagenetfs://{IMAGES[1]}") as file:
        assert file.read() == whole[1]


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "xb"])
def test_nothing_is_written(fs: ImagenetFileSystem, mode: str) -> None:
    with pytest.raises(OSError) as caught:
        fs.open(IMAGES[0], mode)
    assert caught.value.errno == errno.EROFS


def test_options_are_those_of_open_and_fsspecs(shared_source: Path) -> None:
    with pytest.raises(UsageError, match=r"^in_flight must be"):
        ImagenetFileSystem(str(shared_source), in_flight=0, skip_instance_cache=True)
    given = {"index_dir": "none", "use_listings_cache": False, "skip_instance_cache": True}
    found = ImagenetFileSystem(str(shared_source), **given)
    assert found.tree.source == str(shared_source)
    found.tree.close()
