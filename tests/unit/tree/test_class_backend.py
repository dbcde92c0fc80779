"""What an archive becomes that tells its classes itself, and what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import BrokenArchivesError
from imagenetfs.index.archives import OUTER
from imagenetfs.tree.class_backend import (
    broken_within,
    class_backend,
    labels_of_directories,
    outside_of,
    split_of_places,
)
from imagenetfs.tree.class_places import ClassPlace
from imagenetfs.tree.directory_split import DirectorySplit
from imagenetfs.tree.left_out import Reason
from imagenetfs.tree.outside import Outside
from imagenetfs.tree.per_class_split import PerClassSplit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit, SplitBackend
from imagenetfs.tree.unpacked import DirectoryPlace
from tests.helpers.archives import tar_of
from tests.helpers.layouts import write
from tests.helpers.splits import selector_of, split_images

A, B = b"n00000001", b"n00000002"
IN_A, IN_B = "n00000001/n00000001_1.JPEG", "n00000002/n00000002_1.JPEG"


class Made:
    """The backend of ``t.tar`` with these members, and what was said."""

    def __init__(
        self, finders: list[ArchiveSelector], root: Path, members: dict[str, bytes] | bytes
    ) -> None:
        tar = members if isinstance(members, bytes) else tar_of(members)
        self.finder = selector_of(write(root, {"t.tar": tar}))
        finders.append(self.finder)
        number = self.finder.discovery.number(b"t.tar")
        assert number is not None
        self.where = DirectoryPlace(number)
        self.backend: SplitBackend | None = class_backend(self.finder, self.where, b"train")

    @property
    def images(self) -> dict[bytes, list[bytes]]:
        assert self.backend is not None
        found = split_images(self.finder.index, self.backend)
        return {wnid: sorted(images) for wnid, images in found.items()}

    @property
    def warnings(self) -> list[str]:
        return self.finder.discovery.warnings


def test_class_directories(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    made = Made(finders, tmp_path, {IN_A: b"x", IN_B: b"y"})
    assert isinstance(made.backend, DirectorySplit)
    assert made.images == {A: [b"n00000001_1.JPEG"], B: [b"n00000002_1.JPEG"]}
    assert made.warnings == []


def test_class_tars(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    made = Made(finders, tmp_path, {"n00000001.tar": tar_of({"a.JPEG": b"x"})})
    assert isinstance(made.backend, PerClassSplit)
    assert made.images == {A: [b"a.JPEG"]}


def test_images_that_say_their_class(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    members = {"d/n00000001_1.JPEG": b"x", "n00000002_1.JPEG": b"y", "readme.txt": b""}
    made = Made(finders, tmp_path, members)
    assert isinstance(made.backend, FlatSplit)
    assert made.images == {A: [b"n00000001_1.JPEG"], B: [b"n00000002_1.JPEG"]}
    assert made.warnings == []


def test_images_whose_names_say_nothing(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    made = Made(finders, tmp_path, {"n00000001_1.JPEG": b"x", "photo.JPEG": b"y"})
    assert made.images == {A: [b"n00000001_1.JPEG"], UNLABELED: [b"photo.JPEG"]}
    [told] = made.warnings
    assert told.startswith("1 of 2 images of t.tar stand in no class directory, and their names")


def test_images_beside_empty_class_directories(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    """As if sorting them had failed."""
    members = {"n00000001/": b"", "n00000002/": b"", "n00000001_1.JPEG": b"x"}
    made = Made(finders, tmp_path, members)
    assert made.images == {A: [b"n00000001_1.JPEG"]}
    [told] = made.warnings
    assert "t.tar has 2 empty class directories, and 1 images beside them" in told


def test_images_beside_full_class_directories_are_told(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    made = Made(finders, tmp_path, {IN_A: b"x", "b.JPEG": b"y", "d/a.JPEG": b"z"})
    assert made.images == {A: [b"n00000001_1.JPEG"]}
    [told] = made.warnings
    assert told == ("t.tar has 2 images in no class directory (first: b.JPEG): they are not shown.")


def test_nothing_of_classes(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    made = Made(finders, tmp_path, {"readme.txt": b"x"})
    assert made.backend is None
    [told] = made.warnings
    assert told.startswith("t.tar holds no classes: neither directories nor tars named as")
    empty = Made(finders, tmp_path / "other", b"\0" * 10240)
    assert (empty.backend, empty.warnings) == (None, [])


@pytest.mark.expects_log("its checksum does not hold")
def test_tars_in_it_that_are_broken_are_the_reason(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    made = Made(finders, tmp_path, {"part.tar": b"no tar at all " * 100})
    assert made.backend is None
    [lost] = made.finder.discovery.lost
    assert isinstance(lost, BrokenArchivesError)
    assert made.warnings == [str(lost)]
    told = broken_within(made.finder.index, made.where.archive)
    assert " ".join(told) == str(lost)


# --- what counts the rest -------------------------------------------------------------------------


def test_images_in_no_class_are_counted(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    made = Made(finders, tmp_path, {IN_A: b"x", "b.JPEG": b"y", "c/d.JPEG": b"z"})
    assert made.backend is not None
    outside = outside_of(made.finder, [made.backend], [made.where])()
    assert outside.left_out.counts == {Reason.NO_CLASS: 2}
    shown = [ClassPlace(made.where.archive, OUTER, b"c")]
    outside = outside_of(made.finder, [made.backend], [made.where], shown=shown)()
    assert outside.left_out.counts == {Reason.NO_CLASS: 1}


def test_what_has_all_images_leaves_none_outside(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    made = Made(finders, tmp_path, {"n00000001_1.JPEG": b"x"})
    assert made.backend is not None
    assert outside_of(made.finder, [made.backend], [made.where]) is Outside


def test_classes_that_are_whole_containers_and_others(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    finder = Made(finders, tmp_path, {IN_A: b"x"}).finder
    whole, part = ClassPlace(0, 0), ClassPlace(0, OUTER, b"d")
    assert isinstance(split_of_places(finder, {A: whole}), PerClassSplit)
    assert isinstance(split_of_places(finder, {A: whole, B: part}), DirectorySplit)


def test_class_directories_label_the_images_of_a_tar(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    files = {f"d/{A.decode()}/v1.JPEG": b"x", f"d/{B.decode()}/v2.JPEG": b"y", "d/z.JPEG": b"z"}
    finder = selector_of(write(tmp_path, files))
    finders.append(finder)
    place = finder.discovery.place(b"d")
    assert place is not None
    labels, paths = labels_of_directories(finder, place)
    assert labels == {b"v1.JPEG": A, b"v2.JPEG": B}
    assert sorted(paths) == [b"d/" + A, b"d/" + B]
