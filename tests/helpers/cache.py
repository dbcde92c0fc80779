"""Sources with images as large as ImageNet's, and readers of them."""

from __future__ import annotations

import hashlib
import io
import os
import random
import tarfile
from collections.abc import Iterable
from pathlib import Path

PLENTY = 1 << 40
"""Room enough for everything."""


def make_train(source: Path, classes: int = 6, images: int = 30, mean: int = 110_000) -> int:
    """``source``/ILSVRC2012/ILSVRC2012_img_train.tar of random bytes; returns
    the bytes of its images.
    """
    rng, total = random.Random(classes * images), 0
    (source / "ILSVRC2012").mkdir(parents=True, exist_ok=True)
    with tarfile.open(source / "ILSVRC2012" / "ILSVRC2012_img_train.tar", "w") as outer:
        for number in range(classes):
            wnid, inner = f"n{number:08}", io.BytesIO()
            with tarfile.open(fileobj=inner, mode="w") as tar:
                for image in range(images):
                    data = rng.randbytes(rng.randrange(mean // 5, 2 * mean))
                    _add(tar, f"{wnid}_{image}.JPEG", data)
                    total += len(data)
            _add(outer, f"{wnid}.tar", inner.getvalue())
    return total


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def files(top: Path) -> list[Path]:
    """All regular files below a directory."""
    found = (Path(d) / name for d, _, names in os.walk(top) for name in names)
    return sorted(path for path in found if path.is_file() and not path.is_symlink())


def epoch(paths: Iterable[Path], seed: int) -> int:
    """Read all of these once in a shuffled order, past the page cache; the bytes read."""
    order, total = list(paths), 0
    random.Random(seed).shuffle(order)
    for path in order:
        with open(path, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            total += len(file.read())
    return total


def sums(top: Path, paths: Iterable[Path]) -> dict[str, str]:
    """Name -> checksum."""
    return {str(p.relative_to(top)): hashlib.md5(p.read_bytes()).hexdigest() for p in paths}
