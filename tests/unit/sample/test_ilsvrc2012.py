"""ILSVRC2012 of the miniature.

What stands in its archives, checked by programs other than this project.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections import Counter
from pathlib import Path

import pytest

from imagenetfs.sample import (
    synsets,
)
from tests.helpers.tarfile_members import class_tars, loose, members_of

TARS = (
    "ILSVRC2012_img_test_patch_v10102019.tar",
    "ILSVRC2012_img_test_v10102019.tar",
    "ILSVRC2012_img_train_t3.tar",
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
)


@pytest.fixture
def ilsvrc(sample: Path) -> Path:
    return sample / "ILSVRC2012"


@pytest.mark.slow
def test_extracted_directories_equal_the_tars(ilsvrc: Path) -> None:
    for tar, directory in (("img_train", "train"), ("img_train_t3", "train_T3")):
        wnids = set()
        for wnid, _, inner in class_tars(ilsvrc / f"ILSVRC2012_{tar}.tar"):
            assert {name: data for name, (_, data) in inner.items()} == loose(
                ilsvrc / directory / wnid
            )
            for name, (info, _) in inner.items():
                state = (ilsvrc / directory / wnid / name).stat()
                assert state.st_mtime == info.mtime
                assert state.st_mode & 0o7777 == info.mode
            wnids.add(wnid)
        assert wnids == {path.name for path in (ilsvrc / directory).iterdir()}
    val = {name: data for name, (_, data) in members_of(ilsvrc / "ILSVRC2012_img_val.tar").items()}
    assert val == loose(ilsvrc / "validation")


def test_no_tar_is_in_name_order(ilsvrc: Path) -> None:
    for name in TARS:
        if "patch" not in name:
            found = list(members_of(ilsvrc / name))
            assert len(found) > 3
            assert found != sorted(found), name
    for wnid, _, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar"):
        assert list(inner) != sorted(inner), wnid


def test_train_names_and_counts(ilsvrc: Path) -> None:
    counts = []
    for wnid, _, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar"):
        assert wnid in synsets.FIRST_TEN
        for name in inner:
            stem, number = name.removesuffix(".JPEG").split("_")[:2]
            assert stem == wnid
            assert 1 <= int(number) <= 999_999
        counts.append(len(inner))
    assert sum(counts) == 800
    assert len(set(counts)) > 5


def test_headers_of_every_kind(ilsvrc: Path) -> None:
    magics = {(ilsvrc / name).read_bytes()[257:265] for name in TARS}
    assert magics == {b"ustar\x0000", b"ustar  \x00"}
    inner_magics, long_names, padded, modes, owners = set(), Counter[str](), set(), set(), set()
    for _, data, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar"):
        inner_magics.add(data[257:265])
        padded.add(len(data) % 10_240 == 0)
        for name, (info, _) in inner.items():
            modes.add(info.mode)
            owners.add((info.uid, info.uname))
            if len(name) > 100:
                long_names["pax" if "path" in info.pax_headers else "gnu"] += 1
                assert name.endswith(".JPEG")
                assert len(name) < 255
    assert inner_magics == magics
    assert padded == {True, False}
    assert long_names == {"pax": 1, "gnu": 1}
    assert len(modes) > 3
    assert len(owners) > 2


def test_a_pax_time_has_a_fraction(ilsvrc: Path) -> None:
    fractions = [
        info.pax_headers["mtime"]
        for _, _, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar")
        for info, _ in inner.values()
        if "mtime" in info.pax_headers
    ]
    assert len(fractions) == 1
    assert float(fractions[0]) % 1 == 0.5


def test_test_prefix_entry_and_patch(ilsvrc: Path) -> None:
    with tarfile.open(ilsvrc / "ILSVRC2012_img_test_v10102019.tar") as archive:
        assert archive.getmembers()[0].isdir()
        assert archive.getnames()[0] == "test"
        names = archive.getnames()[1:]
        assert all(name.startswith("test/ILSVRC2012_test_0") for name in names)
    archived = members_of(ilsvrc / "ILSVRC2012_img_test_v10102019.tar")
    test = {name.removeprefix("test/"): data for name, (_, data) in archived.items()}
    patched = members_of(ilsvrc / "ILSVRC2012_img_test_patch_v10102019.tar")
    patch = {name: data for name, (_, data) in patched.items()}
    assert 1 <= len(patch) < len(test) == 50
    assert patch.keys() <= test.keys()
    assert all(data != test[name] for name, data in patch.items())
    assert loose(ilsvrc / "test") == test | patch


def test_md5_sums(ilsvrc: Path) -> None:
    lines = (ilsvrc / "ILSVRC2012.md5").read_text().splitlines()
    assert {line[33] for line in lines} == {" ", "*"}
    sums = {line[34:]: line[:32] for line in lines}
    assert sums.keys() == set(TARS)
    for name, digest in sums.items():
        assert hashlib.md5((ilsvrc / name).read_bytes()).hexdigest() == digest
