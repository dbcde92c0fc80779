"""Archives in archives in archives: what is shown, by the same bytes, the index that is kept of it,
the cache, and archives/.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs.errors import SourceUnknownError
from imagenetfs.index.archives import OUTER
from imagenetfs.index.bulk_build import build_all, save
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.index.transfer import export, imported
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import archives_of
from imagenetfs.tree.inode import fields
from imagenetfs.tree.ledger import account
from imagenetfs.tree.left_out import Reason
from imagenetfs.tree.tree import Tree
from tests.helpers.layouts import (
    by_directory,
    class_tars,
    devkit_files,
    flat,
    packed,
    shown,
    train_images,
    val_images,
    write,
)
from tests.helpers.odd_tars import sparse_member
from tests.helpers.plain_tar import END
from tests.helpers.trees import at, names, tree_of
from tests.helpers.zips import zip_of

TRAIN, VAL = train_images(), val_images()
TAR = "ILSVRC2012/ILSVRC2012_img_train.tar"
THIRD = {"part.tar": packed(class_tars(TRAIN, "some/"))}


def images(tree: Tree) -> list[tuple[bytes, int]]:
    """The names and inodes of train's images."""
    [split] = [s for v in tree.catalogue.versions for s in v.splits]
    every = range(len(split.backend.classes))
    return [e[:2] for number in every for e in split.backend.listing(number).entries(0)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "files",
    [
        {TAR: packed(THIRD)},
        {TAR: packed({"a/all.tar": packed(THIRD)})},
        {TAR: packed({"part.tar": packed({"x.tar": packed(by_directory(TRAIN))})})},
        {TAR: packed({"part.zip": zip_of(class_tars(TRAIN), "stored")})},
        {TAR: packed({"part.tar": packed({"x.zip": zip_of(by_directory(TRAIN), "deflated")})})},
        {TAR: packed({"part.tar": packed(flat(TRAIN))})},
        {TAR: packed({"all.tar": packed({"part.tar": packed(flat(TRAIN))})})},
        {"ILSVRC2012/train.zip": zip_of({"p.tar": packed(class_tars(TRAIN))}, "stored")},
        {"imagenet.tar": packed({"imagenet/" + TAR.partition("/")[2]: packed(class_tars(TRAIN))})},
        {"x/" + TAR.partition("/")[2]: packed(class_tars(TRAIN))},
    ],
    ids=range(10),
)
def test_classes_three_archives_deep(tmp_path: Path, files: Mapping[str, bytes]) -> None:
    tree = tree_of(write(tmp_path, files))
    assert shown(tree, "ILSVRC2012/train") == TRAIN
    assert tree.catalogue.warnings + tree.catalogue.late_warnings.all() == []
    [version] = tree.catalogue.versions
    assert account(version, version.splits[0]).left_out.to_tell == []


@pytest.mark.parametrize("name", ["winter21_whole", "fall11_whole", "mine"])
def test_every_version(tmp_path: Path, name: str) -> None:
    tree = tree_of(write(tmp_path, {f"{name}.tar": packed(THIRD)}))
    assert shown(tree, f"{name}/train") == TRAIN


@pytest.mark.parametrize("where", ["mine/", "mine/data/"])
@pytest.mark.parametrize("within", [by_directory(TRAIN), class_tars(TRAIN), flat(TRAIN)])
def test_tars_of_splits_are_splits_of_their_directory(
    tmp_path: Path, where: str, within: dict[str, bytes]
) -> None:
    if where == "mine/data/" and "/" not in next(iter(within)) and ".JPEG" in next(iter(within)):
        pytest.skip("loose images are looked for right in a set")
    files = {f"{where}{split}.tar": packed(within) for split in ("train", "val")}
    tree = tree_of(write(tmp_path, files))
    assert shown(tree, "mine/train") == shown(tree, "mine/val") == TRAIN
    assert [version.name for version in tree.catalogue.versions] == [b"mine"]


def test_more_than_three_are_named_with_the_command(tmp_path: Path) -> None:
    deeper = packed({"b.tar": packed({"c.tar": packed(class_tars(TRAIN))})})
    write(tmp_path, {TAR: packed({"a.tar": deeper})})
    with pytest.raises(SourceUnknownError) as caught:
        tree_of(tmp_path)
    assert f"{TAR} holds a.tar, and no split is read from there. Unpack it once" in str(
        caught.value
    )
    assert f"(cd {tmp_path}/ILSVRC2012 && tar -xf ILSVRC2012_img_train.tar)" in str(caught.value)


def test_an_archive_in_no_class_is_counted_where_it_is_not_read(tmp_path: Path) -> None:
    stray = packed({"deeper.tar": packed(by_directory(TRAIN))})
    tree = tree_of(write(tmp_path, {TAR: packed({**class_tars(TRAIN), "stray.tar": stray})}))
    [version] = tree.catalogue.versions
    assert account(version, version.splits[0]).left_out.counts == {Reason.PACKED: 1}


def test_a_file_has_one_inode(tmp_path: Path) -> None:
    """An image by its class and by archives/, three archives deep."""
    tree = tree_of(write(tmp_path, {TAR: packed(THIRD)}))
    name, inode = images(tree)[0]
    above = f"archives/{TAR}/part.tar/some/n01440764.tar"
    assert names(tree, above)[0] == name.decode()
    assert at(tree, f"{above}/{name.decode()}") == inode
    assert tree.catalogue.index.archives[fields(inode)[0]].depth == 1


