"""The catalogue's raw material: which tars and directories the source has, and their numbers.

Directories down to the second level, and the tars and npz files in them, are archives, in the
order of their paths; what lies deeper is found in the directories' tables when it is touched,
tars too (index.archives). A survey reads the names in those directories (19,167 class tars are
one of them), but not where they are called as directories of loose images are; it opens no
archive and asks for no attributes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter

from imagenetfs.errors import ImagenetfsError, SourceReadError, SourceUnreadableError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.source.source import Source
from imagenetfs.tree.late_warnings import LateWarnings

ILSVRC2012 = re.compile(rb"ILSVRC2012|ILSVRC2012.*CLS.*", re.IGNORECASE)
WINTER21 = re.compile(rb"winter_?21(_whole)?", re.IGNORECASE)
TINY = re.compile(rb"tiny[-_]?imagenet([-_]?200)?", re.IGNORECASE)
DOWN_SAMPLED = re.compile(rb"down_?sampled", re.IGNORECASE)
"""How the directories of the versions are called."""

_ROOTS = (ILSVRC2012, WINTER21, TINY, DOWN_SAMPLED)
_OF_DIRECTORIES = (WINTER21, DOWN_SAMPLED)
"""Those in whose directories the images stand, or the archives."""

_DEPTH = 2
_CLASS = re.compile(rb"n\d{8}")
_IMAGES = re.compile(rb"train(_t3)?|val(idation)?|test|images", re.IGNORECASE)
"""Directories with 100,000 names, which are not read."""


@dataclass(slots=True)
class Discovery:
    """Archives by number, numbers by path, the names in each surveyed directory, and
    warnings: those of now, and what will be noticed later. ``lost``: those of now that say
    why images are not shown at all.
    """

    archives: list[Archive] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)
    names: dict[bytes, list[tuple[bytes, bool]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    lost: list[ImagenetfsError] = field(default_factory=list)
    late_warnings: LateWarnings = field(default_factory=LateWarnings)

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

    def root(self, pattern: re.Pattern[bytes]) -> bytes | None:
        """The first directory of the first level whose name fits."""
        found = (name for name in self.directories(b"") if pattern.fullmatch(name))
        return next(found, None)

    def files(self, directory: bytes) -> list[bytes]:
        """The names of the files in a surveyed directory."""
        return [name for name, is_directory in self.names.get(directory, ()) if not is_directory]

    def directories(self, directory: bytes) -> list[bytes]:
        """The names of the directories in a surveyed directory."""
        return [name for name, is_directory in self.names.get(directory, ()) if is_directory]


def discover(source: Source) -> Discovery:
    """Look at the source's upper levels. A directory that cannot be read becomes a warning."""
    result = Discovery()
    found: list[tuple[bytes, Kind]] = []
    pending = [(b"", 0)]
    while pending:
        path, depth = pending.pop()
        found.append((path, Kind.DIRECTORY))
        if depth == _DEPTH and _is_of_images(path):
            continue
        try:
            names = source.names(path)
        except (SourceReadError, SourceUnreadableError) as error:
            if depth == 0:
                raise
            refused = SourceUnreadableError(f"{error} It is not shown.")
            if _holds_images(path):
                result.lose(refused)
            else:
                result.warnings.append(str(refused))
            continue
        result.names[path] = names
        above = path + b"/" if path else b""
        for name, is_directory in names:
            if is_directory:
                if depth < _DEPTH:
                    pending.append((above + name, depth + 1))
            elif name.endswith(b".tar"):
                found.append((above + name, Kind.TAR))
            elif name.endswith(b".npz"):
                found.append((above + name, Kind.NPZ))
    found.sort(key=itemgetter(0))
    result.archives = [Archive(number, path, kind) for number, (path, kind) in enumerate(found)]
    result.numbers = {path: number for number, (path, _) in enumerate(found)}
    return result


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _is_of_images(path: bytes) -> bool:
    return bool(_CLASS.fullmatch(_last(path)) or _IMAGES.fullmatch(_last(path)))


def _holds_images(path: bytes) -> bool:
    """Whether images, or archives of them, must be thought to stand in a
    directory that cannot be read.
    """
    top, _, below = path.partition(b"/")
    return any(pattern.fullmatch(top) for pattern in (_OF_DIRECTORIES if below else _ROOTS))


def index_group(archive: Archive) -> str:
    """The name of the index file that keeps this archive's tables.

    One a tar, one for all tars in and below a directory of the second level (winter21's tars), and
    one for the directories and one for the npz files below each directory of the first level.
    """
    path, kind = archive.path, archive.kind
    if kind is Kind.TAR and path.count(b"/") >= _DEPTH:
        return _file_name(b"/".join(path.split(b"/", _DEPTH)[:_DEPTH]))
    if kind is Kind.NPZ:
        return _file_name(b"/".join((*path.split(b"/")[:-1][:1], b"arrays")))
    if kind is Kind.DIRECTORY:
        return _file_name(path.partition(b"/")[0] + b"/directories")
    above, _, name = path.removesuffix(b".tar").rpartition(b"/")
    # ILSVRC2012/ILSVRC2012_img_train.tar says it twice
    return _file_name(name if above and name.startswith(above) else above + b"/" + name)


@lru_cache(maxsize=64)
def _file_name(path: bytes) -> str:
    parts = path.decode("utf-8", "backslashreplace").split("/")
    return "-".join(part for part in parts if part).replace("\\", "_") or "root"
