"""The survey: two levels of directories and the tars in them, numbered in
the order of their paths.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

from imagenetfs.counters import BYTES, REQUESTS, SOURCE_WORDS
from imagenetfs.errors import SourceReadError
from imagenetfs.index.archives import Kind
from imagenetfs.source.source import Source
from imagenetfs.tree.discovery_walk import discover

T = TypeVar("T")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for directory in ("ILSVRC2012/train/n01", "winter21_whole/tars", "empty", "a/b/c/d"):
        (tmp_path / directory).mkdir(parents=True)
    for tar in ("ILSVRC2012/img.tar", "top.tar", "winter21_whole/tars/n1.tar", "a/b/c/x.tar"):
        (tmp_path / tar).write_bytes(b"")
    (tmp_path / "ILSVRC2012" / "readme.txt").write_bytes(b"")
    (tmp_path / "a" / "b" / "rows.npz").write_bytes(b"")
    (tmp_path / "ILSVRC2012" / "train" / "rows.npz").write_bytes(b"")
    (tmp_path / "dir.tar").mkdir()
    (tmp_path / "link").symlink_to("ILSVRC2012")
    return tmp_path


def test_archives(source: Path) -> None:
    found = discover(Source(source))
    assert [archive.path for archive in found.archives] == sorted(found.numbers)
    assert [archive.number for archive in found.archives] == list(range(len(found.archives)))
    kinds = {archive.path: archive.kind for archive in found.archives}
    assert kinds == {
        **dict.fromkeys(
            [
                *(b"", b"ILSVRC2012", b"ILSVRC2012/train", b"a", b"a/b", b"dir.tar", b"empty"),
                *(b"link", b"link/train", b"winter21_whole", b"winter21_whole/tars"),
            ],
            Kind.DIRECTORY,
        ),
        **dict.fromkeys(
            [
                *(b"ILSVRC2012/img.tar", b"link/img.tar", b"top.tar"),
                b"winter21_whole/tars/n1.tar",
            ],
            Kind.TAR,
        ),
        b"a/b/rows.npz": Kind.NPZ,
    }
    assert found.files(b"ILSVRC2012") == [b"img.tar", b"readme.txt"]
    assert found.directories(b"ILSVRC2012") == [b"train"]
    assert found.files(b"a/b") == [b"rows.npz"]
    assert found.files(b"ILSVRC2012/train") == []  # looked into for levels alone
    number = found.number(b"ILSVRC2012/train")
    assert number is not None
    assert found.number(b"ILSVRC2012/train", Kind.DIRECTORY) == number
    assert found.number(b"ILSVRC2012/train", Kind.TAR) is None
    assert found.number(b"nothing") is None
    assert found.warnings == []


def test_it_opens_no_archive(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = Source(source)
    opened: list[bytes] = []
    inner = one._ask

    def ask(path: bytes, work: Callable[[], T], requests: int = 1) -> T:
        opened.extend([path] * requests)
        return inner(path, work, requests)

    monkeypatch.setattr(one, "_ask", ask)
    discover(one)
    assert not [path for path in opened if path.endswith(b"img.tar")]
    assert sorted(opened) == sorted(
        [
            *(b"", b"ILSVRC2012", b"a", b"a/b", b"dir.tar", b"empty", b"link"),
            *(b"ILSVRC2012/train", b"ILSVRC2012/train/n01", b"link/train", b"link/train/n01"),
            *(b"winter21_whole", b"winter21_whole/tars"),
        ]
    )


def test_the_numbers_are_the_same_each_time(source: Path) -> None:
    assert discover(Source(source)).numbers == discover(Source(source)).numbers


def test_a_directory_that_cannot_be_read_is_a_warning(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Source.names

    def refuse(self: Source, path: bytes, **more: Any) -> list[tuple[bytes, bool]]:
        if path == b"a":
            raise SourceReadError("cannot read a: Input/output error.")
        return names(self, path, **more)

    monkeypatch.setattr(Source, "names", refuse)
    found = discover(Source(source))
    assert found.warnings == ["cannot read a: Input/output error. It is not shown."]
    assert b"ILSVRC2012/img.tar" in found.numbers


def test_a_link_in_a_circle(source: Path) -> None:
    (source / "circle").symlink_to("circle")
    assert b"ILSVRC2012/img.tar" in discover(Source(source)).numbers


def test_the_documented_tree_costs_no_more_than_its_listings(tmp_path: Path) -> None:
    """No level more is looked into, and no file is opened, whatever else is accepted."""
    for directory in (
        *("DownSampled/Imagenet8_train_npz", "ILSVRC2012/ILSVRC2012_devkit_t12/data"),
        *("ILSVRC2012/ILSVRC2012_devkit_t12/evaluation", "ILSVRC2012/ILSVRC2012_devkit_t3/data"),
        *("ILSVRC2012/test", "ILSVRC2012/train/n01440764", "ILSVRC2012/train_T3/n02085620"),
        *("ILSVRC2012/validation", "tiny-imagenet-200/test/images", "tiny-imagenet-200/val/images"),
        *("tiny-imagenet-200/train/n01443537/images", "winter21_whole/n00004475"),
        "winter21_whole/tars",
    ):
        (tmp_path / directory).mkdir(parents=True)
    for name in ("img_train", "img_val", "img_test_v10102019", "img_train_t3"):
        (tmp_path / "ILSVRC2012" / f"ILSVRC2012_{name}.tar").write_bytes(b"")
    for file in (
        *("ILSVRC2012/ILSVRC2012.md5", "ILSVRC2012/ILSVRC2012_devkit_t12.tar.gz"),
        *("tiny-imagenet-200/wnids.txt", "winter21_whole/tars/n00004475.tar"),
        "DownSampled/Imagenet8_train_npz/train_data_batch_1.npz",
    ):
        (tmp_path / file).write_bytes(b"")
    meter = [0] * SOURCE_WORDS
    source = Source(tmp_path, meter)
    listed: list[bytes] = []
    inner = source._ask

    def ask(path: bytes, work: Callable[[], T], requests: int = 1) -> T:
        listed.append(path)
        return inner(path, work, requests)

    source._ask = ask  # type: ignore[method-assign]
    discover(source)
    assert sorted(listed) == [
        *(b"", b"DownSampled", b"DownSampled/Imagenet8_train_npz", b"ILSVRC2012"),
        *(b"ILSVRC2012/ILSVRC2012_devkit_t12", b"ILSVRC2012/ILSVRC2012_devkit_t3"),
        *(b"tiny-imagenet-200", b"winter21_whole", b"winter21_whole/tars"),
    ]
    assert (meter[REQUESTS], meter[BYTES]) == (9, 0)


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz", "a.tar.lzma"])
def test_a_compressed_tar_that_is_none_is_told(tmp_path: Path, name: str) -> None:
    for data in (b"", b"<html>not found</html>" * 40):
        (tmp_path / name).write_bytes(data)
        [told] = discover(Source(tmp_path)).warnings
        assert told.startswith(f"{name} is called as a compressed tar and does not begin as one")
