"""The same images in three forms: a tar of class tars, an extracted tree, an
uncompressed squashfs image.

The bytes are random and the sizes like ImageNet's: no system under test looks into an image.
"""

from __future__ import annotations

import os
import random
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from . import children
from .errors import BenchmarkError
from .workspace import Workspace

_SMALLEST, _LARGEST = 60_000, 140_000  # bytes an image
_MEAN = (_SMALLEST + _LARGEST) // 2
_POOL = 4 << 20
_BLOCK, _RECORD = 512, 10_240
_MTIME = 1_340_000_000
_SQUASHFS_SECONDS = 600


@dataclass(frozen=True, slots=True)
class Size:
    """How many classes, and images in each."""

    classes: int
    images: int

    @property
    def files(self) -> int:
        return self.classes * self.images

    @property
    def bytes(self) -> int:
        """About how many bytes one form of the images takes."""
        return self.files * (_MEAN + 2 * _BLOCK)


@dataclass(frozen=True, slots=True)
class Data:
    """Where the forms are; ``image`` is None without mksquashfs.

    ``bytes`` is the sum of all images.
    """

    size: Size
    bytes: int
    source: Path
    tar: Path
    tree: Path
    image: Path | None


def prepare(workspace: Workspace, size: Size, mksquashfs: Path | None) -> Data:
    """Make what is not there yet (a kept workspace may hold it)."""
    name = f"data-{size.classes}x{size.images}"
    source, tree = workspace.path(name, "source"), workspace.path(name, "tree")
    tar = source / "ILSVRC2012" / "ILSVRC2012_img_train.tar"
    done = workspace.path(name, "done")
    image = workspace.path(name, "squashfs")
    if not done.exists():
        workspace.check_room(3 * size.bytes + (1 << 28))
        _write(tar, tree, size)
        done.touch()
    if mksquashfs is not None and not image.exists():
        _squash(workspace, mksquashfs, tree, image)
    total = sum(each for sizes in _sizes(size) for each in sizes)
    return Data(size, total, source, tar, tree, image if image.exists() else None)


def _sizes(size: Size) -> Iterator[list[int]]:
    rng = random.Random(1)
    for _ in range(size.classes):
        yield [rng.randrange(_SMALLEST, _LARGEST) for _ in range(size.images)]


def _write(tar: Path, tree: Path, size: Size) -> None:
    tar.parent.mkdir(parents=True, exist_ok=True)
    pool = os.urandom(_POOL)
    rng = random.Random(2)
    with tar.open("wb") as out:
        for number, sizes in enumerate(_sizes(size)):
            wnid = f"n{1440764 + number:08d}"
            (tree / wnid).mkdir(parents=True, exist_ok=True)
            _write_class(out, tree / wnid, wnid, sizes, pool, rng)
        out.write(bytes(_RECORD))


def _write_class(
    out: BinaryIO, directory: Path, wnid: str, sizes: list[int], pool: bytes, rng: random.Random
) -> None:
    length = sum(_BLOCK + -(-each // _BLOCK) * _BLOCK for each in sizes) + 2 * _BLOCK
    length = -(-length // _RECORD) * _RECORD
    out.write(_header(f"{wnid}.tar", length))
    start = out.tell()
    for number, each in enumerate(sizes):
        at = rng.randrange(_POOL - each)
        content = pool[at : at + each]
        name = f"{wnid}_{7 * number}.JPEG"
        out.write(_header(name, each))
        out.write(content)
        out.write(bytes(-each % _BLOCK))
        (directory / name).write_bytes(content)
    out.write(bytes(start + length - out.tell()))


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mtime = size, _MTIME
    return info.tobuf(tarfile.USTAR_FORMAT)


def _squash(workspace: Workspace, mksquashfs: Path, tree: Path, image: Path) -> None:
    """An image without compression, as a site would make it for speed."""
    beside = image.with_suffix(".new")
    beside.unlink(missing_ok=True)
    options = ("-noI", "-noD", "-noF", "-noX", "-no-progress", "-quiet")
    try:
        children.run(
            [mksquashfs, tree, beside, *options],
            workspace.environ,
            workspace.path("logs", "mksquashfs"),
            _SQUASHFS_SECONDS,
        )
    except BenchmarkError:
        return  # squashfuse_ll then has nothing to mount, and is shown as absent
    beside.rename(image)
