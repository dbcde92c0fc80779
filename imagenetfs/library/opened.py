"""A source that is open in this process: its nodes, and readers for its threads.

Two kinds of state, and how each is kept right:

- Tables, listings and names are made under one lock, for the index's own locks part processes
  alone. What is there already is read without it.
- Descriptors: each thread reads by a twin of the read path (:class:`.ReadPath`) with descriptors of
  its own, for a file that one thread reads might be closed to make way for another's. A twin has a
  lock that only :meth:`OpenedSource.close` ever contends for: no descriptor is closed under a read.

A forked child begins with new locks and without twins, and opens anew what its locks belong to
(open file descriptions) when it is first used. The tables stay shared, as those of a mount's
workers are.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

from imagenetfs.counters import CACHE_WORDS, TROUBLE
from imagenetfs.errors import ImagenetfsError, TreeClosedError
from imagenetfs.index.archives import Kind
from imagenetfs.index.index import Index
from imagenetfs.index.search_path import IndexSearchPath
from imagenetfs.library.errors import as_python_error
from imagenetfs.library.paths import PathWalker
from imagenetfs.library.settings import TreeSpec
from imagenetfs.read.cache_backend import CacheBackend
from imagenetfs.read.read_path import ReadPath, cache_backend
from imagenetfs.source.source import Source
from imagenetfs.tree.catalogue import Catalogue, build_catalogue
from imagenetfs.tree.inode import fields
from imagenetfs.tree.tree import Tree as Nodes
from imagenetfs.tree.versions.views import read_list
from imagenetfs.version import __version__

log = logging.getLogger(__name__)

AHEAD = 1024
"""Files that are announced ahead of the one that is read: the kernel keeps what is announced."""

WHOLE = 1 << 62
"""More bytes than any file has."""


class _CacheMeter(list[int]):
    """A cache's counters. That it is bypassed is said once: there is no mount's status to ask."""

    told = False

    def __setitem__(self, at: int, value: int) -> None:  # type: ignore[override]  # no slices here
        super().__setitem__(at, value)
        if at == TROUBLE and not self.told:
            self.told = True
            log.warning(
                "the cache is bypassed (%s): what it does not have is read from the source and not "
                "kept; it tries again every few seconds",
                os.strerror(value),
            )


class _ThreadReader:
    """A thread's reader. ``lock`` is held while it reads."""

    def __init__(self, reads: ReadPath, index: Index, arrays: frozenset[int]) -> None:
        self.lock = threading.Lock()
        self.closed = False
        self.read = reads.reader.read
        plain = reads.reader.plain_members(reads.source)
        self.read_plain = plain.read if plain is not None else _nothing
        self._announce = reads.reader.announce
        self._reads = reads
        self._loaded = index.loaded
        self._arrays = arrays
        # Not left to the collector of circles: a thread that ends gives its descriptors back.
        self._end = weakref.finalize(self, reads.close)
        self._end.atexit = False

    def announce(self, inode: int) -> None:
        """Have a file's bytes asked for. Whatever is wrong, the read says it."""
        with contextlib.suppress(ImagenetfsError), self.lock:
            if not self.closed and self.may_read(inode):
                self._announce(inode)

    def may_read(self, inode: int) -> bool:
        """Whether nothing has to be made first, for which one thread at a time has the tree."""
        archive, inner, _ = fields(inode)
        return (archive, inner) in self._loaded and archive not in self._arrays

    def close(self) -> None:
        """Wait until it does not read, and close what it has open."""
        with self.lock:
            self.closed = True
            self._end()

    def drop(self) -> None:
        """In a forked child: close its copies, and count nothing that the parent counts."""
        self._end.detach()
        self._reads.source.close()


@dataclass(frozen=True, slots=True)
class _Parts:
    """What is open. ``arrays``: the npz files, by number, whose rows one thread at a time reads,
    for the first one to read a deflated array inflates it.
    """

    catalogue: Catalogue
    places: IndexSearchPath
    nodes: Nodes
    walker: PathWalker
    reads: ReadPath
    arrays: frozenset[int]


