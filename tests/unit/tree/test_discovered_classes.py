"""Classes in the directories that discovery has listed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.index.index import Index
from imagenetfs.tree.discovered_classes import (
    archives_below,
    are_numbered,
    classes_below,
    classes_in_tars_below,
    tar_stems,
)
from imagenetfs.tree.discovery import Discovery
from imagenetfs.tree.selection import ArchiveSelector
from tests.helpers.archives import close, tar_of
from tests.helpers.layouts import write
from tests.helpers.splits import selector_of

X = tar_of({"x.JPEG": b"x"})


@pytest.fixture
def made() -> Iterator[list[ArchiveSelector]]:
    finders: list[ArchiveSelector] = []
    yield finders
    for one in finders:
        close(one.index)


def look(made: list[ArchiveSelector], root: Path, *paths: str) -> tuple[Discovery, Index]:
    write(root, {path: X if path.endswith(".tar") else b"x" for path in paths})
    made.append(finder := selector_of(root))
    return finder.discovery, finder.index


def found(made: list[ArchiveSelector], root: Path, top: str, *paths: str) -> list[str]:
    """Parent/class of each, sorted, with the path of the archive that it stands in."""
    discovery, index = look(made, root, *paths)
    return sorted(
        b"/".join(filter(None, one[:2])).decode()
        + " in "
        + discovery.archives[one.place.archive].path.decode()
        for one in classes_below(discovery, index, top.encode())
    )


def test_directories_and_tars_at_any_depth(tmp_path: Path, made: list[ArchiveSelector]) -> None:
    paths = ("s/n00000001/x", "s/n00000002.tar", "s/a/b/n00000003/x", "s/.x/n00000004/x", "s/y.tar")
    assert found(made, tmp_path, "s", *paths) == [
        "a/b/n00000003 in s/a/b/n00000003",
        "n00000001 in s/n00000001",
        "n00000002 in s/n00000002.tar",
    ]


def test_a_split_whose_names_are_not_read_is_looked_into(
    tmp_path: Path, made: list[ArchiveSelector]
) -> None:
    paths = ("s/train/n00000001/x", "s/val/n00000001/x", "s/other.txt")
    assert found(made, tmp_path, "s", *paths) == [
        "train/n00000001 in s/train",
        "val/n00000001 in s/val",
    ]


def test_numbers_are_classes_where_there_is_a_0_and_no_wnid(
    tmp_path: Path, made: list[ArchiveSelector]
) -> None:
    assert found(made, tmp_path / "a", "s", "s/0/x", "s/7/x") == ["0 in s/0", "7 in s/7"]
    assert found(made, tmp_path / "b", "s", "s/2010/x", "s/2011/x") == []
    assert found(made, tmp_path / "c", "s", "s/1/x", "s/2/x") == []
    mixed = found(made, tmp_path / "d", "s", "s/0/x", "s/1/x", "s/n00000001/x")
    assert mixed == ["n00000001 in s/n00000001"]


def test_stems_of_archives(tmp_path: Path, made: list[ArchiveSelector]) -> None:
    discovery, _ = look(made, tmp_path, "a.tar", "b.txt", "c.tar.gz", "d/e.tar")
    assert tar_stems(discovery, b"") == [b"a"]
    assert tar_stems(discovery, b"gone") == []


def test_numbers_from_0_on() -> None:
    assert are_numbered([b"1", b"0"])
    assert not any(map(are_numbered, ([b"1", b"2"], [b"0"], [b"0", b"a"], [])))


def test_classes_within_tars_of_other_names(tmp_path: Path, made: list[ArchiveSelector]) -> None:
    write(tmp_path, {"s/part.tar": tar_of({"n00000001/x": b""}), "st.tar": X})
    discovery, index = look(made, tmp_path, "s/__MACOSX/n.tar")
    [one] = classes_in_tars_below(discovery, index, b"s")
    assert (one.name, discovery.archives[one.place.archive].path) == (b"n00000001", b"s/part.tar")


def test_the_archives_of_a_set(tmp_path: Path, made: list[ArchiveSelector]) -> None:
    paths = ("s/n00000001/x", "s/a/y", "s/.x/z", "s/train/n00000002/x", "t.tar", "st/y", "z.zip")
    discovery, _ = look(made, tmp_path, *paths)

    def paths_below(path: bytes) -> set[bytes]:
        return {discovery.archives[number].path for number in archives_below(discovery, path)}

    assert {b"s", b"s/a", b"s/train"} <= paths_below(b"s") <= {b"s", b"s/a", b"s/train"}
    assert paths_below(b"t.tar") == {b"t.tar"}
    assert paths_below(b"z.zip") == {b"z.zip"}
    assert paths_below(b"gone") == set()
    assert {b"", b"s", b"st"} <= paths_below(b"")
