"""Which archive a split is served from, and what is said where it is not the first choice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.errors import (
    BrokenArchivesError,
    SourceUnreadableError,
)
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.source.source import Source
from imagenetfs.tree.discovery import Discovery
from imagenetfs.tree.discovery_walk import discover
from imagenetfs.tree.selection import ArchiveSelector
from tests.helpers.archives import close, train_tar
from tests.helpers.sources import TRAIN, write

ROOT = b"ILSVRC2012"


_made: list[Index] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """The indexes of a test's selectors are closed with it."""
    yield
    while _made:
        close(_made.pop())


class Selector:
    """A selector over a source as it is surveyed now."""

    def __init__(self, root: Path, prefer: str = "archives") -> None:
        source = Source(root)
        self.survey: Discovery = discover(source)
        index = Index(source, self.survey.archives, Arena(len(self.survey.archives)))
        _made.append(index)
        self.finder = ArchiveSelector(self.survey, index, prefer, ROOT)
        self.tar = self.survey.number(TRAIN.encode())
        self.directory = self.finder.directory(b"train")

    def choose(self) -> tuple[bytes | None, bytes | None]:
        """What is chosen, by path."""
        tars = [self.tar] if self.tar is not None else []
        return tuple(  # type: ignore[return-value]
            None if place is None else self.finder.path_of(place)
            for place in self.finder.choose(tars, self.directory)
        )

    @property
    def lost(self) -> list[str]:
        return [str(error) for error in self.survey.lost]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path / TRAIN, train_tar(3))
    return tmp_path


def extracted(root: Path) -> Path:
    return write(root / "ILSVRC2012" / "train" / "n00000001" / "x.JPEG", b"x")


TAR, TRAIN_DIRECTORY = TRAIN.encode(), b"ILSVRC2012/train"


def test_an_archive_and_a_directory(root: Path) -> None:
    assert Selector(root).choose() == (TAR, None)
    extracted(root)
    assert Selector(root).choose() == (TAR, TRAIN_DIRECTORY)
    assert Selector(root, "directories").choose() == (TRAIN_DIRECTORY, None)
    (root / TRAIN).unlink()
    assert Selector(root).choose() == (TRAIN_DIRECTORY, None)


def test_neither(root: Path) -> None:
    (root / TRAIN).unlink()
    one = Selector(root)
    assert one.choose() == (None, None)
    assert (one.survey.warnings, one.lost) == ([], [])


def test_an_empty_directory_is_none(root: Path) -> None:
    (root / "ILSVRC2012" / "train").mkdir()
    one = Selector(root, "directories")
    assert one.directory is None
    assert one.choose() == (TAR, None)


def broken(root: Path, keep: int | None) -> None:
    """Cut train's tar off within class tar ``keep`` (None: it is none at all)."""
    data = (root / TRAIN).read_bytes()
    at = data.index(b"n%08d.tar" % (keep + 1)) + 700 if keep is not None else 0
    write(root / TRAIN, data[:at] if keep is not None else b"garbage" * 300)


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
def test_a_broken_archive_beside_a_directory(root: Path) -> None:
    broken(root, 1)
    extracted(root)
    one = Selector(root)
    assert one.choose() == (TRAIN_DIRECTORY, None)
    [warning] = one.survey.warnings
    assert warning.startswith(f"{TRAIN} is broken: ")
    assert "The extracted directory ILSVRC2012/train" in warning
    assert warning.endswith(" takes its place; have the archive replaced.")
    assert one.lost == []


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
@pytest.mark.parametrize(("whole", "words"), [(1, "1 class"), (2, "2 classes")])
def test_what_is_whole_of_a_broken_archive_is_served(root: Path, whole: int, words: str) -> None:
    broken(root, whole)
    one = Selector(root)
    assert one.choose() == (TAR, None)
    [lost] = one.lost
    assert f"What is whole of it is served ({words}), and the rest is missing" in lost
    assert isinstance(one.survey.lost[0], BrokenArchivesError)
    assert one.survey.warnings == one.lost


@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_nothing_is_whole(root: Path) -> None:
    broken(root, None)
    one = Selector(root)
    assert one.choose() == (None, None)
    assert one.lost[0].endswith("Nothing of it can be served; have the archive replaced.")


@pytest.mark.parametrize("beside", [True, False])
def test_an_archive_that_may_not_be_read(
    root: Path, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    if beside:
        extracted(root)
    one = Selector(root)

    def refuse(number: int) -> None:
        raise SourceUnreadableError("you may not read it.")

    monkeypatch.setattr(one.finder.index, "check", refuse)
    if beside:
        assert one.choose() == (TRAIN_DIRECTORY, None)
        assert one.survey.warnings == [
            f"{TRAIN}: you may not read it. So the directory takes its place."
        ]
    else:
        assert one.choose() == (None, None)
        assert one.lost == [f"{TRAIN}: you may not read it. So it is not shown."]


def test_a_directory_that_may_not_be_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extracted(root)
    one = Selector(root)

    def refuse(self: Source, path: bytes) -> bool:
        raise SourceUnreadableError("you may not read it.")

    monkeypatch.setattr(Source, "has_entries", refuse)
    assert one.finder.directory(b"train") is None
    assert one.survey.warnings == ["you may not read it. It is not used."]


def test_the_first_directory_that_is_not_empty(root: Path) -> None:
    (root / "ILSVRC2012" / "validation").mkdir()
    write(root / "ILSVRC2012" / "val" / "n00000001" / "x.JPEG", b"x")
    write(root / "ILSVRC2012" / "test" / "x.JPEG", b"x")
    one = Selector(root)
    val = one.finder.directory(b"validation", b"val")
    assert val is not None
    assert one.finder.path_of(val) == b"ILSVRC2012/val"
    assert one.finder.has_classes(val)
    test = one.finder.directory(b"test")
    assert test is not None
    assert not one.finder.has_classes(test)


def test_tars_by_their_names(root: Path) -> None:
    write(root / "ILSVRC2012" / "ILSVRC2012_img_val.tar", b"")
    (root / "ILSVRC2012" / "ILSVRC2012_img_train_t3.tar").mkdir()  # a directory of that name
    one = Selector(root)
    assert one.finder.tars(re.compile(rb"ILSVRC2012_img_train\w*\.tar")) == [one.tar]
    assert one.finder.tars(re.compile(rb"nothing")) == []
