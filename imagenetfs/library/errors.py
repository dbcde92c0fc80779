"""The project's errors as Python knows them: what a caller of ``open`` or ``os.stat`` expects.

Each is an error of :mod:`imagenetfs.errors` and one of Python's own at once, so that a caller may
catch either. All others are raised as they come.
"""

from __future__ import annotations

import errno
import os

from imagenetfs.errors import (
    ImagenetfsError,
    IsDirectoryError,
    NoEntryError,
    NotDirectoryError,
    SourceUnreadableError,
)


class PathNotFoundError(NoEntryError, FileNotFoundError):
    """There is no such path in the tree."""


class PathNotDirectoryError(NotDirectoryError, NotADirectoryError):
    """A directory was asked for; this is a file."""


class PathIsDirectoryError(IsDirectoryError, IsADirectoryError):
    """A file was asked for; this is a directory."""


class PathRefusedError(SourceUnreadableError, PermissionError):
    """The source does not let this user read what stands at the path."""

    def __init__(self, number: int, reason: str, path: str) -> None:
        PermissionError.__init__(self, number, reason, path)
        self.path = os.fsencode(path)


class SplitNotFoundError(NoEntryError, KeyError):
    """The tree has no such split."""

    def __str__(self) -> str:
        return str(self.args[0])


def as_python_error(error: ImagenetfsError, path: str) -> Exception:
    """The error to raise for one of ours about a path of the tree."""
    if isinstance(error, OSError | LookupError):
        return error
    if isinstance(error, NoEntryError):
        return PathNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    if isinstance(error, NotDirectoryError):
        return PathNotDirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
    if isinstance(error, IsDirectoryError):
        return PathIsDirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    if isinstance(error, SourceUnreadableError):
        return PathRefusedError(errno.EACCES, str(error), path)
    return error
