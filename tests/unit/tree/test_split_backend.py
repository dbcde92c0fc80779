"""Shelves: by class tar, by class directory, flat with labels, with a patch and with a fallback."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from imagenetfs.index.index import Index
from imagenetfs.read.reader import Reader
from imagenetfs.tree.inode import MAX_INNER_ROWS, InodeKind, inode
from imagenetfs.tree.listing import Listing
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit, SplitBackend, image_number
from tests.helpers.archives import class_tar, image, index_of, tar_of
from tests.helpers.listings import check_listing
from tests.helpers.splits import by_class


def images_of(index: Index, listing: Listing) -> dict[bytes, bytes]:
    """Name -> bytes, as a mount would read them."""
    reader = Reader(index, index.source)
    return {
        name: reader.read(number, 0, 1 << 20)
        for name, (number, _) in check_listing(listing).items()
    }


def shelf_images(index: Index, backend: SplitBackend) -> dict[bytes, dict[bytes, bytes]]:
    """Class -> name -> bytes."""
    return {
        wnid: images_of(index, backend.listing(number))
        for number, wnid in enumerate(backend.classes)
    }


def expected_class(number: int, count: int = 3) -> dict[bytes, bytes]:
    return {b"n%08d_%d.JPEG" % (number, k): image(number * 100 + k, 600 + k) for k in range(count)}


# --- one container a class ------------------------------------------------------------------------


def test_class_tars(tmp_path: Path) -> None:
    tars = {f"n{n:08d}.tar": class_tar(n) for n in (3, 1, 2)}
    (tmp_path / "t.tar").write_bytes(tar_of({**tars, "readme.txt": b"x", "other.tar": b""}))
    index = index_of(tmp_path, "t.tar")
    backend = by_class(index, 0)
    assert list(backend.classes) == [b"n%08d" % n for n in (1, 2, 3)]
    assert not any(index.known(0, inner) for inner in range(4))  # nothing opened for the names
    assert shelf_images(index, backend) == {b"n%08d" % n: expected_class(n) for n in (1, 2, 3)}
    assert backend.mtime_ns(1) == 7 * 10**9
    assert backend.find_anywhere(b"n00000001_0.JPEG") is None
    assert backend.archives == (0,)


def test_class_directories(tmp_path: Path) -> None:
    for n in (2, 1):
        (tmp_path / "train" / f"n{n:08d}").mkdir(parents=True)
        for name, data in expected_class(n).items():
            (tmp_path / "train" / f"n{n:08d}" / name.decode()).write_bytes(data)
    (tmp_path / "train" / "lost+found").mkdir()
    index = index_of(tmp_path, "train")
    backend = by_class(index, 0)
    assert shelf_images(index, backend) == {b"n%08d" % n: expected_class(n) for n in (1, 2)}


def test_broken_class_tars_fall_back_on_directories(tmp_path: Path) -> None:
    bad = bytearray(class_tar(2))
    bad[1536 + 100] ^= 1
    cut = class_tar(4)[:1000]
    (tmp_path / "t.tar").write_bytes(
        tar_of(
            {
                "n00000001.tar": class_tar(1),
                "n00000002.tar": bytes(bad),
                "n00000003.tar": b"no tar" * 300,
                "n00000004.tar": cut,
            }
        )
    )
    for n in (1, 2, 3):
        (tmp_path / "train" / f"n{n:08d}").mkdir(parents=True)
        (tmp_path / "train" / f"n{n:08d}" / "loose.JPEG").write_bytes(image(n))
    index = index_of(tmp_path, "t.tar", "train")
    assert shelf_images(index, by_class(index, 0, 1)) == {
        b"n00000001": expected_class(1),
        b"n00000002": {b"loose.JPEG": image(2)},
        b"n00000003": {b"loose.JPEG": image(3)},
        b"n00000004": {},
    }
    without = shelf_images(index, by_class(index, 0))
    assert without[b"n00000002"] == {b"n00000002_0.JPEG": image(200, 600)}
    assert without[b"n00000003"] == {}


def test_a_tar_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({}))
    assert list(by_class(index_of(tmp_path, "t.tar"), 0).classes) == []


def test_hard_links_have_the_bytes_of_what_they_link_to(tmp_path: Path) -> None:
    import io
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        info = tarfile.TarInfo("n00000001_0.JPEG")
        info.size = 600
        archive.addfile(info, io.BytesIO(image(1, 600)))
        link = tarfile.TarInfo("n00000001_1.JPEG")
        link.type, link.linkname = tarfile.LNKTYPE, "n00000001_0.JPEG"
        archive.addfile(link)
    (tmp_path / "t.tar").write_bytes(tar_of({"n00000001.tar": buffer.getvalue()}))
    index = index_of(tmp_path, "t.tar")
    assert images_of(index, by_class(index, 0).listing(0)) == {
        b"n00000001_0.JPEG": image(1, 600),
        b"n00000001_1.JPEG": image(1, 600),
    }


# --- flat -----------------------------------------------------------------------------------------


def _val(tmp_path: Path, count: int) -> None:
    names = [f"ILSVRC2012_val_{n:08d}.JPEG" for n in range(1, count + 1)]
    shuffled = sorted(names, key=lambda name: name[::-1])
    numbers = {name: n for n, name in enumerate(names, 1)}
    (tmp_path / "val.tar").write_bytes(tar_of({name: image(numbers[name]) for name in shuffled}))


def _name(number: int) -> bytes:
    return b"ILSVRC2012_val_%08d.JPEG" % number


def test_labelled(tmp_path: Path) -> None:
    _val(tmp_path, 25)
    index = index_of(tmp_path, "val.tar")
    classes = [b"n00000003", b"n00000001", b"n00000002"]
    backend = FlatSplit(index, (0,), classes, lambda name: b"n%08d" % (image_number(name) % 3 + 1))
    found = shelf_images(index, backend)
    assert list(found) == sorted(classes)
    for number in range(1, 26):
        assert found[b"n%08d" % (number % 3 + 1)].pop(_name(number)) == image(number)
    assert not any(found.values())
    inode_of_5 = backend.find_anywhere(_name(5))
    assert inode_of_5 == backend.listing(2).find(_name(5)) is not None
    assert backend.find_anywhere(b"nothing") is None


def test_a_class_without_images_is_an_empty_directory(tmp_path: Path) -> None:
    _val(tmp_path, 3)
    index = index_of(tmp_path, "val.tar")
    backend = FlatSplit(index, (0,), [b"n1", b"n2", b"n3"], lambda name: b"n2")
    assert [len(backend.listing(number)) for number in range(3)] == [0, 3, 0]


def test_images_without_a_label_stand_in_unlabeled(tmp_path: Path) -> None:
    _val(tmp_path, 4)
    index = index_of(tmp_path, "val.tar")
    labels = {_name(1): b"n1", _name(2): b"n9", _name(3): None}
    found = shelf_images(index, FlatSplit(index, (0,), [b"n1", UNLABELED], labels.get))
    assert {wnid: sorted(names) for wnid, names in found.items()} == {
        b"n1": [_name(1)],
        UNLABELED: [_name(2), _name(3), _name(4)],
    }


def test_without_labels_everything_is_unlabeled(tmp_path: Path) -> None:
    _val(tmp_path, 4)
    index = index_of(tmp_path, "val.tar")
    backend = FlatSplit(index, (0,))
    assert shelf_images(index, backend) == {UNLABELED: {_name(n): image(n) for n in range(1, 5)}}


def test_a_patch_is_laid_over(tmp_path: Path) -> None:
    (tmp_path / "test.tar").write_bytes(
        tar_of({"test/": b"", **{f"test/{n}.JPEG": image(n) for n in range(5)}})
    )
    (tmp_path / "patch.tar").write_bytes(
        tar_of({"patch_images/2.JPEG": b"patched", "9.JPEG": b"new"})
    )
    index = index_of(tmp_path, "test.tar", "patch.tar")
    backend = FlatSplit(index, (0, 1))
    expected = {b"%d.JPEG" % n: image(n) for n in range(5)}
    assert shelf_images(index, backend)[UNLABELED] == {
        **expected,
        b"2.JPEG": b"patched",
        b"9.JPEG": b"new",
    }
    assert backend.archives == (0, 1)


def _flat_directory(tmp_path: Path, names: Sequence[str]) -> Index:
    for number, name in enumerate(names):
        (tmp_path / "val" / name).mkdir(parents=True)
        (tmp_path / "val" / name / f"{number}.JPEG").write_bytes(image(number))
    return index_of(tmp_path, "val")


def test_a_directory_with_a_few_below(tmp_path: Path) -> None:
    index = _flat_directory(tmp_path, ["a", "b", "c"])
    (tmp_path / "val" / "9.JPEG").write_bytes(image(9))
    backend = FlatSplit(index, (0,))
    assert shelf_images(index, backend)[UNLABELED] == {
        b"%d.JPEG" % n: image(n) for n in (0, 1, 2, 9)
    }


def test_a_directory_with_many_below(tmp_path: Path) -> None:
    index = _flat_directory(tmp_path, [f"class{n:03d}" for n in range(300)])
    backend = FlatSplit(index, (0,))
    assert shelf_images(index, backend)[UNLABELED] == {b"%d.JPEG" % n: image(n) for n in range(300)}


def test_a_container_with_more_rows_than_an_inode_has_room_for() -> None:
    first_of_the_next = inode(InodeKind.FILE, 0, 1, 0)
    try:
        number = inode(InodeKind.FILE, 0, 0, MAX_INNER_ROWS)
    except (ValueError, OverflowError):
        return
    assert number != first_of_the_next


@pytest.mark.parametrize(
    ("name", "number"),
    [
        (b"ILSVRC2012_val_00000001.JPEG", 1),
        (b"ILSVRC2012_val_00050000.JPEG", 50_000),
        (b"ILSVRC2012_val_00050000.jpg", 50_000),
        (b"ILSVRC2012_val_1.JPEG", 0),
        (b"readme.txt", 0),
        (b"", 0),
    ],
)
def test_image_numbers(name: bytes, number: int) -> None:
    assert image_number(name) == number
