"""A small source with every form of archive, and what can happen to a file of it.

All of it follows from a seed. Nothing of imagenetfs is used, so that no mistake is made twice.
"""

from __future__ import annotations

import io
import os
import random
import tarfile
import zipfile
from pathlib import Path

import numpy as np

from tests.helpers.devkit import meta_mat

WNIDS = [b"n00000007", b"n00000003", b"n00000009"]
TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"
VAL = "ILSVRC2012/ILSVRC2012_img_val.tar"
ARRAY = "DownSampled/Imagenet8_val_npz/val_data.npz"
TAR, ZIP = "more/odd.tar", "more/kit.zip"
ARCHIVES = (TRAIN, VAL, ARRAY, TAR, ZIP)
"""The files that the machine changes."""

_SIZES = (0, 1, 511, 512, 513, 4096, 5000, 70_000, 140_000)
_TIME = 1_338_000_000


def write(root: Path, seed: int) -> Path:
    """The whole source."""
    data = root / "ILSVRC2012" / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    (data / "meta.mat").write_bytes(meta_mat(WNIDS))
    truth = "\n".join(str(number % len(WNIDS) + 1) for number in range(8))
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth + "\n")
    for number, path in enumerate(ARCHIVES):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(archive(path, seed + number))
    (root / "more" / "plain.txt").write_bytes(b"plain" * 3000)
    (root / "more" / "link").symlink_to("plain.txt")
    (root / "more" / "deep" / "er").mkdir(parents=True)
    for number in range(40):
        (root / "more" / "deep" / "er" / f"{number}-{'x' * (5 * number)}").write_bytes(
            b"x" * number
        )
    for file in root.rglob("*"):
        if file.is_file() and not file.is_symlink():
            os.utime(file, (_TIME, _TIME))
    return root


def archive(path: str, seed: int) -> bytes:
    """What stands in one of :data:`ARCHIVES`."""
    choose = random.Random(seed)
    if path == TRAIN:
        return _tar({f"{wnid.decode()}.tar": _class_tar(wnid.decode(), choose) for wnid in WNIDS})
    if path == VAL:
        order = choose.sample(range(1, 9), 8)
        return _tar({f"ILSVRC2012_val_{n:08d}.JPEG": _image(choose) for n in order})
    if path == ARRAY:
        rows = np.random.default_rng(seed).integers(0, 256, (6, 192), np.uint8)
        file = io.BytesIO()
        save = np.savez if choose.random() < 0.5 else np.savez_compressed
        save(file, data=rows, labels=np.array([1, 2, 3, 1, 2, 3], np.int64))
        return file.getvalue()
    if path == ZIP:
        return _zip({**_files(choose), "in.tar": _tar(_files(choose))}, choose)
    return _odd_tar(choose)


def _image(choose: random.Random) -> bytes:
    return b"\xff\xd8\xff\xe0" + choose.randbytes(choose.choice(_SIZES))


def _class_tar(wnid: str, choose: random.Random) -> bytes:
    return _tar({f"{wnid}_{n}.JPEG": _image(choose) for n in range(1, 5)})


def _files(choose: random.Random) -> dict[str, bytes]:
    names = ["a.txt", "sub/b.bin", "sub/deeper/c.JPEG", "sub/d", "long" * 30, "caf\xe9"]
    return {name: choose.randbytes(choose.choice(_SIZES)) for name in names}


def _tar(files: dict[str, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as out:
        for number, (name, data) in enumerate(files.items()):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), _TIME + number
            out.addfile(info, io.BytesIO(data))
    return file.getvalue()


def _odd_tar(choose: random.Random) -> bytes:
    """Links, a hard link, a file of two names, tars and zips within; in the pax form."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as out:
        inner = _tar(_files(choose))
        for name, data in {
            **_files(choose),
            "in.tar": inner,
            "in.zip": _zip(_files(choose)),
        }.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), _TIME
            out.addfile(info, io.BytesIO(data))
        for name, kind, target in (
            ("soft", tarfile.SYMTYPE, "sub/b.bin"),
            ("sub/up", tarfile.SYMTYPE, "../a.txt"),
            ("nowhere", tarfile.SYMTYPE, "nothing"),
            ("hard", tarfile.LNKTYPE, "sub/b.bin"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname, info.mtime = kind, target, _TIME
            out.addfile(info)
        info = tarfile.TarInfo("a.txt")  # once more: the later one is shown
        info.size, info.mtime = 7, _TIME + 1
        out.addfile(info, io.BytesIO(choose.randbytes(7)))
    return file.getvalue()


def _zip(files: dict[str, bytes], choose: random.Random | None = None) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as out:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (2012, 6, 1, 12, 0, 0))
            info.external_attr = 0o100644 << 16
            deflated = choose is not None and data and not name.endswith(".tar")
            deflated = deflated and choose is not None and choose.random() < 0.5
            info.compress_type = zipfile.ZIP_DEFLATED if deflated else zipfile.ZIP_STORED
            out.writestr(info, data)
    return file.getvalue()


def replace(root: Path, path: str, seed: int) -> None:
    """Another archive takes the place of the file, by rename."""
    new = root / (path + ".new")
    new.write_bytes(archive(path, seed))
    os.replace(new, root / path)


def same_anew(root: Path, path: str) -> None:
    """The same contents under another inode."""
    new = root / (path + ".new")
    new.write_bytes((root / path).read_bytes())
    os.replace(new, root / path)
