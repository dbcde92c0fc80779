"""Errors that a caller of Python's own functions knows how to catch."""

from __future__ import annotations

import errno
import pickle

import pytest

from imagenetfs import errors
from imagenetfs.errors import ImagenetfsError
from imagenetfs.library.errors import (
    PathIsDirectoryError,
    PathNotDirectoryError,
    PathNotFoundError,
    PathRefusedError,
    SplitNotFoundError,
    as_python_error,
)

PATH = "ILSVRC2012/val/\udcff.JPEG"


@pytest.mark.parametrize(
    ("ours", "theirs", "number"),
    [
        (errors.NoEntryError("x"), FileNotFoundError, errno.ENOENT),
        (errors.NotDirectoryError("x"), NotADirectoryError, errno.ENOTDIR),
        (errors.IsDirectoryError("x"), IsADirectoryError, errno.EISDIR),
        (errors.SourceUnreadableError("you may not."), PermissionError, errno.EACCES),
        (errors.SourceRefusedError("you may not."), PermissionError, errno.EACCES),
        (errors.GroupNeededError("you may not.", "g"), PermissionError, errno.EACCES),
    ],
)
def test_both_may_be_caught(ours: ImagenetfsError, theirs: type[OSError], number: int) -> None:
    found = as_python_error(ours, PATH)
    assert isinstance(found, theirs) and isinstance(found, ImagenetfsError)
    assert (found.errno, found.filename) == (number, PATH)
    base = next(kind for kind in type(ours).__mro__ if kind in type(found).__mro__)
    assert base is not ImagenetfsError, "it is no longer the error that it was"


def test_a_refusal_keeps_its_reason_and_has_the_path() -> None:
    found = as_python_error(errors.SourceUnreadableError("the group g may."), PATH)
    assert isinstance(found, PathRefusedError) and isinstance(found, PermissionError)
    assert found.strerror == "the group g may."
    assert found.path == b"ILSVRC2012/val/\xff.JPEG"


@pytest.mark.parametrize(
    "error",
    [
        errors.SourceChangedError("it is another file."),
        errors.ArchiveError("no header", 512),
        errors.TreeClosedError("it was closed."),
        SplitNotFoundError("no split `x`."),
        PathNotFoundError(errno.ENOENT, "a link that leads out", "elsewhere"),
    ],
)
def test_all_others_come_as_they_are(error: ImagenetfsError) -> None:
    assert as_python_error(error, PATH) is error


def test_a_split_that_is_not_there_is_told_in_a_sentence() -> None:
    """str of a KeyError has quotes around it."""
    assert str(SplitNotFoundError("There is no split `x`.")) == "There is no split `x`."


@pytest.mark.parametrize(
    "error",
    [
        PathNotFoundError(errno.ENOENT, "gone", PATH),
        PathNotDirectoryError(errno.ENOTDIR, "a file", PATH),
        PathIsDirectoryError(errno.EISDIR, "a directory", PATH),
        PathRefusedError(errno.EACCES, "the group g may.", PATH),
        SplitNotFoundError("no split `x`."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_goes_to_another_process_whole(error: ImagenetfsError) -> None:
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is type(error)
    assert (str(there), there.args, vars(there)) == (str(error), error.args, vars(error))
    for name in ("errno", "filename"):
        assert getattr(there, name, None) == getattr(error, name, None)
