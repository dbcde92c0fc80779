"""The protocol ``imagenetfs`` of fsspec: the tree for pandas, datasets, webdataset and others.

Found by its entry point (``fsspec.specs``); the one module that needs fsspec. ``storage_options``
are the source and the settings of :func:`imagenetfs.open`.
"""

from __future__ import annotations

import errno
import operator
import os
import stat
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

from fsspec import AbstractFileSystem

from imagenetfs.errors import ImagenetfsError
from imagenetfs.library.opening import open_tree
from imagenetfs.library.settings import OpenSettings
from imagenetfs.tree.listing import Attributes

_TYPES = {stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}


class ImagenetFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec ships no types
    """A tree, read-only. The same source and settings have one tree in a process."""

    protocol = "imagenetfs"
    root_marker = ""

    def __init__(self, source: str | None = None, **options: Any) -> None:
        """``options``: settings of ``imagenetfs.open``, and fsspec's. Raises ImagenetfsError."""
        settings = {
            name: options.pop(name) for name in OpenSettings.__annotations__ if name in options
        }
        super().__init__(**options)
        self.tree = open_tree(source, settings)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        text = os.fspath(path)
        return text.removeprefix("imagenetfs://").strip("/")

    # --- names ------------------------------------------------------------------------------------

    def ls(self, path: str, detail: bool = True, **options: Any) -> list[Any]:
        """What is in a directory; of a file, itself."""
        path = self._strip_protocol(path)
        info = self.info(path)
        if info["type"] != "directory":
            return [info] if detail else [path]
        above = f"{path}/" if path else ""
        entries = self.tree.entries(path)
        if not detail:
            return [above + name for name, _ in entries]
        return [_info(above + name, attributes) for name, attributes in entries]

    def info(self, path: str, **options: Any) -> dict[str, Any]:
        """Name, size, type, mtime (seconds). Raises FileNotFoundError."""
        path = self._strip_protocol(path)
        found = self.tree.stat(path)
        return _info(path, Attributes(found.st_mode, found.st_size, found.st_mtime_ns, 1))

    def modified(self, path: str) -> Any:
        """When it was changed last, as a datetime in UTC."""
        import datetime

        return datetime.datetime.fromtimestamp(self.info(path)["mtime"], datetime.UTC)

    # --- bytes ------------------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **options: Any) -> BinaryIO:
        if mode != "rb":
            raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
        return self.tree.open(self._strip_protocol(path))

    def cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **options: Any
    ) -> bytes:
        """The bytes [start, end) of a file; negative ones count from its end."""
        found = self.tree.read_ranges([self._range(path, start, end)])
        return found[0]

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: Any,
        ends: Any,
        max_gap: int | None = None,
        on_error: str = "return",
        **options: Any,
    ) -> list[Any]:
        """Parts of files, with the requests for all of them under way at once. ``on_error``:
        ``return`` has the exception in the place of its part, ``raise`` raises the first one.
        """
        if isinstance(paths, str | bytes):
            raise TypeError("paths must be a list of paths, not one path")
        begins, stops = _for_each(paths, starts), _for_each(paths, ends)
        if not len(paths) == len(begins) == len(stops):
            raise ValueError("paths, starts and ends must be as many")
        wanted = list(zip(paths, begins, stops, strict=True))
        try:
            return list(self.tree.read_ranges([self._range(*one) for one in wanted]))
        except (ImagenetfsError, OSError):
            if on_error == "raise":
                raise
        return [self._part(*one) for one in wanted]

    def _part(self, path: str, start: int | None, end: int | None) -> bytes | Exception:
        try:
            return self.cat_file(path, start, end)
        except (ImagenetfsError, OSError) as error:
            return error

    def _range(self, path: str, start: int | None, end: int | None) -> tuple[str, int, int]:
        """(path, offset, length)."""
        path = self._strip_protocol(path)
        size = self.tree.stat(path).st_size
        low, high, _ = slice(start, end).indices(size)
        return path, low, max(0, high - low)

    def cat(
        self, path: Any, recursive: bool = False, on_error: str = "raise", **options: Any
    ) -> Any:
        """The contents of a file, or of many by their paths, all requests under way at once."""
        paths = self.expand_path(path, recursive=recursive)
        several = isinstance(path, list) or len(paths) > 1 or paths[0] != self._strip_protocol(path)
        if not several:
            return self.cat_file(paths[0])
        files = [one for one in paths if not recursive or self.isfile(one)]
        on = "raise" if on_error == "raise" else "return"
        found = dict(zip(files, self.cat_ranges(files, None, None, on_error=on), strict=True))
        if on_error == "omit":
            return {name: data for name, data in found.items() if isinstance(data, bytes)}
        return found


def _for_each(paths: Sequence[str], bound: Any) -> list[int | None]:
    """Where the part of each path begins or ends: one bound for all, or as many, an array too."""
    if isinstance(bound, Iterable):
        return [None if one is None else operator.index(one) for one in bound]
    return [bound] * len(paths)


def _info(path: str, what: Attributes) -> dict[str, Any]:
    return {
        "name": path,
        "size": what.size if stat.S_ISREG(what.mode) else 0,
        "type": _TYPES.get(stat.S_IFMT(what.mode), "file"),
        "mode": what.mode,
        "mtime": what.mtime_ns / 1e9,
    }
