"""Limits of the process: what is kept below them, and what is said at one."""

from __future__ import annotations

import errno
import os
import resource

import pytest

from imagenetfs.errors import ExitCode, LimitTooLowError
from imagenetfs.system import resources


def limited(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> list[tuple[int, int]]:
    """Pretend these limits; what is set instead is recorded, and holds."""
    made = [(soft, hard)]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: made[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda kind, pair: made.append(pair))
    return made


@pytest.mark.parametrize(
    ("soft", "hard", "now"),
    [(256, 4096, 1024), (256, 512, 512), (4096, 8192, 4096), (100, 100, 100), (256, -1, 1024)],
)
def test_the_limit_is_raised_as_far_as_it_may(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, now: int
) -> None:
    made = limited(monkeypatch, soft, hard)
    resources.raise_open_files()
    assert made[-1] == (now, hard)


def test_too_few_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 63, 63)
    with pytest.raises(LimitTooLowError, match="63 files open here"):
        resources.raise_open_files()


def test_what_is_kept_fits_below_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    for soft in range(64, 2000, 7):
        limited(monkeypatch, soft, soft)
        kept = [resources.files_to_keep(most) for most in (128, 64, 256)]
        assert min(kept) >= 2
        assert sum(kept) + resources._OTHER_FILES <= max(soft, 100)
        assert soft < 1024 or kept == [128, 64, 256]


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EMFILE, "ulimit -n"),
        (errno.ENFILE, "fs.file-max"),
        (errno.ENOMEM, "enough memory"),
    ],
)
def test_a_shortage_is_a_sentence(number: int, words: str) -> None:
    told = resources.shortage(OSError(number, os.strerror(number)))
    assert told is not None
    assert words in str(told)
    assert told.exit_code is ExitCode.NO_SPACE


def test_what_is_no_shortage() -> None:
    assert resources.shortage(MemoryError()) is not None
    for error in (OSError(errno.EIO, "x"), ValueError("x"), OSError("x")):
        assert resources.shortage(error) is None
