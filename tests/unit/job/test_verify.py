"""verify: what is as it should be passes, and each thing that is not is named."""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.job import verify
from imagenetfs.source.source import Source
from imagenetfs.tree import published_counts
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.dataset import Split, Version
from tests.helpers.layouts import by_directory, train_images
from tests.helpers.zips import Packing, zip_of

pytestmark = pytest.mark.slow

TRAIN, VAL = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"


@pytest.fixture
def root(sample_copy: Path) -> Path:
    for name in ("train", "val", "validation", "test", "train_T3"):
        shutil.rmtree(sample_copy / "ILSVRC2012" / name, ignore_errors=True)
    return sample_copy


@pytest.fixture
def documented(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], tuple[int | None, int]]:
    """The totals of the miniature in the place of the documented ones."""
    totals: dict[tuple[str, str], tuple[int | None, int]] = {
        ("ILSVRC2012", "train"): (10, 800),
        ("ILSVRC2012", "val"): (10, 100),
        ("ILSVRC2012", "test"): (None, 50),
    }
    monkeypatch.setattr(published_counts, "TOTALS", totals)
    return totals


def _catalogue(root: Path) -> Catalogue:
    return build_catalogue(Source(root), places=IndexSearchPath(None, root))


def _sums(root: Path) -> list[str]:
    source, seen = Source(root), []
    todo, wrong = verify.sums(source, b"ILSVRC2012")
    wrong += verify.check_sums(source, todo, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == sum(one.size for one in todo)
    return wrong


def _images(root: Path) -> list[str]:
    seen: list[tuple[int, int]] = []
    found = list(
        verify.check_images(_catalogue(root), 4, lambda done, total: seen.append((done, total)))
    )
    assert seen[-1][0] == seen[-1][1] > 900
    return found


def _place(root: Path, archive: str, name: str) -> int:
    """Where a member's data are in an archive."""
    with tarfile.open(root / "ILSVRC2012" / archive) as tar:
        return tar.getmember(name).offset_data


def _write(root: Path, archive: str, offset: int, data: bytes) -> None:
    with open(root / "ILSVRC2012" / archive, "r+b") as file:
        file.seek(offset)
        file.write(data)


def test_the_miniature_is_as_it_should_be(root: Path, documented: object) -> None:
    assert list(verify.check_counts(_catalogue(root))) == []
    assert _images(root) == []
    assert _sums(root) == []


def test_a_flipped_bit_shows_in_the_sum(root: Path) -> None:
    size = (root / "ILSVRC2012" / VAL).stat().st_size
    _write(root, VAL, size // 2, b"\0")
    wrong = _sums(root)
    assert len(wrong) == 1
    assert wrong[0].startswith(f"ILSVRC2012/{VAL} has the md5 sum ")
    assert wrong[0].endswith("by ILSVRC2012.md5")


def test_an_archive_that_is_listed_and_not_there(root: Path) -> None:
    (root / "ILSVRC2012" / VAL).unlink()
    assert _sums(root) == [f"ILSVRC2012/{VAL} is in ILSVRC2012.md5, and is not there"]


def test_without_a_list_the_published_sums_count(root: Path) -> None:
    (root / "ILSVRC2012" / "ILSVRC2012.md5").unlink()
    wrong = _sums(root)
    assert any("29b22e2961454d5413ddabcf34fc5622 by its publishers" in line for line in wrong)


@pytest.mark.parametrize("form", ["{}  {}\n", "{} *{}\n", "{}  ./{}\r\n"])
def test_forms_of_the_list(root: Path, form: str) -> None:
    place = root / "ILSVRC2012" / "ILSVRC2012.md5"
    place.write_text(form.format("0" * 32, VAL))
    wrong = [line for line in _sums(root) if VAL in line]
    assert len(wrong) == 1
    assert "0" * 32 + " by ILSVRC2012.md5" in wrong[0]


def test_totals(root: Path, documented: dict[tuple[str, str], tuple[int | None, int]]) -> None:
    documented["ILSVRC2012", "train"] = (11, 801)
    assert list(verify.check_counts(_catalogue(root))) == [
        "ILSVRC2012/train has 10 classes, and should have 11",
        "ILSVRC2012/train has 800 images, and should have 801",
    ]


@pytest.mark.expects_log(
    "is broken: no tar header here: its checksum does",
    "no tar header here: its checksum does not hold",
)
def test_classes_against_the_devkit(root: Path, documented: object) -> None:
    counts = published_counts.images_of_classes(Source(root), b"ILSVRC2012")
    assert sum(counts["train"].values()) == 800
    assert sum(counts["val"].values()) == 100
    path = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    header = _place(root, VAL, "ILSVRC2012_val_00000007.JPEG") - 512
    _write(root, VAL, header, b"X")
    wrong = list(verify.check_counts(_catalogue(root)))
    assert any("images, and should have 100" in line for line in wrong)
    assert any(line.endswith("by the devkit") for line in wrong)
    shutil.rmtree(path)
    assert published_counts.images_of_classes(Source(root), b"ILSVRC2012") == {}


def test_images_that_are_none(root: Path) -> None:
    _write(root, VAL, _place(root, VAL, "ILSVRC2012_val_00000007.JPEG"), b"\x1f\x8b\x08")
    wrong = _images(root)
    assert len(wrong) == 1
    assert "ILSVRC2012_val_00000007.JPEG is no JPEG and no PNG: it begins with 1f 8b 08" in wrong[0]


@pytest.mark.parametrize("packing", ["stored", "deflated"])
def test_images_in_a_zip_are_compared_with_its_sums(tmp_path: Path, packing: Packing) -> None:
    images = train_images()
    path = tmp_path / "mine.zip"
    path.write_bytes(zip_of(by_directory(images, "mine/"), packing))
    assert list(verify.check_images(_catalogue(tmp_path), 2, lambda done, total: None)) == []
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    damaged = [members[1], members[4]]
    with open(path, "r+b") as file:
        for member in damaged:
            at = member.header_offset + 30 + len(member.filename) + member.compress_size // 2
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 1]))
    wrong = sorted(verify.check_images(_catalogue(tmp_path), 2, lambda done, total: None))
    assert len(wrong) == len(damaged)
    for sentence, name in zip(wrong, sorted(m.filename for m in damaged), strict=True):
        assert f"mine.zip: {name} is damaged: " in sentence


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_an_archive_that_changes_meanwhile(root: Path) -> None:
    catalogue = _catalogue(root)
    for version in catalogue.versions:
        for split in version.splits:
            for number in range(len(split.backend.classes)):
                split.backend.listing(number)
    place = root / "ILSVRC2012" / VAL
    data = bytearray(place.read_bytes())
    data[:512] = data[10_240 : 10_240 + 512]
    place.write_bytes(data)
    wrong = list(verify.check_images(catalogue, 2, lambda done, total: None))
    assert wrong
    assert all("another file now" in line for line in wrong)


