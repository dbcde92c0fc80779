"""winter21_whole of the miniature: a tar a class in ``tars/``, and extracted directories.

Its classes are those of the sample, most of whose images it shares with ILSVRC2012, and a few
that only it has. Some images are damaged as some of the real ones are: gzip-compressed JPEGs, an
empty file, one that no program can decode.
"""

from __future__ import annotations

import gzip
import tarfile
from pathlib import Path

import numpy as np

from imagenetfs.sample import members, photos, synsets
from imagenetfs.sample.members import Member
from imagenetfs.sample.pictures import Painter
from imagenetfs.sample.plan import Class, Plan
from imagenetfs.sample.randomness import generator, image_numbers, shuffled

DOCUMENT = "n06470073"  # has the unreadable image
UNREADABLE = "n06470073_47249.JPEG"

# The first two and the last class of the release, and two that share their name.
ONLY_HERE = ("n00004475", "n00007846", "n15102894", DOCUMENT, *synsets.CRANES)
WITHOUT_TAR = "n00007846"
WITHOUT_DIRECTORY = "n15102894"
GZIPPED_IN = "n00004475"  # and in the first class of the sample
EMPTY_IN = "n15102894"  # and in the first class of the sample

_SHARED = 0.75  # of a class's images in ILSVRC2012, how many are here too


def write(root: Path, plan: Plan, painter: Painter, ilsvrc2012: Path) -> None:
    """Write the tree below ``root``; ``ilsvrc2012`` is the sample's tree of that name."""
    root.mkdir()
    for place, each in enumerate(classes(plan)):
        rng = generator(plan.seed, "winter21", each.wnid)
        files = _images(plan, painter, each, rng)
        files += _shared(ilsvrc2012 / "train" / each.wnid, rng)
        if each.wnid != WITHOUT_DIRECTORY:
            members.write_loose(root / each.wnid, files)
        if each.wnid != WITHOUT_TAR:
            form = tarfile.USTAR_FORMAT if place % 2 else tarfile.GNU_FORMAT
            data = members.tar_bytes(shuffled(files, rng), form, padded=place % 4 != 0)
            path = root / "tars" / f"{each.wnid}.tar"
            members.write_file(path, data, members.WINTER_2021)


def classes(plan: Plan) -> list[Class]:
    """The sample's classes and those of ONLY_HERE, sorted by wnid."""
    there = {each.wnid: each for each in plan.chosen}
    order = synsets.imagenet_order()
    for place, wnid in enumerate(ONLY_HERE):
        number = order.index(wnid) + 1 if wnid in order else synsets.LEAVES + 1 + place
        there.setdefault(wnid, Class(wnid, number))
    return [there[wnid] for wnid in sorted(there)]


def _images(plan: Plan, painter: Painter, each: Class, rng: np.random.Generator) -> list[Member]:
    """The images that only this release has. Numbers above 30,000: never one of ILSVRC2012's."""
    files = []
    numbers = [number + 30_000 for number in image_numbers(plan.winter_a_class, rng)]
    for place, number in enumerate(numbers):
        name = f"{each.wnid}_{number}.JPEG"
        data = photos.take(painter, each, rng).data
        if place == 0 and (each.wnid == GZIPPED_IN or each.number == 1):
            data = gzip.compress(data, mtime=0)
        elif place == 1 and (each.wnid == EMPTY_IN or each.number == 1):
            data = b""
        elif place == 0 and each.wnid == DOCUMENT:
            name, data = UNREADABLE, data[: len(data) // 3]
        files.append(members.member(name, data, rng, members.WINTER_2021))
    return files


def _shared(directory: Path, rng: np.random.Generator) -> list[Member]:
    """Most images of this class of ILSVRC2012, by their plain names, with this release's times."""
    if not directory.is_dir():
        return []
    known = [(name, data) for name, data in members.read_loose(directory) if len(name) < 30]
    chosen = shuffled(known, rng)[: max(1, round(_SHARED * len(known)))]
    return [members.member(name, data, rng, members.WINTER_2021) for name, data in chosen]
