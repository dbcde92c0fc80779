"""What says of each val image which class it is of, where no class directories do.

In this order: the development kit, Kaggle's LOC_val_solution.csv (``ImageId,PredictionString``; the
first word of the prediction is the wnid), lists of ``name label`` lines in ImageSets/ and where
other programs keep them; a label there is a wnid or a place in the sorted wnids of the 1,000
classes. ImageSets' own val.txt numbers its lines, which says nothing of classes.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, WNID, image_number
from imagenetfs.tree.wordnet import ilsvrc2012_wnids

_SOLUTION = b"LOC_val_solution.csv"
_LISTS = (
    b"ImageSets/CLS-LOC/val.txt",
    b"ImageSets/CLS-LOC/val_cls.txt",
    b"meta_data/val.txt",
    b"meta/val.txt",
    b"val_list.txt",
    b"val.txt",
)
_LABEL = re.compile(rb"n\d{8}|\d{1,3}")


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


def find_labels(finder: ArchiveSelector, kit: Devkit | None) -> ValLabels | None:
    """The first of what there is; another one that disagrees is told."""
    found = iter(_every(finder, kit))
    first = next(found, None)
    if first is None:
        return None
    second = next(found, None)
    if second is not None:
        ours, theirs = first.by_stem(), second.by_stem()
        every = ours.keys() | theirs.keys()
        differ = sum(ours.get(stem) != theirs.get(stem) for stem in every)
        if differ:
            finder.warn(
                f"{first.title} and {second.title} disagree about {differ:,} of {len(every):,} "
                f"val images: {first.title} is followed."
            )
    return first


def _every(finder: ArchiveSelector, kit: Devkit | None) -> Iterator[ValLabels]:
    if kit is not None:
        yield _of_kit(finder, kit)
    for path in _solutions(finder):
        known = _read(finder, path, _parse_solution)
        if known:
            yield _of_mapping(finder, path, known)
    for path in _lists(finder):
        known = _read(finder, path, parse_list)
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
        lambda name: known.get(_stem(name)),
        lambda: {stem: known[stem] for stem in sorted(known)},
        (finder.unpacked.file_of(path),),
    )


def _stem(name: bytes) -> bytes:
    return name.rpartition(b"/")[2].partition(b".")[0]


# --- files ----------------------------------------------------------------------------------------


def _above(finder: ArchiveSelector) -> list[bytes]:
    """The version's directory, and those above it in the source."""
    found, path = [finder.root], finder.root
    while path:
        path = path.rpartition(b"/")[0]
        found.append(path)
    named = finder.discovery.named(ILSVRC2012)
    return [*found, *([named] if named is not None and named not in found else [])]


def _solutions(finder: ArchiveSelector) -> Iterator[bytes]:
    for directory in _above(finder):
        if _SOLUTION in finder.discovery.files(directory):
            yield join_path(directory, _SOLUTION)


def _lists(finder: ArchiveSelector) -> Iterator[bytes]:
    for directory in _above(finder):
        for name in _LISTS:
            where, _, file = join_path(directory, name).rpartition(b"/")
            if file in finder.discovery.files(where):
                yield join_path(where, file)


def _read(
    finder: ArchiveSelector, path: bytes, parse: Callable[[bytes], dict[bytes, bytes]]
) -> dict[bytes, bytes]:
    try:
        return parse(finder.unpacked.read_whole(path))
    except ImagenetfsError as error:
        finder.warn(f"{error} Its labels are not used.")
        return {}


def _parse_solution(text: bytes) -> dict[bytes, bytes]:
    """File stem -> wnid."""
    found = {}
    for line in text.removeprefix(BOM_UTF8).splitlines():
        name, _, prediction = line.partition(b",")
        words = prediction.replace(b'"', b"").split()
        if words and WNID.fullmatch(words[0]):
            found[_stem(name.strip(b'"'))] = words[0]
    return found


def parse_list(text: bytes) -> dict[bytes, bytes]:
    """File stem -> wnid, of ``name label`` lines; nothing where they say nothing of classes.
    Empty lines count for nothing.
    """
    pairs = []
    for line in filter(None, map(bytes.strip, text.removeprefix(BOM_UTF8).splitlines())):
        name, _, label = line.rpartition(b" ")
        if not name or not (_LABEL.fullmatch(label) or label.isdigit()):
            return {}
        pairs.append((_stem(name.strip()), label))
    if all(WNID.fullmatch(label) for _, label in pairs):
        return dict(pairs)
    labels = [int(label) if label.isdigit() else -1 for _, label in pairs]
    wnids = ilsvrc2012_wnids()
    numbered = labels in (list(range(1, len(pairs) + 1)), list(range(len(pairs))))
    if numbered or not all(0 <= label < len(wnids) for label in labels):
        return {}
    names = (name for name, _ in pairs)
    return {name: wnids[label] for name, label in zip(names, labels, strict=True)}
