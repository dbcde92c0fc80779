"""What the source's upper levels hold: which tars and directories, their numbers and names, and by
which names the versions are known. :mod:`imagenetfs.tree.discovery_walk` fills it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from imagenetfs.errors import ImagenetfsError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.table_builder import join_path
from imagenetfs.system.text import decoded
from imagenetfs.tree.late_warnings import LateWarnings
from imagenetfs.tree.unpacked import DirectoryPlace, UnpackedSource

ILSVRC2012 = re.compile(rb"ILSVRC2012|ILSVRC2012.*CLS.*", re.IGNORECASE)
WINTER21 = re.compile(rb"winter_?21(_whole)?", re.IGNORECASE)
FALL11 = re.compile(rb"fall_?11(_whole)?", re.IGNORECASE)
TINY = re.compile(rb"tiny[-_]?imagenet([-_]?200)?", re.IGNORECASE)
DOWN_SAMPLED = re.compile(rb"down_?sampled", re.IGNORECASE)
"""How the directories of the versions are called."""

ROOTS = (ILSVRC2012, WINTER21, FALL11, TINY, DOWN_SAMPLED)
CLASS = re.compile(rb"n\d{8}")
NUMBERED = re.compile(rb"0|[1-9]\d{0,2}")
"""Classes of ImageNetV2, where there is one called 0."""

IMAGES = re.compile(rb"train(ing|_t3)?|val(id|idation)?|test", re.IGNORECASE)
"""Directories with 100,000 names, which are not read."""

DEVKIT = re.compile(rb"(ILSVRC20\d\d_)?dev_?kit.*", re.IGNORECASE)
SPLIT_TAR = re.compile(rb"ILSVRC20\d\d_img_.*\.tar|(train|val(id|idation)?)\.tar", re.IGNORECASE)
"""The tars of splits, as they are published and commonly called."""

_BESIDE = re.compile(rb".*(bbox|boxes|bounding|annotation).*", re.IGNORECASE | re.DOTALL)
"""Archives that come with ImageNet and hold no images."""

_BOXES = re.compile(rb"annotations?|b?box(es)?|bounding[-_]?box(es)?", re.IGNORECASE)

DEPTH = 2
"""Levels of directories that are numbered as archives whatever they hold."""


@dataclass(slots=True)
class Discovery:
    """Archives by number, numbers by path, the names in each directory that was
    listed, and warnings: those of now, and what will be noticed later. ``lost``: those of now that
    say why images are not shown at all.

    ``base``: the directory in which the versions' directories stand. ``roots``: where a version
    stands that no directory in the base is called by. ``compressed``: path of a tar -> what it is
    compressed with. ``parts``: path of a tar -> the names of the pieces that it is there in.
    ``wrapped``: path of an archive -> the tars of splits in it that cannot be served from there.
    ``inner_tars``: path of an archive -> those in it that are archives of their own, by number, and
    where the source seems to have them. ``listed``: the names in
    directories of images that were looked into for levels. ``refused``: directories that could not
    be listed. ``deflated``: path of a zip -> the archives of classes that are deflated in it.
    ``unfinished``: paths of downloads that were not.
    ``unread``: path of a zip -> why nothing of it can be read. ``unpacked``: the names with those
    in zips, once there is an index.
    """

    archives: list[Archive] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)
    names: dict[bytes, list[tuple[bytes, bool]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    lost: list[ImagenetfsError] = field(default_factory=list)
    late_warnings: LateWarnings = field(default_factory=LateWarnings)
    base: bytes = b""
    roots: dict[re.Pattern[bytes], bytes] = field(default_factory=dict)
    compressed: dict[bytes, str] = field(default_factory=dict)
    parts: dict[bytes, list[bytes]] = field(default_factory=dict)
    wrapped: dict[bytes, list[bytes]] = field(default_factory=dict)
    deflated: dict[bytes, list[bytes]] = field(default_factory=dict)
    inner_tars: dict[bytes, dict[int, bytes]] = field(default_factory=dict)
    listed: dict[bytes, list[tuple[bytes, bool]]] = field(default_factory=dict)
    refused: set[bytes] = field(default_factory=set)
    unread: dict[bytes, ImagenetfsError] = field(default_factory=dict)
    unfinished: list[bytes] = field(default_factory=list)
    unpacked: UnpackedSource | None = None

    def lose(self, error: ImagenetfsError) -> None:
        """Warn that some images are not shown."""
        self.warnings.append(str(error))
        self.lost.append(error)

    def number(self, path: bytes, kind: Kind | None = None) -> int | None:
        """The number of the archive at ``path``, if there is one (of that kind)."""
        number = self.numbers.get(path)
        if number is None or (kind is not None and self.archives[number].kind is not kind):
            return None
        return number

    def place(self, path: bytes) -> DirectoryPlace | None:
        """The directory at ``path``, in a zip too."""
        number = self.number(path, Kind.DIRECTORY)
        if number is not None:
            return DirectoryPlace(number)
        return self.unpacked.directory(path) if self.unpacked is not None else None

    def container(self, path: bytes) -> DirectoryPlace | None:
        """The tar or zip at ``path``, in a zip too."""
        number = self.number(path)
        if number is not None:
            return DirectoryPlace(number)
        return self.unpacked.container(path) if self.unpacked is not None else None

    def root(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """The directory of a version: as it was located, else the first in the base whose name
        fits.
        """
        if pattern in self.roots:
            return self.roots[pattern]
        return self.named(pattern)

    def named(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """The first directory in the base whose name fits."""
        found = (name for name in self.directories(self.base) if pattern.fullmatch(name))
        return next((join_path(self.base, name) for name in found), None)

    def files(self, directory: bytes) -> list[bytes]:
        """The names of the files in a directory that was listed."""
        return [name for name, is_directory in self.names.get(directory, ()) if not is_directory]

    def directories(self, directory: bytes) -> list[bytes]:
        """The names of the directories in a directory that was listed."""
        return [name for name, is_directory in self.names.get(directory, ()) if is_directory]


def is_beside(name: bytes) -> bool:
    """Whether an archive is called as one that comes with ImageNet and holds no images."""
    return _BESIDE.fullmatch(name) is not None


def is_of_boxes(path: bytes) -> bool:
    """Whether any part of a path is called as annotations are, which have the names of classes."""
    return any(map(_BOXES.fullmatch, path.split(b"/")))


def is_of_images(name: bytes) -> bool:
    """Whether a directory is called as one of a class, or of a split's images."""
    return bool(CLASS.fullmatch(name) or IMAGES.fullmatch(name))


def index_group(archive: Archive) -> str:
    """The name of the index file that keeps this archive's tables.

    One a tar, one for all tars in and below a directory of the second level (winter21's tars), and
    one for the directories and one for the npz files below each directory of the first level.
    """
    path, kind = archive.file, archive.kind
    if kind in (Kind.TAR, Kind.ZIP) and path.count(b"/") >= DEPTH:
        return _file_name(b"/".join(path.split(b"/", DEPTH)[:DEPTH]))
    if kind is Kind.NPZ:
        return _file_name(b"/".join((*path.split(b"/")[:-1][:1], b"arrays")))
    if kind is Kind.DIRECTORY:
        return _file_name(path.partition(b"/")[0] + b"/directories")
    above, _, name = path.removesuffix(b".tar").rpartition(b"/")
    # ILSVRC2012/ILSVRC2012_img_train.tar says it twice
    return _file_name(name if above and name.startswith(above) else above + b"/" + name)


@lru_cache(maxsize=64)
def _file_name(path: bytes) -> str:
    parts = decoded(path).split("/")
    return "-".join(part for part in parts if part).replace("\\", "_") or "root"
