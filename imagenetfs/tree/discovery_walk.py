"""The walk of discovery: what the catalogue numbers, and the names in the source's upper levels.

Directories down to the second level, and the tars and npz files in them, are archives, in the
order of their paths; what lies deeper is found in the directories' tables when it is touched,
tars too (index.archives). It reads the names in those directories (19,167 class tars are
one of them), but not where they are called as directories of loose images are; it opens no
archive whose name tells what it is, and asks for no attributes.

Three things make it look deeper, and none is in the documented tree. A split's directory without a
tar of the split beside it may be a level above classes. A directory with nothing but
directories in it is a level more (Kaggle's ``ILSVRC/Data/CLS-LOC``). Where the source holds no
version by name and one directory in it does, that directory is the ``base`` of all.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import Protocol

from imagenetfs.errors import ImagenetfsError, SourceReadError, SourceUnreadableError
from imagenetfs.index.archives import (
    Archive,
    Kind,
    archive_stem,
    is_archive_name,
    is_tar_name,
    kind_of_name,
)
from imagenetfs.index.table_builder import join_path
from imagenetfs.source.source import Source
from imagenetfs.system.text import decoded
from imagenetfs.tree.discovery import (
    CLASS,
    DEPTH,
    DEVKIT,
    DOWN_SAMPLED,
    FALL11,
    IMAGES,
    NUMBERED,
    ROOTS,
    SPLIT_TAR,
    TINY,
    WINTER21,
    Discovery,
    is_beside,
)
from imagenetfs.tree.images import is_dropping
from imagenetfs.tree.peek import Peek, peek, plain_name

_OF_DIRECTORIES = (WINTER21, FALL11, DOWN_SAMPLED)
"""Those in whose directories the images stand, or the archives."""

_DEEPEST = 5
_MOST_DEEPER, _MOST_WITHIN = 256, 64
"""Directories below the second level that are listed at most; and how many stand in one of them."""

_MAY_HAVE_LEVELS = re.compile(rb"(train|val)(ing|_t3|id|idation)?", re.IGNORECASE)
_LEVELS_OF_SPLIT, _FEW_LEVELS = 4, 32
"""How deep classes stand in a split's directory, and how many directories and tars there may be in
each that has none."""

_SUFFIXED = re.compile(
    rb".*\.(tar\.(gz|xz|zst|zstd|bz2|lzma|z)|tgz|txz|tbz2?|tzst)", re.IGNORECASE | re.DOTALL
)
_ZIP = re.compile(rb".*\.zip([._?-].*| ?\(\d+\))?", re.IGNORECASE | re.DOTALL)
"""What is looked into to see whether it is a zip: download programs number what they save twice."""

_ALMOST = re.compile(
    rb"(ILSVRC20\d\d_img_(train|val|test)\w*|train(ing)?|val(id|idation)?)(\.tar)?"
    rb"([._~ -]?(old|bak|backup|orig|save|copy|\d)|[_~]| ?\(\d+\)| - copy)?",
    re.IGNORECASE,
)
"""Files that may be the tar of a split under a name that does not end so."""

_UNFINISHED = re.compile(
    rb".*\.(part|partial|crdownload|filepart|download|opdownload|aria2|!ut|!qb|td|xltd)",
    re.IGNORECASE | re.DOTALL,
)
_OF_SPLIT = re.compile(
    rb"(ILSVRC20\d\d|.*imagenet|winter_?21|fall_?11|train|val|n\d{8}\.tar|Unconfirmed \d+\.).*",
    re.IGNORECASE | re.DOTALL,
)

_PART = re.compile(
    rb"(?P<whole>.*\.(?:(?:tar|zip)(?:\.(?:gz|xz|zst|bz2))?|t[gx]z|tbz2?))"
    rb"\.(?P<part>(?!gz|xz)[a-z]{2}|\d{1,3}|part[-_.]?\w{1,3})",
    re.IGNORECASE | re.DOTALL,
)


def discover(source: Source) -> Discovery:
    """Look at the source's upper levels. A directory that cannot be read becomes a warning."""
    walker = _Walker(source, Discovery(), partial(peek, source))
    walker.look()
    return walker.result


def look_again(found: Discovery, source: Names) -> None:
    """Look at what there is more since names have been added to some directories."""
    _Walker(source, found).walk_again()


class Names(Protocol):
    """What has names by directory."""

    @property
    def path(self) -> Path: ...

    def names(self, path: bytes) -> list[tuple[bytes, bool]]: ...


