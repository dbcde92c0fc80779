"""The catalogue's raw material: which tars and directories the source has, and their numbers.

Directories down to the second level, the tars and npz files in them, and the tars below them are archives,
in the order of their paths; all else that lies deeper is found in their tables when it is touched. A survey
reads the names in those directories (19,167 class tars are one of them), but not where they are called as
directories of loose images are; it opens no archive and asks for no attributes.

Tars must be found before the mount serves, for an archive's number is part of the inodes in it, and must be
the same in every process and at every mount. So the survey goes down to them, as far as an allowance goes
that the known versions hardly touch: a site may keep millions of other files beside them.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from dataclasses import dataclass, field

from imagenetfs.errors import SourceReadError, SourceUnreadableError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.source.directory import Source

log = logging.getLogger(__name__)

_DEPTH = 2
_CLASS = re.compile(rb"n\d{8}")
_IMAGES = re.compile(rb"train(_t3)?|val(idation)?|test|images", re.IGNORECASE)
_VERSIONS = re.compile(rb"ILSVRC2012.*|winter_?21.*|tiny.*|down_?sampled", re.IGNORECASE)
"""Known by name, so that their directories of images, with 100,000 names, are not searched for tars."""

_ALLOWANCE = 20_000
"""Names that are read below the second level in search of tars: a second or so on NFS."""

_MOST_NAMES = 2_000
"""A directory there with more names is one of images; no more of them are read."""

_DIRECTORY_COST = 20
"""What opening one costs, in names."""


@dataclass(slots=True)
class Survey:
    """Archives by number, numbers by path, the names in each surveyed directory, and warnings."""

    archives: list[Archive] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)
    names: dict[bytes, list[tuple[bytes, bool]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

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


def survey(source: Source) -> Survey:
    """Look at the source's upper levels. A directory that cannot be read becomes a warning."""
    result = Survey()
    found: list[tuple[bytes, Kind]] = []
    deeper: list[bytes] = []
    pending = [(b"", 0)]
    while pending:
        path, depth = pending.pop()
        found.append((path, Kind.DIRECTORY))
        if depth == _DEPTH and _is_of_images(path):
            if not _VERSIONS.match(path):
                deeper.append(path)
            continue
        try:
            names = source.names(path)
        except (SourceReadError, SourceUnreadableError) as error:
            if depth == 0:
                raise
            result.warnings.append(f"{error} It is not shown.")
            continue
        result.names[path] = names
        for name, is_directory in names:
            below = path + b"/" + name if path else name
            if is_directory and depth < _DEPTH:
                pending.append((below, depth + 1))
            elif is_directory:
                deeper.append(below)
            elif name.endswith((b".tar", b".npz")):
                found.append((below, Kind.TAR if name.endswith(b".tar") else Kind.NPZ))
    found += [(path, Kind.TAR) for path in _deeper_tars(source, deeper)]
    for number, (path, kind) in enumerate(sorted(found, key=lambda item: item[0])):
        result.archives.append(Archive(number, path, kind))
        result.numbers[path] = number
    return result


def _last(path: bytes) -> bytes:
    return path.rpartition(b"/")[2]


def _is_of_images(path: bytes) -> bool:
    return bool(_CLASS.fullmatch(_last(path)) or _IMAGES.fullmatch(_last(path)))


def _deeper_tars(source: Source, directories: list[bytes]) -> list[bytes]:
    """The tars in these directories and below, level by level, as far as the allowance goes.

    Links are not followed: one may lead up, or out to another file system.
    """
    found: list[bytes] = []
    left, skipped = _ALLOWANCE, 0
    pending = deque(sorted(directories))
    while pending and left > 0:
        path = pending.popleft()
        if _CLASS.fullmatch(_last(path)):
            continue
        try:
            names = source.names(path, follow=False, most=_MOST_NAMES + 1)
        except (SourceReadError, SourceUnreadableError) as error:
            log.info("%s Tars in it are shown as files.", error)
            continue
        left -= len(names) + _DIRECTORY_COST
        if len(names) > _MOST_NAMES:
            skipped += 1
            continue
        pending.extend(path + b"/" + name for name, is_directory in names if is_directory)
        tars = (name for name, is_directory in names if name.endswith(b".tar") and not is_directory)
        found += [path + b"/" + name for name in tars]
    if pending or skipped:
        log.info(
            "%d directories of the source were too large, or too many, to be searched for tars: those in "
            "them are shown as files in archives/",
            len(pending) + skipped,
        )
    return found


def index_group(archive: Archive) -> str:
    """The name of the index file that keeps this archive's tables.

    One a tar, one for all tars in and below a directory of the second level (winter21's tars), and one for the
    directories and one for the npz files below each directory of the first level.
    """
    parts = archive.path.removesuffix(b".tar").decode("utf-8", "backslashreplace").split("/")
    if archive.kind is Kind.NPZ:
        parts = [*parts[:-1][:1], "arrays"]
    elif archive.kind is Kind.DIRECTORY:
        parts = [*parts[:1], "directories"]
    elif len(parts) > _DEPTH:
        parts = parts[:_DEPTH]
    elif len(parts) > 1 and parts[-1].startswith(parts[-2]):
        parts = parts[-1:]  # ILSVRC2012/ILSVRC2012_img_train.tar says it twice
    return "-".join(part for part in parts if part).replace("\\", "_") or "root"
