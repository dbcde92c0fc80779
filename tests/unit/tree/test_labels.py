"""Labels and words of classes, from whichever file has them."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import pytest

from imagenetfs.errors import (
    SourceUnreadableError,
)
from imagenetfs.source.source import Source
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery_walk import discover
from imagenetfs.tree.labels import read_devkit, read_words
from tests.helpers.archives import tar_of
from tests.helpers.devkit import LEAVES, meta_mat
from tests.helpers.sources import write

DATA = "ILSVRC2012/ILSVRC2012_devkit_t12/data"


def kit_of(root: Path) -> tuple[Devkit | None, list[str]]:
    source = Source(root)
    survey = discover(source)
    kit = read_devkit(survey, source)
    source.close()
    return kit, survey.warnings


def test_no_version_and_no_kit(tmp_path: Path) -> None:
    assert kit_of(tmp_path) == (None, [])
    (tmp_path / "ILSVRC2012").mkdir()
    assert kit_of(tmp_path) == (None, [])


def test_a_kit_in_a_directory(tmp_path: Path) -> None:
    write(tmp_path / DATA / "meta.mat", meta_mat())
    write(tmp_path / DATA / "ILSVRC2012_validation_ground_truth.txt", b"2\n1")
    kit, warnings = kit_of(tmp_path)
    assert warnings == []
    assert kit is not None
    assert kit.val_wnid(1) == LEAVES[1]


@pytest.mark.parametrize("name", ["ILSVRC2012_devkit_t12.tar", "ILSVRC2012_devkit_t12.tar.gz"])
def test_a_kit_in_its_archive(tmp_path: Path, name: str) -> None:
    data = tar_of(
        {
            f"ILSVRC2012_devkit_t12/{member}": content
            for member, content in (
                ("data/meta.mat", meta_mat()),
                ("data/ILSVRC2012_validation_ground_truth.txt", b"2\n1"),
            )
        }
    )
    write(tmp_path / "ILSVRC2012" / name, gzip.compress(data) if name.endswith("gz") else data)
    kit, warnings = kit_of(tmp_path)
    assert warnings == []
    assert kit is not None
    assert kit.truth == (2, 1)


@pytest.mark.parametrize("damage", ["no truth", "no meta", "cut", "no archive"])
def test_a_damaged_kit_is_a_warning(tmp_path: Path, damage: str) -> None:
    if damage == "no archive":
        write(tmp_path / "ILSVRC2012" / "ILSVRC2012_devkit_t12.tar.gz", b"no archive")
    if damage in ("no truth", "cut"):
        write(tmp_path / DATA / "meta.mat", meta_mat()[: 300 if damage == "cut" else None])
    if damage in ("no meta", "cut"):
        write(tmp_path / DATA / "ILSVRC2012_validation_ground_truth.txt", b"1")
    kit, [warning] = kit_of(tmp_path)
    assert kit is None
    assert warning.startswith("the devkit cannot be used: ")


def words_of(root: Path, kit: Devkit | None, *wanted: bytes) -> tuple[dict[bytes, str], list[str]]:
    source = Source(root)
    survey = discover(source)
    found, known_from = read_words(survey, source, kit, {*wanted})
    assert known_from.keys() == found.keys()
    source.close()
    return found, survey.warnings


KIT = Devkit({1: b"n00000001"}, {b"n00000001": "of the kit", b"n00000009": "above"}, ())


def test_words_of_tiny_and_of_the_kit(tmp_path: Path) -> None:
    text = b"n00000001\tof tiny\nn00000002\tsecond, other \nn00000003\tthird\nno words\n\xff\t\n"
    write(tmp_path / "tiny-imagenet-200" / "words.txt", text)
    wanted = (b"n00000001", b"n00000002", b"no words")
    assert words_of(tmp_path, None, *wanted) == (
        {b"n00000001": "of tiny", b"n00000002": "second, other"},
        [],
    )
    assert words_of(tmp_path, KIT, *wanted)[0] == {
        b"n00000001": "of the kit",
        b"n00000002": "second, other",
    }


def test_the_files_that_the_words_are_from(tmp_path: Path) -> None:
    """Who may not read them may not see the words."""
    path = "tiny-imagenet-200/words.txt"
    write(tmp_path / path, b"n00000001\tof tiny\nn00000002\tsecond\n")
    kit = replace(KIT, meta_path=b"kit/data/meta.mat")
    source = Source(tmp_path)
    _, known_from = read_words(discover(source), source, kit, {b"n00000001", b"n00000002"})
    source.close()
    assert known_from == {b"n00000001": kit.meta_path, b"n00000002": path.encode()}


def test_words_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "tiny-imagenet-200" / "words.txt", b"n00000001\tm\xfcll\n")
    assert words_of(tmp_path, None, b"n00000001")[0] == {b"n00000001": "m\ufffdll"}


def test_words_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "tiny-imagenet-200" / "words.txt", b"x")

    def refuse(self: Source, path: bytes) -> bytes:
        raise SourceUnreadableError("you may not read it.")

    monkeypatch.setattr(Source, "read_whole", refuse)
    assert words_of(tmp_path, KIT, b"n00000001") == (
        {b"n00000001": "of the kit"},
        ["tiny-imagenet-200/words.txt cannot be used: you may not read it."],
    )
