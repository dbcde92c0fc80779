"""ILSVRC2012 of the miniature: archives, the same files extracted beside them, kits, md5 sums.

Traps that stand here on purpose: no tar is in name order; ustar, GNU and pax headers side by
side, with a long name in the last two; class tars with and without padding; ``test/`` as a prefix
and as an entry; a patch that names its images without that prefix; a PNG and CMYK JPEGs by the
name of a JPEG; grey JPEGs.
"""

from __future__ import annotations

import hashlib
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from imagenetfs.sample import devkit, members, photos
from imagenetfs.sample.members import Member
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Class, Plan
from imagenetfs.sample.randomness import generator, image_numbers, shuffled, spread_counts

_LONG = "a-name-that-does-not-fit-into-the-hundred-bytes-of-a-ustar-header-" * 2


@dataclass
class Thumbnails:
    """What the down-sampled versions are made of: (file name, ILSVRC2012_ID, pixels) a photo."""

    train: list[tuple[str, Class, np.ndarray[Any, np.dtype[np.uint8]]]] = field(
        default_factory=list
    )
    val: list[tuple[str, Class, np.ndarray[Any, np.dtype[np.uint8]]]] = field(default_factory=list)


def write(
    root: Path, plan: Plan, painter: Painter, progress: Callable[[float], None]
) -> Thumbnails:
    """Write the tree below ``root``; ``progress`` is told how much is done, 0 to 1."""
    root.mkdir()
    thumbnails = Thumbnails()
    counts = _write_train(root, plan, painter, thumbnails, lambda done: progress(0.8 * done))
    truth = _write_val(root, plan, painter, thumbnails)
    progress(0.92)
    _write_test(root, plan, painter)
    t3_counts = _write_t3(root, plan, painter)
    devkit.write_devkit(root / "ILSVRC2012_devkit_t12", counts, truth)
    devkit.write_devkit(root / "ILSVRC2012_devkit_t3", t3_counts, None)
    _write_sums(root)
    progress(1.0)
    return thumbnails


def _write_train(
    root: Path,
    plan: Plan,
    painter: Painter,
    thumbnails: Thumbnails,
    progress: Callable[[float], None],
) -> dict[str, int]:
    """Write train as a tar of class tars and as directories; images a class, in order of ID."""
    rng = generator(plan.seed, "train")
    sizes = spread_counts(plan.images, plan.classes, rng)
    counts = {each.wnid: size for each, size in zip(plan.chosen, sizes, strict=True)}
    with members.open_tar(root / "ILSVRC2012_img_train.tar") as outer:
        for done, each in enumerate(shuffled(plan.chosen, rng)):
            files = _train_class(plan, painter, each, counts[each.wnid], thumbnails)
            members.write_loose(root / "train" / each.wnid, files)
            form, padded = _form_of(each)
            data = members.tar_bytes(shuffled(files, rng), form, padded=padded)
            members.add(outer, members.member(f"{each.wnid}.tar", data, rng))
            progress((done + 1) / plan.classes)
    members.stamp(root / "ILSVRC2012_img_train.tar", members.JUNE_2012)
    return counts


def _form_of(each: Class) -> tuple[int, bool]:
    """The tar format of a class tar, and whether it is padded to whole records."""
    if each.number == 1:
        return tarfile.PAX_FORMAT, True
    form = tarfile.GNU_FORMAT if each.number % 2 == 0 else tarfile.USTAR_FORMAT
    return form, each.number % 3 != 0


def _train_class(
    plan: Plan, painter: Painter, each: Class, count: int, thumbnails: Thumbnails
) -> list[Member]:
    """The images of one class; in the first two classes one of them has a long name, and in the
    first (a pax tar) one has a time with a fraction of a second."""
    rng = generator(plan.seed, "train", each.wnid)
    kinds = photos.odd_numbers(plan).get(each.wnid, {})
    numbers = [number for number in image_numbers(count, rng) if number not in kinds]
    numbers = [*kinds, *numbers][:count]
    files = []
    for place, number in enumerate(numbers):
        last = place == count - 1
        suffix = f"_{_LONG}" if last and each.number <= 2 else ""
        name = f"{each.wnid}_{number}{suffix}.JPEG"
        photo = photos.take(painter, each, rng, kinds.get(number, "jpeg"))
        file = members.member(name, photo.data, rng)
        if place == count - 2 and each.number == 1:
            file = members.at(file, file.mtime + 0.5)
        files.append(file)
        thumbnails.train.append((name, each, photo.thumbnail))
    return files


