"""What says which class a val image is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED
from imagenetfs.tree.val_labels import find_labels
from imagenetfs.tree.wordnet import ilsvrc2012_wnids
from tests.helpers.layouts import write
from tests.helpers.splits import selector_of

A, B = b"n01440764", b"n01443537"
V1, V2 = b"ILSVRC2012_val_00000001", b"ILSVRC2012_val_00000002"
BOTH = {V1: B, V2: A}


# --- which of them --------------------------------------------------------------------------------

LIST = b"%s.JPEG %s\n%s.JPEG %s\n" % (V1, B, V2, A)
KIT = Devkit({1: A, 2: B}, {}, (2, 1), b"meta", b"truth")


def finder(
    finders: list[ArchiveSelector], root: Path, files: dict[str, bytes], at: bytes = b"ILSVRC2012"
) -> ArchiveSelector:
    (root / "ILSVRC2012").mkdir(exist_ok=True)
    finders.append(found := selector_of(write(root, files), at))
    return found


@pytest.mark.parametrize(
    "path",
    [
        "ILSVRC2012/ImageSets/CLS-LOC/val.txt",
        "ILSVRC2012/meta/val.txt",
        "ILSVRC2012/val_list.txt",
        "val.txt",
        "ILSVRC2012/val_map.txt",
        "ILSVRC2012/imagenet_2012_validation_synset_labels.txt",
        "LOC_val_solution.csv",
        "ILSVRC2012/loc_val_solution (1).csv",
        "kaggle/LOC_val_solution.csv.1",
    ],
)
def test_where_they_may_stand(tmp_path: Path, finders: list[ArchiveSelector], path: str) -> None:
    text = LIST.replace(b".JPEG ", b",") if ".csv" in path else LIST
    found = find_labels(finder(finders, tmp_path, {path: text}), None)
    assert found is not None
    assert (found.title, found.classes, found.by_stem()) == (path, [A, B], BOTH)
    assert [found.of(name) for name in (V1 + b".JPEG", b"val/" + V2 + b".png", b"x.JPEG")] == [
        *(B, A, None),
    ]
    assert found.paths == (path.encode(),)


def test_nothing_is_told_where_nothing_is_there(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    one = finder(finders, tmp_path, {"ILSVRC2012/val.txt": b"a.JPEG 1\nb.JPEG 2\n"})
    assert find_labels(one, None) is None
    assert one.discovery.warnings == []


def test_the_devkit_comes_first_and_who_disagrees_is_told(
    tmp_path: Path, finders: list[ArchiveSelector]
) -> None:
    same = finder(finders, tmp_path, {"ILSVRC2012/val.txt": LIST})
    found = find_labels(same, KIT)
    assert found is not None
    assert (found.title, found.by_stem(), found.paths) == ("the devkit", BOTH, KIT.paths)
    assert [found.of(V1 + b".JPEG"), found.of(b"ILSVRC2012_val_00000003.JPEG")] == [B, None]
    assert same.discovery.warnings == []
    other = finder(finders, tmp_path, {"ILSVRC2012/val.txt": b"%s %s\n" % (V1, A)})
    assert find_labels(other, KIT) is not None
    [told] = other.discovery.warnings
    assert told == (
        "the devkit and ILSVRC2012/val.txt disagree about 2 of 2 val images: "
        "the devkit is followed."
    )


def test_a_kit_with_labels_of_no_class(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    one = finder(finders, tmp_path, {})
    kit = Devkit({1: A}, {}, (1, 9), b"meta", b"truth")
    found = find_labels(one, kit)
    assert found is not None
    assert found.classes == sorted([A, UNLABELED])
    assert found.by_stem() == {V1: A, V2: UNLABELED}
    assert found.of(V2 + b".JPEG") is None
    assert "labels that it does not name" in one.discovery.warnings[0]


def test_a_list_that_cannot_be_read_is_told(
    tmp_path: Path, finders: list[ArchiveSelector], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = finder(finders, tmp_path, {"ILSVRC2012/val.txt": LIST})
    (tmp_path / "ILSVRC2012" / "val.txt").unlink()
    assert find_labels(one, None) is None
    [told] = one.discovery.warnings
    assert told.endswith("Its labels are not used.")


def test_a_list_beside_the_images(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    files = {"ILSVRC2012/val/LOC_val_solution.csv": LIST, "ILSVRC2012/val/a.JPEG": b"x"}
    one = finder(finders, tmp_path, files)
    images = one.directory(b"val")
    found = find_labels(one, None, (), images)
    assert found is not None
    assert found.title == "ILSVRC2012/val/LOC_val_solution.csv"
    assert find_labels(one, None) is None


def test_all_that_disagree_are_told(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    other = b"%s %s\n%s %s\n" % (V1, A, V2, A)
    files = {"LOC_val_solution.csv": LIST, "ILSVRC2012/val.txt": other, "val.txt": other}
    one = finder(finders, tmp_path, files)
    assert find_labels(one, KIT) is not None
    assert one.discovery.warnings == [
        f"the devkit and {path} disagree about 1 of 2 val images: the devkit is followed."
        for path in ("ILSVRC2012/val.txt", "val.txt")
    ]


def test_what_is_odd_about_a_list_is_told(tmp_path: Path, finders: list[ArchiveSelector]) -> None:
    wnids = ilsvrc2012_wnids()
    twice = LIST + b"%s %s\n" % (V1, A)
    for name, text, trained, said in (
        (
            "LOC_val_solution.csv",
            b"ImageId,x\na,b\n",
            (),
            "does not tell the classes of val: no line",
        ),
        (
            "val.txt",
            twice,
            (),
            "names 1 image of val again, with another class: the last one counts",
        ),
        ("val.txt", b"a 1000\nb 3\n", (), "its labels are numbers up to 1,000, and not places"),
        (
            "val.txt",
            b"a 1\nb 0\n",
            wnids[7:9],
            "are taken for the places among the 2 classes of train",
        ),
        ("val.txt", b"a 2\nb 0\n", wnids[7:9], "neither places among the 1,000 classes"),
    ):
        one = finder(finders, tmp_path, {f"ILSVRC2012/{name}": text})
        found = find_labels(one, None, trained)
        [told] = one.discovery.warnings
        assert said in told
        assert f"ILSVRC2012/{name}" in told
        assert (found is None) == ("does not tell" in told)
        (tmp_path / "ILSVRC2012" / name).unlink()
