"""tiny-imagenet-200: loose files. train without its level images/, val by val_annotations.txt, test.

Only images are shown: the lists of boxes beside them stand under archives/ and source/.
"""

from __future__ import annotations

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.build import Index
from imagenetfs.tree.classes import ClassContainers, classes_within
from imagenetfs.tree.finding import Finder
from imagenetfs.tree.layout import Split, Version
from imagenetfs.tree.shelf import UNLABELED, WNID, FlatImages
from imagenetfs.tree.survey import TINY, Survey

_ANNOTATIONS = b"val_annotations.txt"


def versions(survey: Survey, index: Index) -> list[Version]:
    """tiny-imagenet-200, if it is there."""
    root = survey.root(TINY)
    if root is None:
        return []
    finder = Finder(survey, index, "directories", root)
    version = Version(b"tiny-imagenet-200")
    train = _by_class(finder, b"train", finder.directory(b"train"))
    val = _val(finder, train)
    version.splits = [split for split in (train, val, _test(finder)) if split is not None]
    return [version] if version.splits else []


def _by_class(finder: Finder, name: bytes, directory: int | None) -> Split | None:
    if directory is None:
        return None
    places = classes_within(finder.index, directory)
    shelf = ClassContainers(finder.index, places, images_only=True)
    aliases = (b"validation",) if name == b"val" else ()
    return Split(name, shelf, finder.index.title(directory), aliases) if places else None


def _val(finder: Finder, train: Split | None) -> Split | None:
    directory = finder.directory(b"val", b"validation")
    if directory is None:
        return None
    if finder.has_classes(directory):
        return _by_class(finder, b"val", directory)
    index = finder.index
    labels = _annotations(finder, index.archives[directory].path + b"/" + _ANNOTATIONS)
    classes = {*labels.values(), *(train.wnids if train is not None and labels else ())}
    shelf = FlatImages(
        index,
        (directory,),
        sorted(classes) or (UNLABELED,),
        labels.get if labels else None,
        images_only=True,
    )
    return Split(b"val", shelf, index.title(directory), aliases=(b"validation",))


def _annotations(finder: Finder, path: bytes) -> dict[bytes, bytes]:
    """File name -> wnid, from lines of tab-separated fields; empty, with a warning, if unreadable."""
    try:
        text = finder.index.source.read_whole(path)
    except ImagenetfsError as error:
        finder.warn(
            f"{error} So the labels of tiny-imagenet-200/val are unknown: its images stand under "
            "val/unlabeled/."
        )
        return {}
    fields = (line.split(b"\t") for line in text.splitlines())
    return {line[0]: line[1] for line in fields if len(line) > 1 and WNID.fullmatch(line[1])}


def _test(finder: Finder) -> Split | None:
    directory = finder.directory(b"test")
    if directory is None:
        return None
    index = finder.index
    shelf = FlatImages(index, (directory,), images_only=True)
    return Split(b"test", shelf, index.title(directory))
