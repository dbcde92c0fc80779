"""What says of each val image which class it is of, where no class directories do.

In this order: the development kit, Kaggle's LOC_val_solution.csv (``ImageId,PredictionString``; the
first word of the prediction is the wnid), lists of ``name label`` lines in ImageSets/ and where
other programs keep them. ImageSets' own val.txt numbers its lines, which says nothing of classes.
What the lists are made of is known by :mod:`imagenetfs.tree.label_lists`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012
from imagenetfs.tree.label_lists import LabelList, read_list, read_solution, stem
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, image_number
from imagenetfs.tree.unpacked import DirectoryPlace

_SOLUTION = re.compile(rb"LOC_val_solution.*\.csv(\.\d+)?", re.IGNORECASE)
_LISTS = re.compile(
    rb"(imagenet_?|ilsvrc)?(2012)?_?(img_)?val(id|idation)?"
    rb"([-_](list|maps?|cls|labels?|(synset_)?labels|annotations|ground_?truth))?"
    rb"\.(txt|lst|csv|tsv)",
    re.IGNORECASE,
)
_LISTS_IN = (b"ImageSets/CLS-LOC", b"meta_data", b"meta", b"")
"""Where lists are kept below a directory; those in the first come first."""


@dataclass(frozen=True, slots=True)
class ValLabels:
    """``title``: where they are from; ``of(name)``: the wnid of a file name; ``by_stem``: those of
    all images by the stems of their names, in the names' order; ``paths``: of the files in the
    source that say it.
    """

    title: str
    classes: Sequence[bytes]
    of: Callable[[bytes], bytes | None]
    by_stem: Callable[[], Mapping[bytes, bytes]]
    paths: tuple[bytes, ...]


def find_labels(
    finder: ArchiveSelector,
    kit: Devkit | None,
    trained: Collection[bytes] = (),
    images: DirectoryPlace | None = None,
) -> ValLabels | None:
    """The first of what there is; others that disagree are told. ``trained``: the classes of train;
    ``images``: the directory of the images, in which a list may stand too.
    """
    found = iter(_every(finder, kit, trained, images))
    first = next(found, None)
    if first is None:
        return None
    ours = None
    for other in found:
        ours, theirs = ours or first.by_stem(), other.by_stem()
        every = ours.keys() | theirs.keys()
        differ = sum(ours.get(name) != theirs.get(name) for name in every)
        if differ:
            finder.warn(
                f"{first.title} and {other.title} disagree about {differ:,} of {len(every):,} "
                f"val images: {first.title} is followed."
            )
    return first


def _every(
    finder: ArchiveSelector,
    kit: Devkit | None,
    trained: Collection[bytes],
    images: DirectoryPlace | None,
) -> Iterator[ValLabels]:
    if kit is not None:
        yield _of_kit(finder, kit)
    for path in _solutions(finder, images):
        known = _read(finder, path, read_solution)
        if known:
            yield _of_mapping(finder, path, known)
    for path in _lists(finder, images):
        known = _read(finder, path, lambda text: read_list(text, trained))
        if known:
            yield _of_mapping(finder, path, known)


def _of_kit(finder: ArchiveSelector, kit: Devkit) -> ValLabels:
    classes = set(kit.wnids.values())
    if not kit.wnids.keys() >= set(kit.truth):
        finder.warn("the devkit gives val images labels that it does not name: see val/unlabeled/.")
        classes.add(UNLABELED)
    return ValLabels(
        "the devkit",
        sorted(classes),
        lambda name: kit.val_wnid(image_number(name)),
        lambda: {
            b"ILSVRC2012_val_%08d" % number: kit.wnids.get(label, UNLABELED)
            for number, label in enumerate(kit.truth, 1)
        },
        kit.paths,
    )


def _of_mapping(finder: ArchiveSelector, path: bytes, known: Mapping[bytes, bytes]) -> ValLabels:
    return ValLabels(
        decoded(path),
        sorted(set(known.values())),
        lambda name: known.get(stem(name)),
        lambda: {one: known[one] for one in sorted(known)},
        (finder.unpacked.file_of(path),),
    )


# --- files ----------------------------------------------------------------------------------------


def _above(finder: ArchiveSelector) -> list[bytes]:
    """The version's directory, and those above it in the source."""
    found, path = [finder.root], finder.root
    while path:
        path = path.rpartition(b"/")[0]
        found.append(path)
    named = finder.discovery.named(ILSVRC2012)
    return [*found, *([named] if named is not None and named not in found else [])]


def _solutions(finder: ArchiveSelector, images: DirectoryPlace | None) -> Iterator[bytes]:
    """Wherever discovery has seen one: no other file is called so."""
    every = dict.fromkeys((*_above(finder), *sorted(finder.discovery.names)))
    for directory in every:
        yield from _called(directory, finder.discovery.files(directory), _SOLUTION)
    yield from _beside(finder, images, _SOLUTION)


def _lists(finder: ArchiveSelector, images: DirectoryPlace | None) -> Iterator[bytes]:
    for directory in _above(finder):
        for below in _LISTS_IN:
            where = join_path(directory, below)
            yield from _called(where, finder.discovery.files(where), _LISTS)
    yield from _beside(finder, images, _LISTS)


def _beside(
    finder: ArchiveSelector, images: DirectoryPlace | None, pattern: re.Pattern[bytes]
) -> Iterator[bytes]:
    if images is not None:
        yield from _called(finder.path_of(images), finder.names(images).files, pattern)


def _called(
    directory: bytes, files: Sequence[bytes], pattern: re.Pattern[bytes]
) -> Iterator[bytes]:
    names = sorted(filter(pattern.fullmatch, files), key=lambda name: (len(name), name))
    return (join_path(directory, name) for name in names)


def _read(
    finder: ArchiveSelector, path: bytes, parse: Callable[[bytes], LabelList]
) -> Mapping[bytes, bytes]:
    try:
        found = parse(finder.unpacked.read_whole(path))
    except ImagenetfsError as error:
        finder.warn(f"{error} Its labels are not used.")
        return {}
    title = decoded(path)
    if found.unusable:
        finder.warn(f"{title} does not tell the classes of val: {found.unusable}.")
    if found.twice:
        noun = "image" if found.twice == 1 else "images"
        finder.warn(
            f"{title} names {found.twice:,} {noun} of val again, with another class: the last one "
            "counts."
        )
    if found.taken:
        finder.warn(f"the labels in {title} are taken for {found.taken}.")
    return found.known
