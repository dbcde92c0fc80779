"""The default miniature: complete, small, the same every time, with every trap in its place.

Everything is checked by programs other than this project: tarfile, numpy, scipy, Pillow, hashlib.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError
from scipy import io as scipy_io

from imagenetfs.sample import make_sample

ILSVRC2012_TARS = (
    "ILSVRC2012_img_test_patch_v10102019.tar",
    "ILSVRC2012_img_test_v10102019.tar",
    "ILSVRC2012_img_train_t3.tar",
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
)
FIRST_TEN = {
    "n02119789",
    "n02100735",
    "n02110185",
    "n02096294",
    "n02102040",
    "n02066245",
    "n02509815",
    "n02124075",
    "n02417914",
    "n02123394",
}


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sample") / "imagenet"
    began = time.monotonic()
    make_sample(directory)
    print(f"default sample: {time.monotonic() - began:.1f} s")
    return directory


@pytest.fixture(scope="module")
def ilsvrc(sample: Path) -> Path:
    return sample / "ILSVRC2012"


def members_of(path: Path) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    """Name -> header and content of every regular file of a tar, in its order."""
    with tarfile.open(path) as archive:
        return read_members(archive)


def read_members(archive: tarfile.TarFile) -> dict[str, tuple[tarfile.TarInfo, bytes]]:
    found = {}
    for info in archive:
        if info.isfile():
            file = archive.extractfile(info)
            assert file is not None
            found[info.name] = (info, file.read())
    return found


def class_tars(path: Path) -> Iterator[tuple[str, bytes, dict[str, tuple[tarfile.TarInfo, bytes]]]]:
    """wnid, bytes and members of every class tar of a tar of tars."""
    for name, (_, data) in members_of(path).items():
        with tarfile.open(fileobj=io.BytesIO(data)) as inner:
            yield name.removesuffix(".tar"), data, read_members(inner)


def loose(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def snapshot(root: Path) -> dict[str, tuple[int, int, str]]:
    """Path -> mode, mtime in ns, digest of the content."""
    seen = {}
    for path in sorted(root.rglob("*")):
        state = path.stat()
        content = path.read_bytes() if path.is_file() else b"directory"
        seen[str(path.relative_to(root))] = (
            state.st_mode,
            state.st_mtime_ns,
            hashlib.sha256(content).hexdigest(),
        )
    return seen


# --- the tree as a whole ------------------------------------------------------------------------


def test_same_seed_gives_the_same_tree(tmp_path: Path) -> None:
    make_sample(tmp_path / "one", classes=3, images=12, seed=7)
    time.sleep(2)  # times within zip and MAT-files have steps of up to two seconds
    mask = os.umask(0o077)
    try:
        make_sample(tmp_path / "two", classes=3, images=12, seed=7)
    finally:
        os.umask(mask)
    assert snapshot(tmp_path / "one") == snapshot(tmp_path / "two")


def test_another_seed_gives_other_pictures(tmp_path: Path) -> None:
    for seed in (1, 2):
        make_sample(tmp_path / str(seed), classes=1, images=4, seed=seed)
    one, two = (tmp_path / str(seed) / "ILSVRC2012" / "ILSVRC2012_img_val.tar" for seed in (1, 2))
    assert one.read_bytes() != two.read_bytes()


def test_size(sample: Path) -> None:
    files = [path.stat() for path in sample.rglob("*") if path.is_file()]
    assert sum(state.st_size for state in files) < 60_000_000
    assert sum(state.st_blocks * 512 for state in files) < 60_000_000
    assert all(state.st_nlink == 1 for state in files)


def test_every_file_of_the_listing_is_there(sample: Path) -> None:
    assert {path.name for path in sample.iterdir()} == {
        "DownSampled",
        "ILSVRC2012",
        "tiny-imagenet-200",
        "winter21_whole",
    }
    ilsvrc = {path.name for path in (sample / "ILSVRC2012").iterdir()}
    directories = {"test", "train", "train_T3", "validation"}
    kits = {"ILSVRC2012_devkit_t12", "ILSVRC2012_devkit_t3"}
    assert ilsvrc == {*ILSVRC2012_TARS, *directories, *kits, "ILSVRC2012.md5"}
    winter = {path.name for path in (sample / "winter21_whole").iterdir()}
    assert {"n00004475", "n00007846", "tars", *FIRST_TEN} <= winter
    assert (sample / "winter21_whole/tars/n15102894.tar").is_file()
    tiny = {path.name for path in (sample / "tiny-imagenet-200").iterdir()}
    assert tiny == {"test", "train", "val", "wnids.txt", "words.txt"}


def test_downsampled_listing(sample: Path) -> None:
    found = {
        str(path.relative_to(sample / "DownSampled"))
        for path in (sample / "DownSampled").rglob("*")
        if path.is_file()
    }
    expected = {f"Imagenet{side}_val_npz/val_data.npz" for side in (8, 16, 32, 64)}
    for batch in range(1, 11):
        expected |= {
            f"Imagenet{side}_train_npz/train_data_batch_{batch}.npz" for side in (8, 16, 32)
        }
        part = 1 if batch <= 5 else 2
        expected.add(f"Imagenet64_train_part{part}_npz/train_data_batch_{batch}.npz")
    assert found == expected


# --- ILSVRC2012 ---------------------------------------------------------------------------------


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
    for name in ILSVRC2012_TARS:
        if "patch" not in name:
            found = list(members_of(ilsvrc / name))
            assert len(found) > 3
            assert found != sorted(found), name
    for wnid, _, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar"):
        assert list(inner) != sorted(inner), wnid


def test_train_names_and_counts(ilsvrc: Path) -> None:
    counts = []
    for wnid, _, inner in class_tars(ilsvrc / "ILSVRC2012_img_train.tar"):
        assert wnid in FIRST_TEN
        for name in inner:
            stem, number = name.removesuffix(".JPEG").split("_")[:2]
            assert stem == wnid
            assert 1 <= int(number) <= 999_999
        counts.append(len(inner))
    assert sum(counts) == 800
    assert len(set(counts)) > 5


def test_headers_of_every_kind(ilsvrc: Path) -> None:
    magics = {(ilsvrc / name).read_bytes()[257:265] for name in ILSVRC2012_TARS}
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


def test_odd_images(ilsvrc: Path) -> None:
    kinds: Counter[tuple[str | None, str]] = Counter()
    sizes = set()
    for path in (ilsvrc / "train").rglob("*.JPEG"):
        with Image.open(path) as image:
            image.load()
            kinds[image.format, image.mode] += 1
            sizes.add(image.size)
            assert 100 <= min(image.size) <= max(image.size) <= 500
    assert kinds["PNG", "RGB"] == 1
    assert kinds["JPEG", "CMYK"] == 1
    assert kinds["JPEG", "L"] > 3
    assert len(sizes) > 500


def test_known_odd_images_where_their_classes_are(tmp_path: Path) -> None:
    make_sample(tmp_path / "s", classes=15, images=4)
    train = tmp_path / "s" / "ILSVRC2012" / "train"
    with Image.open(train / "n02105855" / "n02105855_2933.JPEG") as image:
        assert image.format == "PNG"
    with Image.open(train / "n03710637" / "n03710637_5125.JPEG") as image:
        assert (image.format, image.mode) == ("JPEG", "CMYK")


def test_md5_sums(ilsvrc: Path) -> None:
    lines = (ilsvrc / "ILSVRC2012.md5").read_text().splitlines()
    assert {line[33] for line in lines} == {" ", "*"}
    sums = {line[34:]: line[:32] for line in lines}
    assert sums.keys() == set(ILSVRC2012_TARS)
    for name, digest in sums.items():
        assert hashlib.md5((ilsvrc / name).read_bytes()).hexdigest() == digest


def test_devkit(ilsvrc: Path) -> None:
    kit = ilsvrc / "ILSVRC2012_devkit_t12"
    assert (kit / "readme.txt").is_file()
    assert any((kit / "evaluation").iterdir())
    synsets = scipy_io.loadmat(kit / "data" / "meta.mat")["synsets"]
    assert synsets.ndim == 2
    assert synsets.shape[1] == 1
    assert synsets.dtype.names == (
        "ILSVRC2012_ID",
        "WNID",
        "words",
        "gloss",
        "num_children",
        "children",
        "wordnet_height",
        "num_train_images",
    )
    rows = scipy_io.loadmat(kit / "data" / "meta.mat", squeeze_me=True)["synsets"]
    assert [int(row["ILSVRC2012_ID"]) for row in rows] == list(range(1, len(rows) + 1))
    leaves = [row for row in rows if row["num_children"] == 0]
    assert [int(row["ILSVRC2012_ID"]) for row in leaves] == list(range(1, 11))
    assert (leaves[0]["WNID"], leaves[0]["words"]) == ("n02119789", "kit fox, Vulpes macrotis")
    assert [row["WNID"] for row in leaves] != sorted(row["WNID"] for row in leaves)
    for row in rows[10:]:
        assert np.atleast_1d(row["children"]).size == row["num_children"] > 0
    for row in leaves:
        assert row["num_train_images"] == len(loose(ilsvrc / "train" / row["WNID"]))


def test_ground_truth(ilsvrc: Path) -> None:
    path = ilsvrc / "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt"
    text = path.read_text()
    assert not text.endswith("\n")
    numbers = [int(line) for line in text.split("\n")]
    assert len(numbers) == len(list((ilsvrc / "validation").iterdir())) == 100
    assert Counter(numbers) == dict.fromkeys(range(1, 11), 10)
    assert numbers != sorted(numbers)


# --- the other versions -------------------------------------------------------------------------


def test_winter21(sample: Path) -> None:
    root = sample / "winter21_whole"
    directories = {path.name for path in root.iterdir() if path.name != "tars"}
    tars = {path.stem: members_of(path) for path in (root / "tars").iterdir()}
    assert tars.keys() - directories == {"n15102894"}
    assert directories - tars.keys() == {"n00007846"}
    assert {"n02012849", "n03126707"} <= tars.keys()  # both are named "crane"
    kinds: Counter[str] = Counter()
    for wnid, found in tars.items():
        assert all(name.startswith(f"{wnid}_") and name.endswith(".JPEG") for name in found)
        if wnid in directories:
            assert {name: data for name, (_, data) in found.items()} == loose(root / wnid)
        for _, data in found.values():
            kinds[_kind(data)] += 1
    assert kinds["gzip"] == 2
    assert kinds["empty"] == 2
    assert kinds["unreadable"] == 1
    with pytest.raises((OSError, UnidentifiedImageError)):
        Image.open(root / "n06470073" / "n06470073_47249.JPEG").load()


def _kind(data: bytes) -> str:
    if not data:
        return "empty"
    if data[:2] == b"\x1f\x8b":
        Image.open(io.BytesIO(gzip.decompress(data))).load()
        return "gzip"
    try:
        Image.open(io.BytesIO(data)).load()
    except OSError:
        return "unreadable"
    return "fine"


def test_winter21_shares_most_images(sample: Path) -> None:
    train = loose(sample / "ILSVRC2012/train/n02119789")
    winter = loose(sample / "winter21_whole/n02119789")
    shared = train.keys() & winter.keys()
    assert 0.6 < len(shared) / len(train) < 0.9
    assert all(train[name] == winter[name] for name in shared)


def test_tiny(sample: Path) -> None:
    root = sample / "tiny-imagenet-200"
    wnids = (root / "wnids.txt").read_text().split()
    assert wnids != sorted(wnids)
    assert set(wnids) == {path.name for path in (root / "train").iterdir()} < FIRST_TEN
    words = dict(line.split("\t") for line in (root / "words.txt").read_text().splitlines())
    assert len(words) > 1000
    assert words["n02012849"] == words["n03126707"] == "crane"
    winter = {path.stem for path in (sample / "winter21_whole/tars").iterdir()}
    assert winter <= words.keys()
    for wnid in wnids:
        boxes = (root / "train" / wnid / f"{wnid}_boxes.txt").read_text().splitlines()
        images = {path.name for path in (root / "train" / wnid / "images").iterdir()}
        assert images == {f"{wnid}_{place}.JPEG" for place in range(len(images))}
        assert images == {line.split("\t")[0] for line in boxes}
    lines = (root / "val" / "val_annotations.txt").read_text().splitlines()
    shown = {line.split("\t")[0]: line.split("\t")[1] for line in lines}
    assert shown.keys() == {path.name for path in (root / "val" / "images").iterdir()}
    assert set(shown.values()) == set(wnids)
    for line in lines:
        x0, y0, x1, y1 = (int(part) for part in line.split("\t")[2:])
        assert 0 <= x0 < x1 < 64
        assert 0 <= y0 < y1 < 64
    with Image.open(root / "test" / "images" / "test_0.JPEG") as image:
        assert (image.format, image.size) == ("JPEG", (64, 64))


def test_downsampled_rows(sample: Path) -> None:
    counts = Counter[int]()
    dtypes = set()
    for side in (8, 16, 32, 64):
        labels = []
        for batch in range(1, 11):
            [path] = (sample / "DownSampled").glob(
                f"Imagenet{side}_train*_npz/train_data_batch_{batch}.npz"
            )
            with np.load(path, allow_pickle=False) as arrays:
                assert set(arrays) == {"data", "labels", "mean"}
                assert arrays["data"].shape == (80, 3 * side * side)
                assert arrays["data"].dtype == np.uint8
                assert arrays["mean"].shape == (3 * side * side,)
                assert arrays["mean"].dtype.kind == "f"
                dtypes.add(arrays["labels"].dtype.str)
                labels += arrays["labels"].tolist()
        assert labels != sorted(labels)
        assert set(labels) == set(range(1, 11))
        counts[hash(tuple(sorted(labels)))] += 1
    assert list(counts.values()) == [4]
    assert len(dtypes) == 3


def test_downsampled_stored_and_deflated(sample: Path) -> None:
    kinds = Counter[tuple[bool, int]]()
    for path in (sample / "DownSampled").rglob("*.npz"):
        with zipfile.ZipFile(path) as archive:
            [kind] = {info.compress_type for info in archive.infolist()}
            kinds["train" in path.name, kind] += 1
    assert kinds[True, zipfile.ZIP_STORED] == 30
    assert kinds[True, zipfile.ZIP_DEFLATED] == 10
    assert kinds[False, zipfile.ZIP_STORED] == 3
    assert kinds[False, zipfile.ZIP_DEFLATED] == 1


def test_downsampled_val_is_in_directory_order(sample: Path) -> None:
    kit = sample / "ILSVRC2012/ILSVRC2012_devkit_t12/data/meta.mat"
    rows = scipy_io.loadmat(kit, squeeze_me=True)["synsets"]
    wnid_of = {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in rows}
    with np.load(sample / "DownSampled/Imagenet32_val_npz/val_data.npz") as arrays:
        wnids = [wnid_of[int(label)] for label in arrays["labels"]]
        assert set(arrays) == {"data", "labels"}
    assert wnids == sorted(wnids)
