"""ILSVRC2012 and ILSVRC2012_t3: train and t3 from tars of class tars, val labelled by the
devkit, test with its patch laid over it; an extracted directory takes the place of an archive
that is missing or broken.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from imagenetfs.index.index import Index
from imagenetfs.tree.dataset import Split, Version
from imagenetfs.tree.devkit import Devkit
from imagenetfs.tree.discovery import ILSVRC2012, Discovery
from imagenetfs.tree.labels import DEVKIT
from imagenetfs.tree.per_class_split import PerClassSplit, classes_within
from imagenetfs.tree.selection import ArchiveSelector
from imagenetfs.tree.split_backend import UNLABELED, FlatSplit, SplitBackend, image_number

_TRAIN = re.compile(rb"ILSVRC2012_img_train\.tar")
_T3 = re.compile(rb"ILSVRC2012_img_train_t3\.tar")
_VAL = re.compile(rb"ILSVRC2012_img_val\.tar")
_TEST = re.compile(rb"ILSVRC2012_img_test(?!_patch)\w*\.tar")
_PATCH = re.compile(rb"ILSVRC2012_img_test_patch\w*\.tar")


def versions(discovery: Discovery, index: Index, prefer: str, kit: Devkit | None) -> list[Version]:
    """ILSVRC2012 and ILSVRC2012_t3, as far as they are there."""
    root = discovery.root(ILSVRC2012)
    if root is None:
        return []
    finder = ArchiveSelector(discovery, index, prefer, root)
    main = Version(b"ILSVRC2012")
    main.splits = [s for s in (_train(finder), _val(finder, kit), _test(finder)) if s is not None]
    main.hidden_directories = {
        name: finder.path(name) for name in discovery.directories(root) if b"devkit" in name
    }
    if kit is not None:
        main.val_wnids = lambda: [kit.wnids.get(label, UNLABELED) for label in kit.truth]
        main.val_wnids_from = kit.paths
    t3 = Version(b"ILSVRC2012_t3")
    t3.splits = [s for s in (_t3(finder),) if s is not None]
    return [version for version in (main, t3) if version.splits]


def _by_class(finder: ArchiveSelector, tars: list[int], directory: int | None) -> Split | None:
    archive, instead = finder.choose(tars, directory, scanned=True)
    if archive is None:
        return None
    index = finder.index
    left_out = index.container(archive).members.left_out
    if left_out is not None:
        finder.warn(f"{index.title(archive)}: not all members are shown: {left_out}.")
    backend = PerClassSplit(
        index,
        classes_within(index, archive),
        lambda: classes_within(index, instead) if instead is not None else {},
        tell=finder.discovery.late_warnings.tell,
    )
    return Split(b"train", backend, index.title(archive)) if backend.classes else None


def _train(finder: ArchiveSelector) -> Split | None:
    return _by_class(finder, finder.tars(_TRAIN), finder.directory(b"train"))


def _t3(finder: ArchiveSelector) -> Split | None:
    return _by_class(finder, finder.tars(_T3), finder.directory(b"train_T3", b"train_t3"))


def _val(finder: ArchiveSelector, kit: Devkit | None) -> Split | None:
    index, directory = finder.index, finder.directory(b"validation", b"val")
    archive, _ = finder.choose(finder.tars(_VAL), directory)
    if archive is None:
        return None
    labels_from: tuple[bytes, ...] = ()
    if archive == directory and finder.has_classes(archive):
        backend: SplitBackend = PerClassSplit(index, classes_within(index, archive))
    else:
        classes, label, labels_from = _val_labels(finder, kit, directory)
        tell = finder.discovery.late_warnings.tell
        backend = FlatSplit(index, (archive,), classes, label, tell=tell)
    return Split(b"val", backend, index.title(archive), (b"validation",), labels_from)


def _val_labels(
    finder: ArchiveSelector, kit: Devkit | None, directory: int | None
) -> tuple[Sequence[bytes], Callable[[bytes], bytes | None] | None, tuple[bytes, ...]]:
    """The classes of val, the label of a file name, and the paths that tell it: by the devkit, else
    by directories.
    """
    if kit is not None:
        classes = set(kit.wnids.values())
        if not kit.wnids.keys() >= set(kit.truth):
            finder.warn(
                "the devkit gives val images labels that it does not name: see val/unlabeled/."
            )
            classes.add(UNLABELED)
        return sorted(classes), lambda name: kit.val_wnid(image_number(name)), kit.paths
    if directory is not None and finder.has_classes(directory):
        known, labels_from = _labels_of_directories(finder.index, directory)
        finder.warn(
            "the devkit is missing: val is labelled by the extracted class directories of "
            f"{finder.index.title(directory)}."
        )
        return sorted({*known.values(), UNLABELED}), known.get, labels_from
    finder.warn(
        f"the devkit ({finder.path(DEVKIT).decode()}) is missing or cannot be used, so the labels "
        "of val are unknown: its images stand under val/unlabeled/."
    )
    return (UNLABELED,), None, ()


def _labels_of_directories(
    index: Index, directory: int
) -> tuple[dict[bytes, bytes], tuple[bytes, ...]]:
    """File name -> class, by class directories, and the paths of these."""
    places = classes_within(index, directory)
    backend = PerClassSplit(index, places)
    labels = {
        name: wnid
        for number, wnid in enumerate(backend.classes)
        for name, _, _ in backend.listing(number).entries(0)
    }
    return labels, tuple(index.extent(*place).path for place in places.values())


def _test(finder: ArchiveSelector) -> Split | None:
    index, directory = finder.index, finder.directory(b"test")
    archive, _ = finder.choose(finder.tars(_TEST), directory)
    if archive is None:
        return None
    patches: list[int] = []
    if archive != directory:  # an extracted directory holds the patched images already
        patches = [p for p in finder.tars(_PATCH) if finder.choose([p], None)[0] is not None]
    origin = " and ".join(map(index.title, (archive, *patches)))
    tell = finder.discovery.late_warnings.tell
    return Split(b"test", FlatSplit(index, (archive, *patches), tell=tell), origin)
