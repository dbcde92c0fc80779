"""Which files of a container are its images, and what is counted of the others."""

from __future__ import annotations

import os
import random
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from imagenetfs.index.archives import OUTER
from imagenetfs.index.index import Index
from imagenetfs.read.reader import Reader
from imagenetfs.tree.class_listing import container_listing, directory_listing, images_of
from imagenetfs.tree.left_out import LeftOut, Reason
from imagenetfs.tree.listing import FlatListing
from tests.helpers.archives import image, index_of, tar_of
from tests.helpers.listings import check_listing

JPEG = b"\xff\xd8\xff\xe0 and so on, a few bytes of it"


def tar_index(directory: Path, *members: tuple[str, bytes]) -> Index:
    (directory / "t.tar").write_bytes(tar_of(members))
    return index_of(directory, "t.tar")


def shown(index: Index, left_out: LeftOut, place: tuple[int, int] = (0, OUTER)) -> dict[str, bytes]:
    reader = Reader(index, index.source)
    listing = check_listing(container_listing(index, place, left_out))
    return {os.fsdecode(name): reader.read(number, 0, 999) for name, (number, _) in listing.items()}


def test_images_alone_are_shown_by_columns(tmp_path: Path) -> None:
    index, left_out = tar_index(tmp_path, ("b.JPEG", b"1"), ("a.JPEG", b"2")), LeftOut()
    assert isinstance(container_listing(index, (0, OUTER), left_out), FlatListing)
    assert shown(index, left_out) == {"a.JPEG": b"2", "b.JPEG": b"1"}
    assert not left_out


def test_apple_doubles_and_droppings(tmp_path: Path) -> None:
    index, left_out = (
        tar_index(
            tmp_path,
            *(("._a.JPEG", b"\0\x05\x16\x07"), ("a.JPEG", image(1)), (".DS_Store", b"x")),
            *(("b.JPEG~", b"old"), (".ipynb_checkpoints/a-checkpoint.JPEG", image(2))),
        ),
        LeftOut(),
    )
    assert shown(index, left_out) == {"a.JPEG": image(1)}
    assert left_out.counts == {Reason.DROPPING: 4}
    assert not left_out.to_tell


def test_thumbnails_do_not_replace_the_images(tmp_path: Path) -> None:
    for order in (1, -1):
        members = [("a.JPEG", image(1)), ("thumbs/a.JPEG", b"small"), ("thumbs/c.JPEG", b"own")]
        index, left_out = tar_index(tmp_path, *members[::order]), LeftOut()
        assert shown(index, left_out) == {"a.JPEG": image(1), "c.JPEG": b"own"}
        assert left_out.counts == {Reason.BELOW: 1}
        assert left_out.phrase(Reason.BELOW).endswith("(first: thumbs/a.JPEG)")


def test_the_later_of_two_of_one_name_is_shown_and_the_other_counted(tmp_path: Path) -> None:
    members = ("a.JPEG", b"one"), ("b.JPEG", b"b"), ("./a.JPEG", b"two"), ("a.JPEG", b"three")
    index, left_out = tar_index(tmp_path, *members), LeftOut()
    assert shown(index, left_out) == {"a.JPEG": b"three", "b.JPEG": b"b"}
    assert left_out.counts == {Reason.SAME_NAME: 2}
    assert left_out.first == {Reason.SAME_NAME: ["a.JPEG"]}


def test_two_in_directories_side_by_side(tmp_path: Path) -> None:
    index, left_out = tar_index(tmp_path, ("x/a.JPEG", b"one"), ("y/a.JPEG", b"two")), LeftOut()
    assert shown(index, left_out) == {"a.JPEG": b"two"}
    assert left_out.counts == {Reason.SAME_NAME: 1}


