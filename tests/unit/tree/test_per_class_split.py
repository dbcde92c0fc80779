"""One container a class: names without opening any, and what takes the place of broken ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError, BrokenArchivesError
from imagenetfs.index.archives import OUTER
from imagenetfs.tree import class_listing
from imagenetfs.tree.class_listing import container_listing
from tests.helpers.archives import class_tar, image, index_of, tar_of
from tests.helpers.listings import check_listing
from tests.helpers.splits import by_class, expected_class, images_of, split_images


def test_class_tars(tmp_path: Path) -> None:
    tars = {f"n{n:08d}.tar": class_tar(n) for n in (3, 1, 2)}
    (tmp_path / "t.tar").write_bytes(tar_of({**tars, "readme.txt": b"x", "other.tar": b""}))
    index = index_of(tmp_path, "t.tar")
    backend = by_class(index, 0)
    assert list(backend.classes) == [b"n%08d" % n for n in (1, 2, 3)]
    assert not any(index.known(0, inner) for inner in range(4))  # nothing opened for the names
    assert split_images(index, backend) == {b"n%08d" % n: expected_class(n) for n in (1, 2, 3)}
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
    assert split_images(index, backend) == {b"n%08d" % n: expected_class(n) for n in (1, 2)}


@pytest.mark.expects_log(
    "bytes, cut off by the end",
    "bytes, cut off by the end; whole before that",
    "is broken: no tar header here: its checksum does",
    "no tar header here: its checksum does not hold",
    "no tar header here: its checksum does not hold;",
)
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
    backend = by_class(index, 0, 1)
    assert [images_of(index, backend.listing(number)) for number in range(3)] == [
        expected_class(1),
        {b"loose.JPEG": image(2)},
        {b"loose.JPEG": image(3)},
    ]
    with pytest.raises(BrokenArchivesError, match=r"nothing of n00000004 can be read: t\.tar"):
        backend.listing(3)
    without = by_class(index, 0)
    assert images_of(index, without.listing(1)) == {  # all but the one whose header is damaged
        b"n00000002_0.JPEG": image(200, 600),
        b"n00000002_2.JPEG": image(202, 602),
    }
    with pytest.raises(BrokenArchivesError, match="nothing of n00000003 can be read"):
        without.listing(2)


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


def test_a_container_with_more_rows_than_numbers_is_refused_in_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({"n00000001.tar": class_tar(1)}))
    index = index_of(tmp_path, "t.tar")
    monkeypatch.setattr(class_listing, "max_rows", lambda inner: 2)
    with pytest.raises(ArchiveError, match=r"n00000001\.tar has 3 members"):
        by_class(index, 0).listing(0)


def test_a_container_with_directories_shows_base_names(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(
        tar_of({"test/": b"", "test/b.JPEG": b"22", "a.JPEG": b"1", "other/c.JPEG": b"333"})
    )
    found = check_listing(container_listing(index_of(tmp_path, "t.tar"), (0, OUTER)))
    assert {name: attributes.size for name, (_, attributes) in found.items()} == {
        b"a.JPEG": 1,
        b"b.JPEG": 2,
        b"c.JPEG": 3,
    }
