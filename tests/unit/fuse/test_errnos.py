"""The table from errors to errno."""

from __future__ import annotations

import errno

import pytest

from imagenetfs import errors
from imagenetfs.errors import ImagenetfsError
from imagenetfs.fuse.errnos import errno_of, was_logged

_ARGUMENTS = {errors.ArchiveError: ("broken", 7), errors.GroupNeededError: ("why", "group")}


def _every(kind: type[ImagenetfsError] = ImagenetfsError) -> list[type[ImagenetfsError]]:
    """Those that the layers below raise: what the library makes of them no handler meets."""
    every = [kind, *(below for one in kind.__subclasses__() for below in _every(one))]
    return [one for one in every if one.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", _every())
def test_every_error_has_one(kind: type[ImagenetfsError]) -> None:
    number = errno_of(kind(*_ARGUMENTS.get(kind, ("why",))))
    assert number in errno.errorcode
    assert number not in (errno.ENOSYS, errno.EROFS, errno.ESTALE, errno.ENOTCONN)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (errors.NoEntryError("x"), errno.ENOENT),
        (errors.NotDirectoryError("x"), errno.ENOTDIR),
        (errors.IsDirectoryError("x"), errno.EISDIR),
        (errors.NotLinkError("x"), errno.EINVAL),
        (errors.NoAttributeError("x"), errno.ENODATA),
        (errors.SourceUnreadableError("x"), errno.EACCES),
        (errors.SourceReadError("x"), errno.EIO),
        (errors.SourceChangedError("x"), errno.EIO),
        (errors.ArchiveError("x"), errno.EIO),
        (errors.NoSpaceError("x"), errno.EIO),
    ],
)
def test_the_table(error: ImagenetfsError, number: int) -> None:
    assert errno_of(error) == number


def test_a_class_below_one_of_the_table() -> None:
    class Special(errors.SourceUnreadableError):
        pass

    class Unknown(ImagenetfsError):
        pass

    assert errno_of(Special("x")) == errno.EACCES
    assert errno_of(Unknown("x")) == errno.EIO


def test_what_was_logged_where_it_was_found() -> None:
    assert was_logged(errors.SourceReplacedError("x"))
    assert was_logged(errors.SourceRefusedError("x"))
    assert not was_logged(errors.SourceGoneError("x"))
    assert not was_logged(errors.SourceReadError("x"))
