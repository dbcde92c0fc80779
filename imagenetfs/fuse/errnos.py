"""The one table from the project's errors to errno. What is not in it is EIO, with a traceback."""

from __future__ import annotations

import errno

from imagenetfs import errors

_TABLE: dict[type[errors.ImagenetfsError], int] = {
    errors.NoEntryError: errno.ENOENT,
    errors.NotDirectoryError: errno.ENOTDIR,
    errors.IsDirectoryError: errno.EISDIR,
    errors.NotLinkError: errno.EINVAL,
    errors.NoAttributeError: errno.ENODATA,
    errors.SourceUnreadableError: errno.EACCES,
    errors.SourceReadError: errno.EIO,
    errors.SourceChangedError: errno.EIO,
    errors.ArchiveError: errno.EIO,
    errors.NoSpaceError: errno.EIO,
}

_LOGGED_WHERE_FOUND = (errors.SourceReplacedError, errors.SourceRefusedError)


def was_logged(error: errors.ImagenetfsError) -> bool:
    """Whether the process that found this trouble has logged it, once for the mount."""
    return isinstance(error, _LOGGED_WHERE_FOUND) and not isinstance(error, errors.SourceGoneError)


def errno_of(error: errors.ImagenetfsError) -> int:
    """The errno of an error, by its class or the nearest class above it."""
    for kind in type(error).__mro__:
        if kind in _TABLE:
            return _TABLE[kind]
    return errno.EIO