def test_a_sparse_tar_between(tmp_path: Path) -> None:
    """The tar in the middle has holes that are stored nowhere: its members are runs of the file."""
    inner = packed({"n01440764/x.JPEG": b"\xff\xd8" + b"x" * 3000, "big.bin": bytes(1 << 16)})
    start = inner.index(bytes(1 << 15))
    start += -start % 512
    runs = [(0, start), (start + 8192, len(inner) - start - 8192)]
    head = "".join(f"{n}\n" for n in [2, *(n for run in runs for n in run)]).encode()
    stored = head.ljust(512, b"\0") + b"".join(inner[a : a + size] for a, size in runs)
    info = tarfile.TarInfo("a.tar")
    info.size = len(stored)
    info.pax_headers = {
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": "a.tar",
        "GNU.sparse.realsize": str(len(inner)),
    }
    outer = info.tobuf(tarfile.PAX_FORMAT) + stored + bytes(-len(stored) % 512) + bytes(1024)
    (tmp_path / "ILSVRC2012").mkdir()
    (tmp_path / TAR).write_bytes(outer)
    tree = tree_of(tmp_path)
    assert shown(tree, "ILSVRC2012/train") == {"n01440764": {"x.JPEG": b"\xff\xd8" + b"x" * 3000}}


@pytest.mark.slow
@pytest.mark.parametrize("form", ["old", "0.1", "1.0"])
@pytest.mark.parametrize("version", ["ILSVRC2012", "winter21_whole", "mine"])
def test_class_tars_with_holes(tmp_path: Path, version: str, form: str) -> None:
    """``tar -S`` of the class tars: their images are read through the runs, whole and in parts."""
    images = {
        wnid: {f"{wnid}_{n}.JPEG": _with_zeros(wnid, n) for n in range(3)} for wnid in sorted(TRAIN)
    }
    members = [sparse_member(name.encode(), tar, form) for name, tar in class_tars(images).items()]
    assert all(len(member) < 60_000 for member in members), "the holes are stored nowhere"
    name = TAR if version == "ILSVRC2012" else f"{version}.tar"
    tree = tree_of(write(tmp_path, {name: b"".join(members) + END}))
    assert shown(tree, f"{version}/train") == images
    opened = imagenetfs.open(tmp_path, index_dir=tmp_path / "index", cache_dir=None)
    with opened, opened.open(f"{version}/train/{min(images)}/{min(images)}_1.JPEG") as file:
        file.seek(5000)
        assert file.read(30_000) == images[min(images)][f"{min(images)}_1.JPEG"][5000:35_000]


def _with_zeros(wnid: str, number: int) -> bytes:
    text = f"{wnid} {number} ".encode()
    return b"\xff\xd8" + text * 300 + bytes(30_000) + text * 300


# --- the index ------------------------------------------------------------------------------------


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "source", {TAR: packed(THIRD)})


@pytest.mark.expects_log("the archive is another one now; indexing .* anew")
def test_the_index_is_kept_and_used(source: Path, tmp_path: Path) -> None:
    places = IndexSearchPath(tmp_path / "index", source)
    tree = tree_of(source, places)
    first = images(tree)
    index, splits = tree.catalogue.index, tree.catalogue.versions[0].splits
    [(group, numbers)] = tree.catalogue.groups(archives_of(splits)).items()
    file = places.file(group)
    assert file is not None
    build_all(index, numbers, in_flight=1, processes=1)
    assert save(index, numbers, file, complete=True) >= 5
    again = tree_of(source, places).catalogue.index
    [inner] = archives_of(splits)
    assert again.persisted.is_complete(inner, again.key(inner, OUTER))
    assert images(tree_of(source, places)) == first
    # Another archive at the same place is indexed anew.
    other = {name: {f"{k}x.JPEG": data for k, data in some.items()} for name, some in TRAIN.items()}
    write(source, {TAR: packed({"part.tar": packed(class_tars(other, "some/"))})})
    assert shown(tree_of(source, places), "ILSVRC2012/train") == other


def test_it_is_carried_to_another_site(source: Path, tmp_path: Path) -> None:
    tree = tree_of(source)
    images(tree)
    archives = tree.catalogue.index.archives
    carried = export(tree.catalogue.index, range(len(archives)), tmp_path / "carried")
    by_path = {archive.path: archive for archive in archives}
    records, taken = imported(Source(source), by_path, tmp_path / "carried")
    assert taken.refused == ()
    assert taken.tables == carried.tables >= 5
    [inner] = archives_of(tree.catalogue.versions[0].splits)
    assert {record.key for record in records[inner]} >= {tree.catalogue.index.key(inner, OUTER)}


def test_through_the_cache(source: Path, tmp_path: Path) -> None:
    """All that lies in a file is in one volume of it."""
    write(source, devkit_files("ILSVRC2012/ILSVRC2012_devkit_t12/"))
    cache = tmp_path / "cache"
    with imagenetfs.open(source, index_dir="none", cache_dir=cache) as tree:
        for _ in range(2):
            for wnid, some in TRAIN.items():
                for name, data in some.items():
                    assert tree.read(f"ILSVRC2012/train/{wnid}/{name}") == data
    assert len({path.name.partition(".")[0] for path in cache.glob("*.0*")}) == 1
