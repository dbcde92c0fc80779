"""What says which class a val image is of."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED
from imagenetfs.tree.val_labels import _parse_solution, find_labels, parse_list
from imagenetfs.tree.wordnet import ilsvrc2012_wnids
from tests.helpers.layouts import write
from tests.helpers.splits import selector_of

A, B = b"n01440764", b"n01443537"
V1, V2 = b"ILSVRC2012_val_00000001", b"ILSVRC2012_val_00000002"
BOTH = {V1: B, V2: A}


@pytest.mark.parametrize(
    "text",
    [
        b"%s.JPEG %s\n%s.JPEG %s\n" % (V1, B, V2, A),
        b"val/%s.JPEG %s\r\nval/%s.JPEG %s\r\n" % (V1, B, V2, A),
        b"%s %s\n\n%s %s\n\n" % (V1, B, V2, A),
        b"\xef\xbb\xbf%s.JPEG 1\n%s.JPEG 0" % (V1, V2),
        b"  %s.JPEG   1  \n%s.JPEG 0 " % (V1, V2),
    ],
    ids=["wnids", "windows", "empty lines", "a mark", "blanks"],
)
def test_lists(text: bytes) -> None:
    assert parse_list(text) == BOTH


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"a.JPEG 1\nb.JPEG 2\n",  # lines that are numbered
        b"a.JPEG 0\nb.JPEG 1\n",
        b"a.JPEG 5\nb.JPEG 1000\n",  # there is no such class
        b"a.JPEG 5\nb.JPEG %s\n" % A,
        b"a.JPEG 5\nb.JPEG\n",
        b"a.JPEG n0144076\n",
        b"a.JPEG -1\nb.JPEG 3\n",
        b"1\n2\n",
    ],
)
def test_lists_that_say_nothing_of_classes(text: bytes) -> None:
    assert parse_list(text) == {}


def test_a_label_is_a_place_among_the_thousand() -> None:
    wnids = ilsvrc2012_wnids()
    assert parse_list(b"a 999\nb 7\n") == {b"a": wnids[999], b"b": wnids[7]}


def test_kaggles_solution() -> None:
    text = b"ImageId,PredictionString\n%s,%s 85 1 499 272 \n%s,%s 1 2 3 4 %s 5 6 7 8\n" % (
        *(V1, B),
        *(V2, A, B),
    )
    for solution in (text, text.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + text):
        assert _parse_solution(solution) == BOTH
    assert _parse_solution(b'"%s","%s 1 2 3 4"\n' % (V1, B)) == {V1: B}
    assert _parse_solution(b"x\n\n,\n%s,\n%s,nothing 1\n" % (V1, V2)) == {}


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
        "LOC_val_solution.csv",
    ],
)
def test_where_they_may_stand(tmp_path: Path, finders: list[ArchiveSelector], path: str) -> None:
    text = LIST.replace(b".JPEG ", b",") if path.endswith("csv") else LIST
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
