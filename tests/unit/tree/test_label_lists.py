"""What lists say of the classes of images, however they are spelled."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from imagenetfs.tree.label_lists import LabelList, read_list, read_solution
from imagenetfs.tree.wordnet import ilsvrc2012_wnids

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
    assert read_list(text).known == BOTH


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
        b"ILSVRC2012_val_00000005 5\nILSVRC2012_val_00001717 1717\n",  # some lines of such a list
    ],
)
def test_lists_that_say_nothing_of_classes(text: bytes) -> None:
    assert read_list(text).known == {}


def test_a_label_is_a_place_among_the_thousand() -> None:
    wnids = ilsvrc2012_wnids()
    assert read_list(b"a 999\nb 7\n").known == {b"a": wnids[999], b"b": wnids[7]}


def test_kaggles_solution() -> None:
    text = b"ImageId,PredictionString\n%s,%s 85 1 499 272 \n%s,%s 1 2 3 4 %s 5 6 7 8\n" % (
        *(V1, B),
        *(V2, A, B),
    )
    for solution in (text, text.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + text):
        assert read_solution(solution).known == BOTH
    assert read_solution(b'"%s","%s 1 2 3 4"\n' % (V1, B)).known == {V1: B}
    assert read_solution(b"x\n\n,\n%s,\n%s,nothing 1\n" % (V1, V2)).known == {}


SPELLINGS = {
    "commas": (b",", b"\n"),
    "semicolons and blanks": (b" ; ", b"\n"),
    "tabs": (b"\t", b"\r\n"),
    "quotes": (b'","', b'"\n"'),
}


@pytest.mark.parametrize("read", [read_list, read_solution])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("more", ["", "index", "heading", "utf-16", "wnid first"])
def test_spellings(read: Callable[[bytes], LabelList], spelling: str, more: str) -> None:
    between, end = SPELLINGS[spelling]
    rows = [[V1 + b".JPEG", B], [V2 + b".JPEG", A]]
    if more == "index":
        rows = [[b"%d" % number, *row] for number, row in enumerate(rows)]
    elif more == "wnid first":
        rows = [row[::-1] for row in rows]
    elif more == "heading":
        rows.insert(0, [b"image", b"label"])
    text = end.join(between.join(row) for row in rows) + end
    text = b'"' * (spelling == "quotes") + text
    if more == "utf-16":
        text = text.decode().encode("utf-16")
    assert read(text) == LabelList(BOTH)


def test_wnids_alone_are_in_the_order_of_the_images() -> None:
    assert read_list(B + b"\n" + A + b"\n").known == BOTH
    assert read_list(B + b"\n" + A + b"\nx\n").known == {}


def test_names_with_blanks_and_classes_in_paths() -> None:
    assert read_list(b"my image.JPEG %s\n" % A).known == {b"my image": A}
    assert read_list(b"val/%s/%s.JPEG 1\nval/%s/%s.JPEG 0\n" % (A, V1, B, V2)).known == BOTH


def test_an_image_twice() -> None:
    same = b"%s %s\n" % (V1, B)
    assert read_list(same * 2) == LabelList({V1: B})
    assert read_list(same + b"%s %s\n" % (V1, A)) == LabelList({V1: A}, twice=1)


def test_places_among_the_classes_of_train() -> None:
    """Where train has fewer than all, and the places among all are not its classes."""
    wnids = ilsvrc2012_wnids()
    mine = wnids[500:504]
    text = b"a 3\nb 0\n"
    assert read_list(text, mine).known == {b"a": mine[3], b"b": mine[0]}
    assert read_list(text, mine).taken == "the places among the 4 classes of train"
    assert read_list(text, wnids[:10]) == LabelList({b"a": wnids[3], b"b": wnids[0]})
    assert read_list(text, wnids) == read_list(text)
    for known, labels in ((mine, b"a 4\nb 0\n"), ((), b"a 1000\nb 3\n")):
        found = read_list(labels, known)
        assert (found.known, bool(found.unusable)) == ({}, True)