def test_one_directory_of_a_container(tmp_path: Path) -> None:
    members = [
        *(("train/n1/a.JPEG", image(1)), ("train/n1/t/a.JPEG", b"small"), ("train/n1/x.txt", b"x")),
        *(("train/n10/a.JPEG", image(2)), ("train/n2/t/b.JPEG", image(3)), (".n1/c.JPEG", b"x")),
    ]
    index, left_out = tar_index(tmp_path, *members), LeftOut()
    reader = Reader(index, index.source)

    def of(directory: bytes) -> dict[bytes, bytes]:
        listing = directory_listing(index, (0, OUTER), directory, left_out)
        found = check_listing(listing).items()
        return {name: reader.read(number, 0, 999) for name, (number, _) in found}

    assert of(b"train/n1") == {b"a.JPEG": image(1)}
    assert left_out.counts == {Reason.BELOW: 1, Reason.NOT_IMAGE: 1}
    assert of(b"train/n2") == {b"b.JPEG": image(3)}
    assert of(b".n1") == {b"c.JPEG": b"x"}  # the caller has chosen it as a class
    assert of(b"train/n3") == {}


def test_content_tells_where_the_name_does_not(tmp_path: Path) -> None:
    members = ("a", JPEG), ("b", b"#!/bin/sh\n"), ("c.JPEG.1", JPEG), ("d", b""), ("e.txt", JPEG)
    index, left_out = tar_index(tmp_path, *members), LeftOut()
    assert shown(index, left_out) == {"a": JPEG, "c.JPEG.1": JPEG}
    assert left_out.counts == {Reason.NOT_IMAGE: 3}


def test_content_of_loose_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(JPEG)
    (tmp_path / "d" / "b").write_bytes(b"notes")
    (tmp_path / "d" / "c.JPEG").symlink_to("gone.JPEG")
    (tmp_path / "d" / "Thumbs.db").write_bytes(JPEG)
    index, left_out = index_of(tmp_path, "d"), LeftOut()
    assert shown(index, left_out) == {"a": JPEG}
    assert left_out.counts == {Reason.NOT_IMAGE: 1, Reason.LINK: 1, Reason.DROPPING: 1}
    assert left_out.to_tell == [Reason.LINK]


def test_a_file_that_cannot_be_read_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(JPEG)
    index, left_out = index_of(tmp_path, "d"), LeftOut()
    index.container(0)
    (tmp_path / "d" / "a").unlink()
    assert shown(index, left_out) == {}
    assert left_out.counts == {Reason.UNREADABLE: 1}


def test_a_patch_takes_the_place_of_images_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({"test/a.JPEG": b"old", "test/b.JPEG": b"b"}))
    (tmp_path / "p.tar").write_bytes(tar_of({"patch/x/a.JPEG": b"new"}))
    index, left_out = index_of(tmp_path, "t.tar", "p.tar"), LeftOut()
    listing = images_of(index, ((0, OUTER), (1, OUTER)), left_out, overlaid=frozenset({1}))
    reader = Reader(index, index.source)
    found = {name: reader.read(number, 0, 9) for name, number, _ in listing.entries(0)}
    assert found == {b"a.JPEG": b"new", b"b.JPEG": b"b"}
    assert not left_out


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_every_file_of_a_random_tar_is_shown_or_counted(tmp_path: Path, seed: int) -> None:
    choose = random.Random(seed)
    names = ["a.JPEG", "b.jpg", "._a.JPEG", "a", "n.txt", "b.jpg~", "c.png", ".DS_Store"]
    folders = ["", "", "thumbs/", "x/y/", ".ipynb_checkpoints/", "@eaDir/"]
    members = [
        (choose.choice(folders) + choose.choice(names), choose.choice((JPEG, b"none %d" % n)))
        for n in range(choose.randrange(1, 25))
    ]
    index, left_out = tar_index(tmp_path, *members), LeftOut()
    images = shown(index, left_out)
    assert len(images) + sum(left_out.counts.values()) == len(members)

    # The reference: the last of each path, then the highest of each base name.
    last: dict[str, bytes] = {}
    with tarfile.open(tmp_path / "t.tar") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            last.pop(member.name, None)
            last[member.name] = file.read()
    expected: dict[str, tuple[int, str, bytes]] = {}
    for path, data in last.items():
        base = path.rpartition("/")[2]
        by_name = base in ("a.JPEG", "b.jpg", "c.png") or (base == "a" and data == JPEG)
        if by_name and not path.startswith((".", "@")):
            candidate = (-path.count("/"), path, data)
            expected[base] = max(expected.get(base, candidate), candidate)
    assert images == {base: data for base, (_, _, data) in expected.items()}
    counted = Counter(left_out.counts)
    assert counted[Reason.LINK] == counted[Reason.UNREADABLE] == 0
