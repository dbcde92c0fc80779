"""The tree of a source in this process: the same paths as in a mount, and the splits as sequences.

See docs/python.md. Threads may share a tree, forked and spawned processes too.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO, NamedTuple, cast

from imagenetfs.errors import NoEntryError, NotDirectoryError, TreeClosedError, did_you_mean
from imagenetfs.library import paths
from imagenetfs.library.closable import Closable
from imagenetfs.library.errors import SplitNotFoundError
from imagenetfs.library.file import RawFile
from imagenetfs.library.opened import OpenedSource
from imagenetfs.library.paths import AnyPath
from imagenetfs.library.settings import TreeSpec
from imagenetfs.library.split import Split
from imagenetfs.tree.dataset import Version
from imagenetfs.tree.inode import InodeKind, kind_of
from imagenetfs.tree.listing import Attributes
from imagenetfs.tree.node import FixedFile
from imagenetfs.tree.tree import Tree as Nodes

_SECOND = 1_000_000_000


class _FoundFile(NamedTuple):
    """A file that was found; ``size`` in bytes."""

    path: str
    inode: int
    size: int

    @property
    def is_made(self) -> bool:
        """Whether it is a label file or the like, and stands in no archive."""
        return kind_of(self.inode) != InodeKind.FILE


class TreeEntry(NamedTuple):
    """A name in a directory, and its attributes."""

    name: str
    attributes: Attributes


class Tree(Closable):
    """An opened source. Made by :func:`imagenetfs.open`; ends with :meth:`close`, or as a context.

    ``tree["ILSVRC2012/train"]`` is a :class:`Split`. A path is one of the mount's, with or without
    a slash in front. A path that is not there is FileNotFoundError, what the source does not let
    this user read PermissionError; what cannot be read, or is another file by now, is an error of
    :mod:`imagenetfs.errors`. No read is ever short.
    """

    def __init__(self, spec: TreeSpec) -> None:
        """``imagenetfs.open`` resolves what this takes. Raises ImagenetfsError."""
        self._opened = OpenedSource(spec)
        self._splits: dict[str, Split] = {}

    # --- what there is ----------------------------------------------------------------------------

    @property
    def source(self) -> str:
        """The directory that was opened."""
        return str(self._opened.spec.source)

    @property
    def versions(self) -> list[str]:
        """The versions of ImageNet in the source, sorted."""
        with self._opened.locked() as parts:
            return sorted(os.fsdecode(version.name) for version in parts.catalogue.versions)

    @property
    def splits(self) -> list[str]:
        """What may stand in ``tree[...]``: ``VERSION/SPLIT``, and ``views/NAME/SPLIT``."""
        with self._opened.locked() as parts:
            shown, views = parts.catalogue.versions, parts.catalogue.views
            return [*_titles("", shown), *_titles("views/", views)]

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the source or the settings, as far as it is known by now, in
        sentences. The log of ``imagenetfs`` had each when it was found.
        """
        with self._opened.locked() as parts:
            catalogue = parts.catalogue
            late = catalogue.late_warnings.all()
            told = [*self._opened.spec.warnings, *catalogue.warnings, *catalogue.shortfalls, *late]
            return list(dict.fromkeys(told))

    def __getitem__(self, name: str) -> Split:
        """The split of that name. Raises SplitNotFoundError, which is a KeyError."""
        wanted = paths.text_of(name)
        split = self._splits.get(wanted)
        if split is None or self.closed:
            split = Split(self, self._opened, wanted, self._directory_of(wanted))
            self._splits[wanted] = split
        return split

    def _directory_of(self, name: str) -> int:
        """The number of a split's directory."""
        with self._opened.locked(name) as parts:
            try:
                found = parts.nodes.split_of(parts.walker.find(name))
            except (NoEntryError, NotDirectoryError):
                found = None
            if found is None:
                raise SplitNotFoundError(
                    f"{self.source} has no split `{name}`; it has {', '.join(self.splits)}."
                    f"{did_you_mean(name, self.splits)}"
                )
            return found[0]

    # --- files ------------------------------------------------------------------------------------

    def read(self, path: AnyPath) -> bytes:
        """The contents of a file."""
        file = self._file(path)
        return self._read(file, 0, file.size)

    def open(self, path: AnyPath) -> BinaryIO:
        """A file, open for reading in binary."""
        file = self._file(path)
        raw = RawFile(file.path, file.size, lambda at, length: self._read(file, at, length))
        return cast(BinaryIO, io.BufferedReader(raw))

    def read_many(self, wanted: Sequence[AnyPath]) -> list[bytes]:
        """The contents of files, in the order asked for, with the requests for all of them under
        way at once.
        """
        files = [self._file(path) for path in wanted]
        return self._read_files([(file, 0, file.size) for file in files])

    def read_ranges(self, wanted: Sequence[tuple[AnyPath, int, int]]) -> list[bytes]:
        """The same of parts of files: (path, offset, length), both in bytes. What lies behind a
        file's end is left out.
        """
        return self._read_files([(self._file(path), at, length) for path, at, length in wanted])

    def _read_files(self, files: Sequence[tuple[_FoundFile, int, int]]) -> list[bytes]:
        announced = self._opened.announced([f.inode for f, _, _ in files if not f.is_made])
        found = []
        for file, offset, length in files:
            if not file.is_made:
                next(announced)
            found.append(self._read(file, offset, length))
        return found

    def _file(self, path: AnyPath) -> _FoundFile:
        text = paths.text_of(path)
        with self._opened.locked(text) as parts:
            inode = parts.walker.find(text)
            parts.nodes.file(inode)  # a directory is none
            return _FoundFile(text, inode, parts.nodes.attributes(inode).size)

    def _read(self, file: _FoundFile, offset: int, length: int) -> bytes:
        if not file.is_made:
            return self._opened.read(file.inode, file.path, offset, length)
        with self._opened.locked(file.path) as parts:
            node = parts.nodes.file(file.inode)
            assert isinstance(node, FixedFile)
            return node.contents.read(offset, length)

    def listdir(self, path: AnyPath = "") -> list[str]:
        """The names in a directory, sorted. What a mount answers to without listing it is left out
        here too.
        """
        text = paths.text_of(path)
        with self._opened.locked(text) as parts:
            nodes = parts.nodes
            found = nodes.listing(parts.walker.find(text)).entries(0)
            return sorted(os.fsdecode(name) for name, at, _ in found if nodes.live_file(at) is None)

    def entries(self, path: AnyPath = "") -> list[TreeEntry]:
        """The same names with what :meth:`stat` says of each; a link's own."""
        text = paths.text_of(path)
        with self._opened.locked(text) as parts:
            nodes = parts.nodes
            found = nodes.listing(parts.walker.find(text)).entries(0)
            return [
                TreeEntry(os.fsdecode(name), nodes.attributes(at) if nodes.is_lazy(at) else what)
                for name, at, what in found
                if nodes.live_file(at) is None
            ]

    def stat(self, path: AnyPath = "", *, follow_symlinks: bool = True) -> os.stat_result:
        """What os.stat says of the path in a mount of this user's."""
        text = paths.text_of(path)
        with self._opened.locked(text) as parts:
            inode = parts.walker.find(text, follow=follow_symlinks)
            return _stat_result(parts.nodes, inode)

    def exists(self, path: AnyPath) -> bool:
        """Whether there is such a path. Raises what looking for it raises."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        return True

    # --- the end ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._opened.closed

    def close(self) -> None:
        """Close what it opened, after the reads that are under way; once is enough. What is asked
        of it or of its splits afterwards raises TreeClosedError.
        """
        self._opened.close()
        while self._splits:
            self._splits.popitem()[1].forget()

    def __reduce__(self) -> tuple[Any, ...]:
        """By source and settings: another process opens its own."""
        if self.closed:
            raise TreeClosedError(f"this tree of {self.source} was closed, and is not pickled.")
        return type(self), (self._opened.spec,)

    def __repr__(self) -> str:
        return f"<imagenetfs.Tree of {self.source}{', closed' if self.closed else ''}>"


def _titles(above: str, versions: Sequence[Version]) -> Iterator[str]:
    for version in versions:
        for split in version.splits:
            yield above + os.fsdecode(version.name + b"/" + split.name)


def _stat_result(nodes: Nodes, inode: int) -> os.stat_result:
    what = nodes.attributes(inode)
    seconds = what.mtime_ns / _SECOND
    whole = what.mtime_ns // _SECOND
    owner = (os.geteuid(), os.getegid())
    times = {
        name: value
        for kind in ("atime", "mtime", "ctime")
        for name, value in ((f"st_{kind}", seconds), (f"st_{kind}_ns", what.mtime_ns))
    }
    fixed = (what.mode, inode, 0, what.nlink, *owner, what.size, whole, whole, whole)
    return os.stat_result(fixed, times)
