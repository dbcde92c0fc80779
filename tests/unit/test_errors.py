"""The project's errors: promised exit codes, sentences, and the way to another process."""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs import errors
from imagenetfs.errors import (
    ArchiveError,
    ExitCode,
    GroupNeededError,
    ImagenetfsError,
    SourceReadError,
    SourceUnreadableError,
    did_you_mean,
)

PAGE = Path(__file__).parents[2] / "docs" / "exit-codes.md"


def every_class() -> Iterator[type[ImagenetfsError]]:
    for found in vars(errors).values():
        if isinstance(found, type) and issubclass(found, ImagenetfsError):
            yield found


def made(kind: type[ImagenetfsError]) -> ImagenetfsError:
    """One that has all that an error of this class can have."""
    if issubclass(kind, GroupNeededError):
        error: ImagenetfsError = kind("why.", "grüppe")
        assert isinstance(error, GroupNeededError)
        error.path = b"a/\xff"
        return error
    if issubclass(kind, ArchiveError):
        return kind("why", 1_234_567)
    if issubclass(kind, SourceReadError | SourceUnreadableError):
        return kind("why.", b"a/\xff")
    return kind("why.")


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(every_class()), ids=lambda kind: kind.__name__)
def test_an_error_goes_to_another_process_whole(kind: type[ImagenetfsError]) -> None:
    """By pickle, as multiprocessing does; a pool hangs where that fails at the other end."""
    error = made(kind)
    there = pickle.loads(pickle.dumps(error))
    assert type(there) is kind
    assert (str(there), there.exit_code) == (str(error), error.exit_code)
    assert vars(there) == vars(error)


def test_exit_codes_are_the_documented_ones() -> None:
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE.read_text(), re.MULTILINE)}
    assert {int(code) for code in ExitCode} == documented
    assert len({*ExitCode}) == len(ExitCode.__members__), "two names for one code"


def test_exit_codes_are_not_renumbered() -> None:
    """Job scripts compare with them: a line is added here, none is changed."""
    promised = (
        "OK=0 INTERNAL=1 USAGE=2 SOURCE_MISSING=10 SOURCE_UNREADABLE=11 SOURCE_UNKNOWN=12 "
        "ARCHIVE_BROKEN=13 INDEX_WRONG=14 REQUIREMENT_NOT_MET=15 MOUNTPOINT_MISSING=20 "
        "MOUNTPOINT_NOT_DIRECTORY=21 MOUNTPOINT_NOT_EMPTY=22 MOUNTPOINT_IN_USE=23 "
        "MOUNTPOINT_STALE=24 NOT_MOUNTED=25 STILL_BUSY=26 PLACE_REFUSED=27 FUSE_UNAVAILABLE=30 "
        "FUSE_REFUSED=31 NO_SPACE=32 MISSING_PACKAGE=33 DOCTOR_YELLOW=40 DOCTOR_RED=41 "
        "VERIFY_FAILED=42 RUN_FAILED=125 COMMAND_NOT_EXECUTABLE=126 COMMAND_NOT_FOUND=127"
    )
    assert " ".join(f"{code.name}={code.value}" for code in ExitCode) == promised


def test_where_an_archive_is_broken_is_said() -> None:
    error = ArchiveError("no header", 1_234_567)
    assert str(error) == "no header (at byte 1,234,567)"
    assert (error.reason, error.offset) == ("no header", 1_234_567)
    assert str(ArchiveError("no header")) == "no header (at byte 0)"


@pytest.mark.parametrize(
    ("word", "question"),
    [
        ("ILSVRC2021", " Did you mean ILSVRC2012?"),
        ("ilsvrc2012", " Did you mean ILSVRC2012?"),
        ("WINTER21", " Did you mean winter21?"),
        ("quite another thing", ""),
        ("", ""),
    ],
)
def test_a_slip_is_recognized(word: str, question: str) -> None:
    assert did_you_mean(word, ["ILSVRC2012", "winter21"]) == question


def test_nothing_is_like_a_word_where_nothing_is_known() -> None:
    assert did_you_mean("train", iter(())) == ""
