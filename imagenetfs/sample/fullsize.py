"""The full-size tree: archives of the real shape, with holes where the images would be.

Only headers are written, so that an archive of 148 GB takes one block of the file system a
member (about 5 GB at blocks of 4 KiB); every image reads as zeros. Members stand in no order.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from imagenetfs import errors
from imagenetfs.sample import devkit, headers, members, synsets, target
from imagenetfs.sample import shape as shapes
from imagenetfs.sample.headers import BLOCK, END, RECORD, Bytes, Integers
from imagenetfs.sample.randomness import generator
from imagenetfs.sample.shape import Shape

# The first lines of the real ground truth.
_TRUTH_STARTS = (490, 361, 171, 822, 297, 482, 13, 704, 599, 164)
_SPARE = 256 * 2**20  # bytes: directories, the file system's own tables, the devkit
_PROBE_LIMIT = 2**20  # bytes that a hole of any size may take


WINTER = "winter21_whole"


def make_full_size(
    directory: Path,
    *,
    seed: int = 0,
    version: str | None = None,
    classes: int | None = None,
    progress: target.OnProgress | None = None,
) -> None:
    """Make ILSVRC2012 (train, val, devkit) at its real shape, and a tar of a few images for each
    class of winter21_whole; or winter21_whole alone (``version``) with all of its images, of
    ``classes`` where not of all.

    ``directory`` is made or must be empty; ``progress`` is called with a step's name and the part
    of all work that is done, 0 to 1. Raises errors.UsageError, and errors.NoSpaceError before
    anything is written where the file system has no room for the headers, or no holes.
    """
    progress = progress or target.no_progress
    if version is None:
        write_shape(directory, shapes.FULL, seed, progress)
    elif version == WINTER:
        write_winter(directory, classes or shapes.FULL.winter_classes, seed, progress)
    else:
        raise errors.UsageError(f"--full-size knows {WINTER} alone by name, not {version}.")


def write_winter(directory: Path, classes: int, seed: int, progress: target.OnProgress) -> None:
    """Make so many classes of winter21_whole at their real shape; see make_full_size()."""
    most = shapes.FULL.winter_classes
    if not 1 <= classes <= most:
        raise errors.UsageError(f"{WINTER} has 1 to {most:,} classes, not {classes:,}.")
    if seed < 0:
        raise errors.UsageError("The seed is a number from 0.")
    rng = generator(seed, "winter21 at full size")
    counts = shapes.winter_counts(classes, rng)
    shape = replace(shapes.FULL, classes=min(classes, 1_000), winter_classes=classes)
    wnids = sorted(rng.permutation(shapes.winter_wnids(shape, rng))[:classes].tolist())
    with target.building(directory) as staging:
        _check_room(staging, sum(counts) + classes, max(counts) * shapes.WINTER_MEAN)
        tars = staging / WINTER / "tars"
        tars.mkdir(parents=True)
        for done, (wnid, count) in enumerate(zip(wnids, counts, strict=True)):
            sizes = shapes.winter_image_sizes(count, rng)
            names, times = _image_names(wnid, count, rng), _times(count, rng, members.WINTER_2021)
            magic = headers.GNU if done % 2 else headers.USTAR
            blocks = headers.headers(names, sizes, times, magic=magic)
            starts, length = headers.layout(sizes)
            with (tars / f"{wnid}.tar").open("wb", buffering=0) as file:
                file.truncate(length)
                _write_headers(file.fileno(), blocks, starts)
            members.stamp(tars / f"{wnid}.tar", members.WINTER_2021)
            progress(WINTER, (done + 1) / classes)
        target.settle(staging, members.WINTER_2021)
    progress("done", 1.0)


def write_shape(directory: Path, shape: Shape, seed: int, progress: target.OnProgress) -> None:
    """Make a tree of any shape; see make_full_size()."""
    if seed < 0:
        raise errors.UsageError("The seed is a number from 0.")
    with target.building(directory) as staging:
        _check_room(staging, shape.headers, shape.train_bytes)
        root = staging / "ILSVRC2012"
        root.mkdir()
        progress("train", 0.0)
        counts = _write_train(root, shape, seed, lambda done: progress("train", 0.85 * done))
        progress("val", 0.85)
        _write_val(root, shape, seed)
        progress("devkit", 0.9)
        truth = _ground_truth(shape, generator(seed, "truth"))
        devkit.write_devkit(root / "ILSVRC2012_devkit_t12", counts, truth)
        progress("winter21_whole", 0.92)
        _write_winter(staging / "winter21_whole" / "tars", shape, seed)
        target.settle(staging, members.JUNE_2012)
    progress("done", 1.0)


def _check_room(staging: Path, blocks: int, largest: int) -> None:
    """Raise errors.NoSpaceError where a tree of so many blocks, and its largest file, cannot fit;
    leaves nothing behind.
    """
    room = os.statvfs(staging)
    needed = blocks * max(4096, room.f_frsize) + _SPARE
    free = room.f_bavail * room.f_frsize
    if free < needed:
        raise errors.NoSpaceError(
            f"The full-size tree takes about {needed / 1e9:.1f} GB in {staging.parent}, "
            f"and only {free / 1e9:.1f} GB are free there."
        )
    probe = staging / "probe"
    with probe.open("wb") as file:
        file.truncate(largest)
        os.pwrite(file.fileno(), b"\0", largest - 1)
        os.fsync(file.fileno())
        taken = os.fstat(file.fileno()).st_blocks * 512
    probe.unlink()
    if taken > max(_PROBE_LIMIT, 2 * room.f_frsize):
        raise errors.NoSpaceError(
            f"The file system of {staging.parent} keeps no holes in files, so the full-size tree "
            f"would take {largest / 1e9:.0f} GB and more there: choose another directory."
        )


def _write_train(
    root: Path, shape: Shape, seed: int, progress: Callable[[float], None]
) -> dict[str, int]:
    """Write the tar of class tars; images a class, in the order of ILSVRC2012_IDs."""
    rng = generator(seed, "train")
    counts = shapes.class_counts(shape, rng)
    sizes = shapes.train_sizes(shape, counts, rng)
    wnids = synsets.imagenet_order()[: shape.classes]
    path = root / "ILSVRC2012_img_train.tar"
    with path.open("wb", buffering=0) as file:
        file.truncate(shape.train_bytes)
        place = 0
        for done, index in enumerate(rng.permutation(shape.classes)):
            wnid = wnids[index]
            magic = headers.GNU if done % 2 else headers.USTAR
            inner = sizes[index]
            names = _image_names(wnid, len(inner), rng)
            blocks = headers.headers(names, inner, _times(len(inner), rng), magic=magic)
            starts, length = headers.layout(inner)
            outer = headers.headers(
                [f"{wnid}.tar"], np.array([length]), _times(1, rng), magic=headers.GNU
            )
            os.pwrite(file.fileno(), outer[0], place)
            _write_headers(file.fileno(), blocks, place + BLOCK + starts)
            place += BLOCK + length
            progress((done + 1) / shape.classes)
    assert headers.rounded(place + END, RECORD) == shape.train_bytes
    members.stamp(path, members.JUNE_2012)
    return dict(zip(wnids, counts, strict=True))


def _write_headers(descriptor: int, blocks: Bytes, places: Integers) -> None:
    """Write each header at its place (bytes from the start of the file); data stay holes."""
    for place, block in zip(places.tolist(), blocks, strict=True):
        os.pwrite(descriptor, block, place)


def _times(count: int, rng: np.random.Generator, around: int = members.JUNE_2012) -> Integers:
    """Modification times (s) within ten days."""
    return around + rng.integers(0, 10 * members.DAY, count)


def _image_names(wnid: str, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct names in no order; classes differ in how high their numbers go."""
    highest = int(max(2 * count, 1_500 * 100 ** rng.random()))
    numbers = rng.choice(highest, count, replace=False) + 1
    return [f"{wnid}_{number}.JPEG" for number in numbers.tolist()]