# --- what needs no miniature ----------------------------------------------------------------------


def test_only_files_with_a_known_sum_are_read(tmp_path: Path) -> None:
    version = tmp_path / "v"
    (version / "ILSVRC2012_img_train.tar").mkdir(parents=True)  # a directory of that name
    (version / "mine.tar").write_bytes(b"mine")
    (version / "other.tar").write_bytes(b"other")
    (version / VAL).write_bytes(b"val")
    (version / "ILSVRC2012.md5").write_text(
        f"{'A' * 32}  some/where/mine.tar\nno sum at all\n{'0' * 31}  other.tar\n"
    )
    todo, wrong = verify.sums(Source(tmp_path), b"v")
    assert wrong == []
    assert [(one.path, one.size, one.wanted) for one in todo] == [
        (b"v/ILSVRC2012_img_val.tar", 3, None),
        (b"v/mine.tar", 4, "a" * 32),
    ]
    found = list(verify.check_sums(Source(tmp_path), todo, lambda done, total: None))
    assert len(found) == 2
    digest = hashlib.md5(b"mine").hexdigest()
    assert found[1] == f"v/mine.tar has the md5 sum {digest}, and {'a' * 32} by ILSVRC2012.md5"


def test_a_file_that_goes_while_it_is_summed(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    (tmp_path / "v" / VAL).write_bytes(b"val")
    source = Source(tmp_path)
    todo, _ = verify.sums(source, b"v")
    (tmp_path / "v" / VAL).unlink()
    [sentence] = verify.check_sums(source, todo, lambda done, total: None)
    assert VAL in sentence


def test_problems_are_told_once(tmp_path: Path) -> None:
    class Shelf:
        def problems(self) -> list[str]:
            return ["one", "two", "one"]

    split = Split(b"train", Shelf(), "x")  # type: ignore[arg-type]
    catalogue = SimpleNamespace(versions=[Version(b"a", [split]), Version(b"b", [split])])
    assert list(verify.check_archives(catalogue)) == ["one", "two"]  # type: ignore[arg-type]