class OpenedSource:
    """One for each tree. What is asked of it after :meth:`close` raises TreeClosedError."""

    def __init__(self, spec: TreeSpec) -> None:
        """Raises what looking at the source raises; nothing is left open then."""
        self.spec = spec
        self._begin()
        self._forked = False
        self._parts: _Parts | None = _open(spec)
        _opened.add(self)

    def _begin(self) -> None:
        self._lock = threading.RLock()
        self._own = threading.local()
        self._readers: weakref.WeakSet[_ThreadReader] = weakref.WeakSet()

    def after_fork(self) -> None:
        """In a child that has just been forked; opens nothing yet."""
        for reader in list(self._readers):
            reader.drop()
        self._begin()
        self._forked = True

    # --- tables -----------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, path: str = "") -> Iterator[_Parts]:
        """The parts, for this thread alone; errors of ours become Python's, about ``path``.

        For tables and names, and for what has to be made first.
        """
        with self._lock:
            parts = self._current()
            try:
                yield parts
            except ImagenetfsError as error:
                _raise(error, path)

    def _current(self) -> _Parts:
        parts = self._parts
        if parts is None:
            raise TreeClosedError(f"this tree of {self.spec.source} was closed; open it again.")
        if self._forked:
            parts.catalogue.index.after_fork()
            parts.reads.unpacked.after_fork()
            if parts.reads.cached is not None:
                parts.reads.cached.after_fork(_CacheMeter([0] * CACHE_WORDS))
            self._forked = False
        return parts

    # --- bytes ------------------------------------------------------------------------------------

    def _new_reader(self) -> _ThreadReader:
        """This thread's reader."""
        with self._lock:
            parts = self._current()
            found = _ThreadReader(parts.reads.twin(), parts.catalogue.index, parts.arrays)
            self._own.reader = found
            self._readers.add(found)
        return found

    def read(self, inode: int, path: str, offset: int = 0, length: int = WHOLE) -> bytes:
        """Exactly the bytes of [offset, offset + length) that lie within a member, row or loose
        file; ``path`` names it in errors. Raises what reading raises.
        """
        try:
            try:
                mine: _ThreadReader = self._own.reader
            except AttributeError:
                mine = self._new_reader()
            with mine.lock:
                if mine.closed:
                    self._current()
                if mine.may_read(inode):
                    return mine.read(inode, offset, length)
            with self._lock:
                return self._current().reads.reader.read(inode, offset, length)
        except ImagenetfsError as error:
            _raise(error, path)

    def read_whole(self, inode: int, path: str) -> bytes:
        """All bytes of a member, row or loose file. Raises what reading raises."""
        try:
            mine: _ThreadReader | None = getattr(self._own, "reader", None)
            if mine is not None:
                with mine.lock:
                    if mine.closed:
                        self._current()
                    data = mine.read_plain(inode)
                if data is not None:
                    return data
        except ImagenetfsError as error:
            _raise(error, path)
        return self.read(inode, path)

    def announced(self, inodes: Sequence[int]) -> Iterator[int]:
        """The inodes, in order; their bytes are asked for ahead of that, many at a time."""
        mine: _ThreadReader | None = getattr(self._own, "reader", None)
        announce, ahead = (mine or self._new_reader()).announce, min(len(inodes), AHEAD)
        for inode in inodes[:ahead]:
            announce(inode)
        for at, inode in enumerate(inodes):
            yield inode
            if at + ahead < len(inodes):
                announce(inodes[at + ahead])

    # --- the end ----------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._parts is None

    def close(self) -> None:
        """Close everything, after the reads that are under way; once is enough."""
        with self._lock:
            parts, self._parts = self._parts, None
            if parts is None:
                return
            for reader in list(self._readers):
                reader.close()
            self._own = threading.local()
            parts.reads.close()
            parts.nodes.close()
            parts.catalogue.index.close()


def _nothing(_inode: int) -> None:
    return None


def _raise(error: ImagenetfsError, path: str) -> NoReturn:
    other = as_python_error(error, path)
    if other is error:
        raise error
    raise other from error


def _open(spec: TreeSpec) -> _Parts:
    source = Source(spec.source, revalidate=spec.revalidate)
    try:
        places = IndexSearchPath(spec.index_dir, spec.source, spec.index_path)
        lists = {name: read_list(name, path) for name, path in spec.views}
        catalogue = build_catalogue(
            source, places=places, prefer=spec.prefer, lists=lists, in_flight=spec.in_flight
        )
        reads = ReadPath.of(catalogue, _cache(spec, catalogue))
        arrays = frozenset(catalogue.paths_of(Kind.NPZ))
        nodes = Nodes(catalogue, __version__)
        return _Parts(catalogue, places, nodes, PathWalker(nodes), reads, arrays)
    except BaseException:
        source.close()
        raise


def _cache(spec: TreeSpec, catalogue: Catalogue) -> CacheBackend | None:
    if spec.cache is None:
        return None
    cached = cache_backend(catalogue, spec.cache, spec.revalidate)
    cached.after_fork(_CacheMeter([0] * CACHE_WORDS))
    return cached


_opened: weakref.WeakSet[OpenedSource] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for one in list(_opened):
        one.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
