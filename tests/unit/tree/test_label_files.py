"""The label files beside the splits."""

from __future__ import annotations

import io
import json
import pickle
import random
import zipfile
from pathlib import Path

import pytest

from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.label_files import PathLabels, first_word, label_files, meta_bin
from imagenetfs.tree.listing import FlatListing
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit
from tests.helpers.archives import index_of, tar_of, train_tar
from tests.helpers.splits import by_class

CLASSES, IMAGES = 5, 4
WNIDS = [b"n%08d" % n for n in range(1, CLASSES + 1)]


@pytest.fixture
def version(tmp_path: Path) -> Version:
    (tmp_path / "t.tar").write_bytes(train_tar(CLASSES, IMAGES))
    backend = by_class(index_of(tmp_path, "t.tar"), 0)
    words = {wnid: f"first {n}, second {n}, é" for n, wnid in enumerate(WNIDS)}
    del words[WNIDS[3]]
    return Version(b"V", [Split(b"train", backend, "t.tar")], words)


def _files(version: Version) -> dict[str, bytes]:
    return {name.decode(): make() for name, make in label_files(version).items()}


def test_texts(version: Version) -> None:
    files = _files(version)
    assert files["wnids.txt"] == b"".join(wnid + b"\n" for wnid in WNIDS)
    lines = files["words.txt"].decode().splitlines()
    assert lines[0] == "n00000001\tfirst 0, second 0, é"
    assert lines[3] == "n00000004\tn00000004"  # without words its own name
    assert files["labels.txt"].decode().splitlines()[1] == "n00000002,first 1"
    mapping = files["LOC_synset_mapping.txt"].decode().splitlines()
    assert mapping[2] == "n00000003 first 2, second 2, é"
    assert len(lines) == len(mapping) == CLASSES


def test_the_class_index_is_kerass(version: Version) -> None:
    index = json.loads(_files(version)["imagenet_class_index.json"])
    assert list(index) == [str(n) for n in range(CLASSES)]
    assert index["4"] == ["n00000005", "first_4"]


def test_meta_bin_is_torchs_zip_around_a_pickle(version: Version) -> None:
    assert "meta.bin" not in _files(version)
    version.val_wnids = lambda: [WNIDS[2], WNIDS[0], WNIDS[2], UNLABELED]
    data = _files(version)["meta.bin"]
    assert data == meta_bin(version)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        names, order = pickle.loads(archive.read("meta/data.pkl"))
        assert archive.read("meta/version") == b"3\n"
    assert order == ["n00000003", "n00000001", "n00000003", "unlabeled"]
    assert list(names) == [wnid.decode() for wnid in WNIDS]
    assert names["n00000001"] == ("first 0", "second 0", "é")


def test_first_words() -> None:
    assert first_word("tench, Tinca tinca") == "tench"
    assert first_word(" great white shark ,x") == "great white shark"
    assert first_word("") == ""


# --- meta/train.txt -------------------------------------------------------------------------------


def _expected() -> bytes:
    return b"".join(
        b"%s/%s_%d.JPEG %d\n" % (wnid, wnid, k, label)
        for label, wnid in enumerate(WNIDS)
        for k in range(IMAGES)
    )


def test_path_labels_in_one_piece(version: Version) -> None:
    labels = PathLabels(version.splits[0], {wnid: n for n, wnid in enumerate(WNIDS)})
    assert labels.size() == len(_expected())
    assert labels.read(0, 1 << 20) == _expected()


def test_a_size_is_known_without_the_names(
    version: Version, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every process is asked for it, and ImageNet has 1.28 million names."""
    labels = PathLabels(version.splits[0], {wnid: n for n, wnid in enumerate(WNIDS)})
    monkeypatch.delattr(FlatListing, "entries")
    assert labels.size() == len(_expected())


def test_path_labels_in_random_pieces(version: Version) -> None:
    labels, whole = PathLabels(version.splits[0], dict.fromkeys(WNIDS, 10**6)), b""
    while piece := labels.read(len(whole), 37):
        whole += piece
    assert whole.count(b" 1000000\n") == whole.count(b"\n") == CLASSES * IMAGES
    rng = random.Random(1)
    assert len(whole) == labels.size()
    for _ in range(500):
        start, length = rng.randrange(len(whole) + 20), rng.randrange(200)
        assert labels.read(start, length) == whole[start : start + length]
    assert labels.read(len(whole), 10) == labels.read(10**9, 10) == labels.read(5, 0) == b""


def test_empty_classes_and_no_classes(tmp_path: Path) -> None:
    (tmp_path / "v.tar").write_bytes(tar_of({"a.jpg": b"1", "b.jpg": b"2"}))
    index = index_of(tmp_path, "v.tar")
    classes = [b"n1", b"n2", b"n3", b"n4"]
    label = {b"a.jpg": b"n2", b"b.jpg": b"n4"}.get
    split = Split(b"val", FlatSplit(index, (0,), classes, label), "v.tar")
    labels = PathLabels(split, {wnid: n for n, wnid in enumerate(classes)})
    assert labels.read(0, 100) == b"n2/a.jpg 1\nn4/b.jpg 3\n"
    assert [labels.read(at, 1) for at in range(23)] == [
        bytes([byte]) for byte in b"n2/a.jpg 1\nn4/b.jpg 3\n"
    ] + [b""]
    nothing = PathLabels(Split(b"val", FlatSplit(index, (), (), label), "v.tar"), {})
    assert nothing.size() == 0
    assert nothing.read(0, 100) == b""


def test_unlabelled_images_are_not_in_the_list(tmp_path: Path) -> None:
    (tmp_path / "v.tar").write_bytes(tar_of({"a.jpg": b"1"}))
    backend = FlatSplit(index_of(tmp_path, "v.tar"), (0,))
    assert PathLabels(Split(b"val", backend, "v.tar"), {}).size() == 0
    (tmp_path / "v.tar").write_bytes(tar_of({"a.jpg": b"1", "b.jpg": b"2"}))
    index, classes = index_of(tmp_path, "v.tar"), (b"n1", UNLABELED, b"z1")
    some = FlatSplit(index, (0,), classes, {b"b.jpg": b"z1"}.get)
    labels = PathLabels(Split(b"val", some, "v.tar"), {b"n1": 0, b"z1": 1})
    assert (labels.size(), labels.read(0, 100)) == (11, b"z1/b.jpg 1\n")


def test_a_version_without_classes_has_no_lists() -> None:
    assert _files(Version(b"V")) == {}