class _Walker:
    """One walk, breadth first; ``looks_into`` files whose names do not tell what they are."""

    def __init__(
        self, source: Names, result: Discovery, looks_into: Callable[[bytes], Peek] | None = None
    ) -> None:
        self._source = source
        self._peek = looks_into
        self.result = result
        self._found: dict[bytes, Kind] = {b"": Kind.DIRECTORY}
        self._deeper = 0
        self._compressed: dict[tuple[bytes, bytes], str] = {}

    def look(self) -> None:
        """Fill ``result``."""
        result = self.result
        result.names[b""] = self._source.names(b"")
        self._walk(b"")
        result.base = self._base()
        if result.base:
            self._walk(result.base)
        self._files()
        self._levels_of_splits()
        self._number()

    def walk_again(self) -> None:
        """List what there is more since names have been added."""
        self._walk(b"")
        if not self.result.base:
            self.result.base = self._base()
        if self.result.base:
            self._walk(self.result.base)

    def _number(self) -> None:
        result = self.result
        found = sorted(self._found.items(), key=itemgetter(0))
        result.archives = [Archive(number, path, kind) for number, (path, kind) in enumerate(found)]
        result.numbers = {path: number for number, (path, _) in enumerate(found)}

    def _base(self) -> bytes:
        """Where the versions' directories stand: in the source, or all of them in one directory
        below it. Of several the nearest counts.
        """
        result = self.result
        holding = [path for path in result.names if _holds_roots(result.directories(path))]
        nearest = min((path.count(b"/") for path in holding if path), default=0)
        found = sorted(path for path in holding if path.count(b"/") == nearest)
        if b"" in holding:
            return b""
        if len(found) > 1:
            several = " or ".join(decoded(join_path(_bytes(self._source), name)) for name in found)
            told = (
                f"several directories of {self._source.path} hold versions of ImageNet: none of "
                f"these is shown as such; give one of them: {several}."
            )
            if told not in result.warnings:
                result.warnings.append(told)
        return found[0] if len(found) == 1 else b""

    def _walk(self, top: bytes) -> None:
        """List what is not listed yet, to the second level below ``top``, and below that the
        directories of directories.
        """
        pending = deque([(top, 0)])
        while pending:
            path, depth = pending.popleft()
            if path in self.result.refused:
                continue
            if path not in self.result.names and not self._list(path, depth):
                continue
            names = [name for name, is_directory in self.result.names[path] if is_directory]
            is_level = depth < DEPTH or self._is_level(path)
            are_numbered = b"0" in names
            for name in names:
                below = join_path(path, name)
                is_class = CLASS.fullmatch(name) or (are_numbered and NUMBERED.fullmatch(name))
                if is_level or is_class:
                    self._found.setdefault(below, Kind.DIRECTORY)
                if is_level and not is_class and not IMAGES.fullmatch(name):
                    # tiny-imagenet-200/tiny-imagenet-200/, as unpacked into a directory of its name
                    is_twice = any(map(partial(_is_twice, path, name), ROOTS))
                    pending.append((below, depth if is_twice else depth + 1))

    def _list(self, path: bytes, depth: int) -> bool:
        if depth > DEPTH:
            self._deeper += 1
            if depth > _DEEPEST or self._deeper > _MOST_DEEPER:
                return False
        try:
            self.result.names[path] = self._source.names(path)
        except (SourceReadError, SourceUnreadableError) as error:
            self.result.refused.add(path)
            refused = SourceUnreadableError(f"{error} It is not shown.")
            if self._holds_images(path):
                self.result.lose(refused)
            else:
                self.result.warnings.append(str(refused))
            return False
        return True

    def _is_level(self, path: bytes) -> bool:
        """Whether a directory is no more than a level between others: it holds splits, or nothing
        but directories.
        """
        names = [name for name, _ in self.result.names[path] if not CLASS.fullmatch(name)]
        files = [name for name in self.result.files(path) if not is_dropping(name)]
        has_splits = any(map(IMAGES.fullmatch, self.result.directories(path)))
        if len(names) > _MOST_WITHIN or (files and not has_splits):
            return False
        return not any(DEVKIT.fullmatch(part) for part in path.split(b"/"))

    def _holds_images(self, path: bytes) -> bool:
        """Whether images, or archives of them, must be thought to stand in a
        directory that cannot be read.
        """
        below_base = path[len(self.result.base) :].lstrip(b"/")
        top, _, below = below_base.partition(b"/")
        return any(pattern.fullmatch(top) for pattern in (_OF_DIRECTORIES if below else ROOTS))

    # --- files ------------------------------------------------------------------------------------

    def _files(self) -> None:
        """The archives among the files: by name where it tells, else by their first bytes."""
        for path, names in self.result.names.items():
            for name, is_directory in names:
                if is_directory:
                    continue
                if is_tar_name(name):
                    self._found[join_path(path, name)] = Kind.TAR
                elif name.endswith(b".npz") and not is_dropping(name):
                    self._found[join_path(path, name)] = Kind.NPZ
                elif kind_of_name(name) is Kind.ZIP and not name.startswith(b"."):
                    self._look_into(join_path(path, name))
                elif DEVKIT.fullmatch(name) or is_beside(name):
                    continue
                elif _SUFFIXED.fullmatch(name):
                    self._look_into_compressed(path, name)
                elif part := _PART.fullmatch(name):
                    self.result.parts.setdefault(join_path(path, part["whole"]), []).append(name)
                elif _ZIP.fullmatch(name) and not name.startswith(b"."):
                    self._look_into(join_path(path, name))
                elif _UNFINISHED.fullmatch(name) and _OF_SPLIT.fullmatch(name):
                    self.result.unfinished.append(join_path(path, name))
                elif _ALMOST.fullmatch(name):
                    self._look_into(join_path(path, name), must_be=False)
        for path, pieces in self.result.parts.items():
            if len(pieces) == 1:  # saved by wget beside another one, or a part alone
                is_zip = _ZIP.fullmatch(pieces[0]) is not None
                alone = join_path(path.rpartition(b"/")[0], pieces[0])
                self._look_into(alone, must_be=is_zip)
        whole = self.result.parts.items()
        self.result.parts = {
            path: pieces
            for path, pieces in whole
            if len(pieces) > 1 and not {path, plain_name(path)} & self._found.keys()
        }

    # --- levels within splits -------------------------------------------------------------------

    def _levels_of_splits(self) -> None:
        """The tars in the few directories of a split's own that has no classes itself: they are
        archives. Where a tar of a split stands, its directory is not looked into, nor are those of
        tiny-imagenet-200, which has no tars.
        """
        for path in list(self.result.names):
            if TINY.fullmatch(path.rpartition(b"/")[2]):
                continue
            tars = [name for name in self.result.files(path) if SPLIT_TAR.fullmatch(name)]
            for name in self.result.directories(path):
                below, found = join_path(path, name), _MAY_HAVE_LEVELS.fullmatch(name)
                if found is None or below in self.result.names:
                    continue
                if not any(found[1].lower() in tar.lower() for tar in tars):
                    self._look_for_levels(below, 0)

    def _look_for_levels(self, path: bytes, depth: int) -> None:
        self._deeper += depth > 0
        if self._deeper > _MOST_DEEPER:
            return
        try:
            names = self.result.listed[path] = self._source.names(path)
        except ImagenetfsError:  # told by what chooses it
            return
        tars = [name for name, is_directory in names if not is_directory and is_archive_name(name)]
        directories = [name for name, is_directory in names if is_directory]
        if depth:  # in the split's directory itself they are what it contains
            self._found.update((join_path(path, name), kind_of_name(name)) for name in tars)
        stems = map(archive_stem, tars)
        if any(map(CLASS.fullmatch, (*directories, *stems))):
            return
        if len(directories) + len(tars) > _FEW_LEVELS or depth == _LEVELS_OF_SPLIT:
            return
        self._found.update((join_path(path, name), kind_of_name(name)) for name in tars)
        for name in directories:
            if not is_dropping(name):
                self._look_for_levels(join_path(path, name), depth + 1)

    def _look_into_compressed(self, directory: bytes, name: bytes) -> None:
        """A file that is called as a compressed tar. Of class tars, of which there may be
        thousands, the first of a directory tells of all.
        """
        path, kind = join_path(directory, name), name[9:]
        if not CLASS.fullmatch(name[:9]) or (directory, kind) not in self._compressed:
            self._look_into(path)
            if path in self.result.compressed:
                self._compressed[directory, kind] = self.result.compressed[path]
        else:
            self.result.compressed[path] = self._compressed[directory, kind]

    def _look_into(self, path: bytes, *, must_be: bool = True) -> None:
        """A file whose name says that it is a zip, or compressed: it may be a plain tar all the
        same. Unless it ``must_be`` an archive, what cannot be read is told by others.
        """
        assert self._peek is not None
        try:
            seen = self._peek(path)
        except ImagenetfsError as error:
            if must_be:
                self.result.warnings.append(f"{error} It is not shown.")
            return
        if seen.compressed:
            self.result.compressed[path] = seen.compressed
        elif seen.names:
            self._found[path] = Kind.TAR
        elif seen.is_zip or kind_of_name(path) is Kind.ZIP:
            self._found[path] = Kind.ZIP  # of what is none by its content its table says so
        elif _SUFFIXED.fullmatch(path):
            self.result.warnings.append(
                f"{decoded(path)} is called as a compressed tar and does not begin as one, nor as "
                "a tar: it is not shown; fetch it again."
            )


def _is_twice(path: bytes, name: bytes, pattern: re.Pattern[bytes]) -> bool:
    """Whether a directory and the one around it, and none above, are called as a version is."""
    above, _, last = path.rpartition(b"/")
    is_first = not any(map(pattern.fullmatch, above.split(b"/")))
    return is_first and bool(pattern.fullmatch(name) and pattern.fullmatch(last))


def _holds_roots(names: list[bytes]) -> bool:
    return any(pattern.fullmatch(name) for name in names for pattern in ROOTS)


def _bytes(source: Names) -> bytes:
    return bytes(source.path)