def _write_val(root: Path, shape: Shape, seed: int) -> None:
    """Write the flat tar of val, its members shuffled."""
    rng = generator(seed, "val")
    [sizes] = shapes.image_sizes([shape.val_images], shape.val_bytes, rng)
    order = rng.permutation(shape.val_images) + 1
    names = [f"ILSVRC2012_val_{number:08d}.JPEG" for number in order.tolist()]
    times = _times(shape.val_images, rng)
    blocks = headers.headers(names, sizes, times, magic=headers.USTAR)
    starts, length = headers.layout(sizes)
    assert length == shape.val_bytes
    path = root / "ILSVRC2012_img_val.tar"
    with path.open("wb", buffering=0) as file:
        file.truncate(length)
        _write_headers(file.fileno(), blocks, starts)
    members.stamp(path, members.JUNE_2012)


def _ground_truth(shape: Shape, rng: np.random.Generator) -> list[int]:
    """One ILSVRC2012_ID a val image, every ID equally often, beginning as the real one does."""
    left = np.full(shape.classes, shape.val_images // shape.classes)
    start = [number for number in _TRUTH_STARTS if number <= shape.classes]
    for number in start:
        left[number - 1] -= 1
    others = rng.permutation(np.repeat(np.arange(1, shape.classes + 1), left))
    return start + [int(number) for number in others]


def _write_winter(directory: Path, shape: Shape, seed: int) -> None:
    """Write a tar of a few members for every class of winter21_whole."""
    directory.mkdir(parents=True)
    rng = generator(seed, "winter21")
    wnids = shapes.winter_wnids(shape, rng)
    tars = shapes.winter_sizes(shape, rng)
    # All headers at once: numpy's cost a call is many times that of three headers.
    owner = np.repeat(np.arange(len(tars)), [len(sizes) for sizes in tars])
    place = np.concatenate([np.arange(len(sizes)) for sizes in tars])
    numbers = 4 * rng.integers(1, 100_000, len(owner)) + place  # distinct within a class
    names = [
        f"{wnids[tar]}_{number}.JPEG"
        for tar, number in zip(owner.tolist(), numbers.tolist(), strict=True)
    ]
    magic = np.stack([headers.USTAR, headers.GNU])[owner % 2]
    times = _times(len(names), rng, members.WINTER_2021)
    blocks = headers.headers(names, np.concatenate(tars), times, magic=magic)
    first = 0
    for wnid, sizes in zip(wnids, tars, strict=True):
        starts, length = headers.layout(sizes)
        path = directory / f"{wnid}.tar"
        with path.open("wb", buffering=0) as file:
            file.truncate(length)
            _write_headers(file.fileno(), blocks[first : first + len(sizes)], starts)
        members.stamp(path, members.WINTER_2021)
        first += len(sizes)
