"""Any other set of classes as a version of its own: its name, its splits, what is said of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.tree.dataset import Version
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED
from imagenetfs.tree.versions.class_sets import versions
from imagenetfs.tree.wordnet import ilsvrc2012_wnids
from tests.helpers.archives import tar_of
from tests.helpers.layouts import write
from tests.helpers.splits import selector_of

A, B = b"n00000001", b"n00000002"


class Found:
    """The sets of a source with these files, and what was said."""

    def __init__(
        self, finders: list[ArchiveSelector], root: Path, files: dict[str, bytes], *known: bytes
    ) -> None:
        finder = selector_of(write(root, files))
        finders.append(finder)
        self.warnings = finder.discovery.warnings
        known_versions = [Version(name) for name in known]
        self.versions = versions(finder.discovery, finder.index, "archives", known_versions, None)

    @property
    def classes(self) -> dict[str, list[bytes]]:
        """Version/split -> its classes."""
        return {
            f"{version.name.decode()}/{split.name.decode()}": list(split.backend.classes)
            for version in self.versions
            for split in version.splits
        }


X = b"x"


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["mine/n00000001/x.JPEG", "mine/n00000002/x.JPEG"], {"mine/train": [A, B]}),
        (
            ["mine/train/n00000001/x.JPEG", "mine/val/n00000002/x.JPEG"],
            {"mine/train": [A], "mine/val": [B]},
        ),
        # sets that are made to test with
        (["imagenet-a/n00000001/x.JPEG"], {"imagenet-a/val": [A]}),
        (["imagenet-sketch/sketch/n00000001/x.JPEG"], {"imagenet-sketch/val": [A]}),
        (
            ["ImageNet-C/fog/1/n00000001/x.JPEG", "ImageNet-C/fog/2/n00000001/x.JPEG"],
            {"ImageNet-C/1": [A], "ImageNet-C/2": [A]},
        ),
        # names that the root has already
        (["source/n00000001/x.JPEG"], {"set-source/train": [A]}),
        (["archives/n00000001/x.JPEG"], {"set-archives/train": [A]}),
        (["nothing/here.txt"], {}),
        ([], {}),
    ],
    ids=range(9),
)
def test_directories(
    tmp_path: Path,
    finders: list[ArchiveSelector],
    files: list[str],
    expected: dict[str, list[bytes]],
) -> None:
    found = Found(finders, tmp_path, dict.fromkeys(files, X))
    assert found.classes == expected
    assert found.warnings == []


def test_tars(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    classes = tar_of({"top/n00000001/x.JPEG": X, "top/n00000002/x.JPEG": X})
    files = {
        "a.tar": classes,
        "b.tar": tar_of({"n00000001.tar": tar_of({"x.JPEG": X})}),
        "photos.tar": tar_of({"x.JPEG": X}),
        "ILSVRC2012_devkit_t12.tar": classes,
        "n00000003.txt": X,
    }
    found = Found(finders, tmp_path, files)
    assert found.classes == {"a/train": [A, B], "b/train": [A]}
    assert found.warnings == []


def test_the_source_itself(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    found = Found(finders, tmp_path / "mine", {"n00000001/x.JPEG": X})
    assert found.classes == {"mine/train": [A]}


def test_a_split_as_the_source(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    found = Found(finders, tmp_path / "val", {"n00000001/x.JPEG": X})
    assert found.classes == {"val/val": [A]}
    [told] = found.warnings
    assert "looks like the split val of a version; to have all of it, give" in told
    assert told.endswith(f"give its parent, {tmp_path}.")


def test_numbered_classes_are_those_of_ilsvrc2012(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    wnids = ilsvrc2012_wnids()
    found = Found(finders, tmp_path, {"imagenetv2/0/x.JPEG": X, "imagenetv2/999/x.JPEG": X})
    assert found.classes == {"imagenetv2/val": [wnids[0], wnids[999]]}


@pytest.mark.parametrize("known", [[b"mine"], []])
def test_a_name_that_is_taken_is_told(
    tmp_path: Path, finders: list[ArchiveSelector], known: list[bytes]
) -> None:
    files = {"mine/n00000001/x.JPEG": X, "mine.tar": tar_of({"n00000002/x.JPEG": X})}
    found = Found(finders, tmp_path, files, *known)
    assert found.classes == ({} if known else {"mine/train": [A]})
    assert found.warnings[-1] == "mine.tar is not shown: there is a version mine already."
    assert len(found.warnings) == 1 + len(known)


def test_a_split_without_class_directories(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    files = {
        "mine/train/n00000001/x.JPEG": X,
        "mine/val/n00000001_1.JPEG": X,
        "mine/val/photo.JPEG": X,
        "mine/test/photo.JPEG": X,
    }
    found = Found(finders, tmp_path, files)
    assert found.classes == {
        "mine/train": [A],
        "mine/val": [A, UNLABELED],
        "mine/test": [UNLABELED],
    }
    [told] = found.warnings  # of test's images no class is known, as of any
    assert told.startswith("mine/val has images of which nothing says what class they are")
    [version] = found.versions
    aliases = {split.name: split.aliases for split in version.splits}
    assert aliases == {b"train": (), b"val": (b"validation",), b"test": ()}