def _write_val(root: Path, plan: Plan, painter: Painter, thumbnails: Thumbnails) -> list[int]:
    """Write val flat, as a tar and as a directory; the ground truth in the order of names."""
    rng = generator(plan.seed, "val")
    files = []
    shown = shuffled([each for each in plan.chosen for _ in range(plan.val_a_class)], rng)
    for place, each in enumerate(shown):
        name = f"ILSVRC2012_val_{place + 1:08d}.JPEG"
        photo = photos.take(painter, each, rng)
        files.append(members.member(name, photo.data, rng))
        thumbnails.val.append((name, each, photo.thumbnail))
    members.write_loose(root / "validation", files)
    _write_tar(root / "ILSVRC2012_img_val.tar", shuffled(files, rng), tarfile.USTAR_FORMAT)
    return [each.number for each in shown]


def _write_test(root: Path, plan: Plan, painter: Painter) -> None:
    """Write test and its patch as tars, and the patched images as a directory."""
    rng = generator(plan.seed, "test")
    files = {}
    for number in range(1, plan.test + 1):
        name = f"ILSVRC2012_test_{number:08d}.JPEG"
        each = plan.chosen[int(rng.integers(plan.classes))]
        files[name] = members.member(name, photos.take(painter, each, rng).data, rng)
    path = root / "ILSVRC2012_img_test_v10102019.tar"
    with members.open_tar(path) as archive:
        members.add_directory(archive, "test/", members.JUNE_2012)
        for file in shuffled(list(files.values()), rng):
            members.add(archive, members.renamed(file, f"test/{file.name}"))
    members.stamp(path, members.OCTOBER_2019)
    patch = []
    for name in shuffled(list(files), rng)[: plan.patched]:
        each = plan.chosen[int(rng.integers(plan.classes))]
        data = photos.take(painter, each, rng).data
        patch.append(members.member(name, data, rng, members.OCTOBER_2019))
    _write_tar(
        root / "ILSVRC2012_img_test_patch_v10102019.tar",
        patch,
        tarfile.USTAR_FORMAT,
        members.OCTOBER_2019,
    )
    files |= {file.name: file for file in patch}
    members.write_loose(root / "test", files.values())


def _write_t3(root: Path, plan: Plan, painter: Painter) -> dict[str, int]:
    """Write the dogs of the fine-grained task, as a tar of class tars and as directories."""
    rng = generator(plan.seed, "t3")
    sizes = spread_counts(plan.t3_a_class, len(plan.t3), rng)
    counts = {each.wnid: size for each, size in zip(plan.t3, sizes, strict=True)}
    tars = []
    for each in plan.t3:
        files = []
        for place, number in enumerate(image_numbers(counts[each.wnid], rng)):
            suffix = f"_{_LONG}" if place == 0 and each is plan.t3[0] else ""
            photo = photos.take(painter, each, rng)
            name = f"{each.wnid}_{number}{suffix}.JPEG"
            files.append(members.member(name, photo.data, rng))
        members.write_loose(root / "train_T3" / each.wnid, files)
        data = members.tar_bytes(shuffled(files, rng), tarfile.GNU_FORMAT)
        tars.append(members.member(f"{each.wnid}.tar", data, rng))
    path = root / "ILSVRC2012_img_train_t3.tar"
    _write_tar(path, shuffled(tars, rng), tarfile.USTAR_FORMAT)
    return counts


def _write_tar(path: Path, files: list[Member], form: int, mtime: int = members.JUNE_2012) -> None:
    with members.open_tar(path, form) as archive:
        for file in files:
            members.add(archive, file)
    members.stamp(path, mtime)


def _write_sums(root: Path) -> None:
    """Write ILSVRC2012.md5 as md5sum does, lines in text and in binary form (``*``) by turns."""
    lines = []
    for place, path in enumerate(sorted(root.glob("*.tar"))):
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "md5").hexdigest()
        lines.append(f"{digest} {'*' if place % 2 else ' '}{path.name}\n")
    members.write_file(root / "ILSVRC2012.md5", "".join(lines).encode())
