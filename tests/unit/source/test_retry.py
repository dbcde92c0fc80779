"""Which errors of a file server pass, and what is said of the others."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from imagenetfs.errors import SourceReadError, SourceUnreadableError
from imagenetfs.source import retry
from imagenetfs.source.retry import PAUSES, TRANSIENT_ERRNOS, retry_transient, to_source_error

FINAL = [errno.ENOENT, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.ELOOP, errno.EMFILE]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.0,) * len(PAUSES))


class Failing:
    """Work that fails so many times, and how often it was done."""

    def __init__(self, number: int, times: int) -> None:
        self.number, self.times, self.done = number, times, 0

    def __call__(self) -> str:
        self.done += 1
        if self.done <= self.times:
            raise OSError(self.number, f"attempt {self.done}")
        return "answer"


def test_what_works_is_done_once() -> None:
    work = Failing(errno.EIO, 0)
    assert retry_transient(work) == "answer"
    assert work.done == 1


@pytest.mark.parametrize("number", sorted(TRANSIENT_ERRNOS))
@pytest.mark.parametrize("times", [1, 2, 3])
def test_what_passes_is_tried_again(number: int, times: int) -> None:
    work = Failing(number, times)
    assert retry_transient(work) == "answer"
    assert work.done == times + 1


@pytest.mark.parametrize("number", sorted(TRANSIENT_ERRNOS))
def test_the_last_attempts_error_comes_out(number: int) -> None:
    work = Failing(number, 99)
    with pytest.raises(OSError, match="attempt 4") as caught:
        retry_transient(work)
    assert caught.value.errno == number
    assert work.done == len(PAUSES) + 1


@pytest.mark.parametrize("number", FINAL)
def test_an_answer_is_no_matter_of_time(number: int) -> None:
    work = Failing(number, 99)
    with pytest.raises(OSError, match="attempt 1"):
        retry_transient(work)
    assert work.done == 1


def test_an_answer_after_an_error_that_passes() -> None:
    errors = iter([OSError(errno.ESTALE, "stale"), OSError(errno.ENOENT, "gone")])

    def work() -> None:
        raise next(errors)

    with pytest.raises(FileNotFoundError):
        retry_transient(work)


def test_other_mistakes_are_not_caught() -> None:
    done = []

    def work() -> None:
        done.append(1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        retry_transient(work)
    assert len(done) == 1


NOWHERE = -1
"""No descriptor: what is asked by it fails, and nothing is added to the sentence."""


def _error_of(root: Path, path: bytes, error: OSError) -> SourceReadError | SourceUnreadableError:
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return to_source_error(root, fd, path, error)
    finally:
        os.close(fd)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refusal_is_said_as_one(number: int) -> None:
    found = to_source_error(Path("/data"), NOWHERE, b"t.tar", OSError(number, os.strerror(number)))
    assert type(found) is SourceUnreadableError
    assert str(found) == "you may not read /data/t.tar."


def test_any_other_error_is_said_with_its_reason() -> None:
    found = to_source_error(
        Path("/data"), NOWHERE, b"a\xff/t", OSError(errno.EIO, os.strerror(errno.EIO))
    )
    assert type(found) is SourceReadError
    assert str(found) == "cannot read /data/a\udcff/t: Input/output error."


def test_the_source_s_own_root() -> None:
    found = to_source_error(Path("/data"), NOWHERE, b"", OSError(errno.EIO, "x"))
    assert str(found) == "cannot read /data: x."


def test_a_file_that_its_owner_has_closed_is_told_how_to_open(tmp_path: Path) -> None:
    closed = tmp_path / "a b.tar"
    closed.touch(mode=0o000)
    error = _error_of(tmp_path, b"a b.tar", PermissionError(errno.EACCES, "no"))
    assert str(error).endswith(f"closed by its mode: chmod u+r '{closed}'.")
    closed.chmod(0o400)
    error = _error_of(tmp_path, b"a b.tar", PermissionError(errno.EACCES, "no"))
    assert str(error) == f"you may not read {closed}."


def test_a_link_to_nothing_is_told_where_it_leads(tmp_path: Path) -> None:
    link = tmp_path / "a b.tar"
    link.symlink_to("/no/such/train.tar")
    gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    assert str(_error_of(tmp_path, b"a b.tar", gone)) == (
        f"cannot read {link}: it is a link to /no/such/train.tar, which is not there on this node; "
        f"link it to where the file is: ln -sfn FILE '{link}'."
    )
    told = str(_error_of(tmp_path, b"none.tar", gone))
    assert told == f"cannot read {tmp_path}/none.tar: No such file or directory."


def test_what_went_away_as_one_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    gone = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    for path, told in ((b"a/x.JPEG", b"a/x.JPEG"), (b"a/b/x.JPEG", b"a/b"), (b"c/b/x.JPEG", b"c")):
        error = _error_of(tmp_path, path, gone)
        assert error.path == told
        assert str(error) == f"cannot read {tmp_path / os.fsdecode(told)}: {gone.strerror}."
