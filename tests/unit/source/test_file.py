"""One open file of the source: exact bytes or an error, and what it counts."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from imagenetfs.counters import (
    BYTES,
    LATENCY,
    LATENCY_BUCKETS,
    REQUESTS,
    SINCE,
    SOURCE_WORDS,
    SPENT,
)
from imagenetfs.errors import SourceChangedError, SourceReadError, SourceUnreadableError
from imagenetfs.source import retry
from imagenetfs.source.file import Reopen, SourceFile

DATA = bytes(range(256)) * 40


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "PAUSES", (0.0,) * 3)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "file").write_bytes(DATA)
    return tmp_path / "file"


Open = Callable[..., SourceFile]


@pytest.fixture
def opened(path: Path) -> Iterator[Open]:
    """``opened(reopen)``: the file, open."""
    files: list[SourceFile] = []

    def make(reopen: Reopen | None = None) -> SourceFile:
        files.append(SourceFile(os.open(path, os.O_RDONLY), b"a/file", [0] * SOURCE_WORDS, reopen))
        return files[-1]

    yield make
    for file in files:
        file.close()


def failing(monkeypatch: pytest.MonkeyPatch, number: int, times: int) -> Callable[[], int]:
    """Let pread fail so many times; the call returns how often it was asked."""
    real, asked = os.pread, 0

    def fail(fd: int, length: int, offset: int) -> bytes:
        nonlocal asked
        asked += 1
        if asked <= times:
            raise OSError(number, os.strerror(number))
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", fail)
    return lambda: asked


# --- reading --------------------------------------------------------------------------------------


def test_it_knows_what_it_was_when_it_was_opened(opened: Open, path: Path) -> None:
    file, status = opened(), path.stat()
    assert (file.size, file.mtime_ns, file.mode) == (
        len(DATA),
        status.st_mtime_ns,
        status.st_mode,
    )
    assert file.identity == (
        *(status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns),
    )
    assert file.revalidate_at == float("inf")
    assert not file.has_changed()


def counts(file: SourceFile) -> list[int]:
    """The words of its meter before those that say how long requests took."""
    return [file.meter[word] for word in range(LATENCY)]


@pytest.mark.parametrize(
    ("offset", "length"), [(0, 0), (0, 1), (5, 100), (0, len(DATA)), (len(DATA) - 1, 1)]
)
def test_exactly_these_bytes(opened: Open, offset: int, length: int) -> None:
    file = opened()
    assert file.read(offset, length) == DATA[offset : offset + length]
    assert counts(file) == [0, 1, length, 0]


@pytest.mark.parametrize("answer", ["cached", errno.EAGAIN, errno.EOPNOTSUPP, "memory", "half"])
def test_a_head_comes_with_what_follows_in_one_request(
    opened: Open, monkeypatch: pytest.MonkeyPatch, answer: str | int
) -> None:
    """Whether the kernel has the head, has not, cannot say, or has a part of it; a file system that
    is memory is asked twice, for there is no request.
    """
    asked: list[tuple[int, int]] = []
    real, real_vector = os.pread, os.preadv

    def noted(fd: int, length: int, offset: int) -> bytes:
        asked.append((offset, length))
        return real(fd, length, offset)

    def kept(fd: int, buffers: tuple[bytearray], offset: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        if answer == "memory":
            raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
        return real_vector(fd, buffers, offset) if answer == "cached" else len(buffers[0]) // 2

    monkeypatch.setattr(os, "pread", noted)
    monkeypatch.setattr(os, "preadv", kept)
    monkeypatch.setattr("imagenetfs.source.file.is_in_memory", lambda _: answer == "memory")
    file = opened()
    for offset in (0, 700):
        head, rest = file.read_with_head(offset, 512, 1000)
        assert (head, rest) == (DATA[offset : offset + 512], DATA[offset + 512 : offset + 1512])
    where = [(512, 1000)] if answer in ("cached", "memory") else [(0, 1512)]
    if answer == "memory":
        where.insert(0, (0, 512))
    assert asked == [(at + more, length) for more in (0, 700) for at, length in where]
    assert file.meter[REQUESTS] == 2
    with pytest.raises(SourceChangedError):
        file.read_with_head(len(DATA) - 512, 512, 1)


def test_beyond_the_end(opened: Open) -> None:
    file = opened()
    assert file.read_up_to(len(DATA) - 3, 100) == DATA[-3:]
    assert file.read_up_to(len(DATA) + 3, 100) == b""
    assert file.meter[BYTES] == 3
    with pytest.raises(SourceChangedError, match="a/file ended at byte 10,240 although it had"):
        file.read(len(DATA) - 3, 4)


@pytest.mark.parametrize("most", [1, 7, 511])
def test_short_answers_are_completed_and_are_one_request(
    opened: Open, monkeypatch: pytest.MonkeyPatch, most: int
) -> None:
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda fd, length, at: real(fd, min(length, most), at))
    file = opened()
    assert file.read(3, 1500) == DATA[3:1503]
    assert counts(file) == [0, 1, 1500, 0]


def test_it_is_seen_to_be_reading(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    file, real, seen = opened(), os.pread, []

    def look(fd: int, length: int, offset: int) -> bytes:
        seen.append(file.meter[SINCE])
        return real(fd, length, offset)

    monkeypatch.setattr(os, "pread", look)
    file.read(0, 10)
    assert seen[0] > 0
    assert file.meter[SINCE] == 0


@pytest.mark.parametrize("took", [0, 1, 5, 2**20, 2**62])
def test_how_long_a_request_took_is_counted(
    opened: Open, monkeypatch: pytest.MonkeyPatch, took: int
) -> None:
    """Read or spliced: each once, in its bucket, and all in the sum."""
    file, times = opened(), iter([100, 100 + took] * 2)
    monkeypatch.setattr(file, "_clock", SimpleNamespace(monotonic_ns=lambda: next(times)))
    file.read_up_to(0, 10)
    reader, writer = os.pipe()
    assert file.splice_to(writer, 0, 10)
    os.close(reader)
    os.close(writer)
    latency = [file.meter[LATENCY + bucket] for bucket in range(LATENCY_BUCKETS)]
    assert latency.pop(took.bit_length()) == 2
    assert not any(latency)
    assert file.meter[SPENT] == 2 * took


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.ETIMEDOUT])
def test_errors_that_pass_are_tried_again_from_a_new_opening(
    opened: Open, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    again: list[SourceFile] = []
    file = opened(again.append)
    asked = failing(monkeypatch, number, 3)
    assert file.read(100, 50) == DATA[100:150]
    assert asked() == 4
    assert again == [file] * 3
    assert counts(file) == [0, 1, 50, 0]


def test_not_for_ever(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    file = opened()
    asked = failing(monkeypatch, errno.EIO, 99)
    with pytest.raises(SourceReadError, match=r"cannot read a/file at byte 1,000: Input/output"):
        file.read(1000, 5)
    assert asked() == 4
    assert file.meter[SINCE] == 0


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refusal_is_final(opened: Open, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    file = opened()
    asked = failing(monkeypatch, number, 99)
    with pytest.raises(SourceUnreadableError, match=r"you may no longer read a/file\."):
        file.read(0, 5)
    assert asked() == 1


def test_another_file_at_the_path_ends_the_attempts(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: SourceFile) -> None:
        raise SourceChangedError("another file stands there")

    file = opened(refuse)
    asked = failing(monkeypatch, errno.ESTALE, 99)
    with pytest.raises(SourceChangedError, match="another file"):
        file.read(0, 5)
    assert asked() == 1


def test_an_empty_answer_before_the_end_is_an_error_that_passes(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = opened()
    answers = iter([DATA[:10], b"", DATA[:10], DATA[10:20]])
    monkeypatch.setattr(os, "pread", lambda fd, length, offset: next(answers))
    assert file.read(0, 20) == DATA[:20]


# --- a file that changes --------------------------------------------------------------------------


CHANGES: list[Callable[[Path], None]] = [
    lambda path: os.utime(path, (1, 1)),
    lambda path: path.chmod(0o600),
    lambda path: os.truncate(path, 5000),
    lambda path: path.unlink(),
]


@pytest.mark.parametrize("change", CHANGES, ids=["touched", "mode", "cut", "unlinked"])
def test_a_change_is_seen_after_the_bytes_and_asked_about(
    opened: Open, path: Path, change: Callable[[Path], None]
) -> None:
    asked: list[SourceFile] = []
    file = opened(asked.append)
    change(path)
    assert file.has_changed()
    assert file.read(0, 100) == DATA[:100]  # whoever was asked has nothing against it
    assert asked == [file]
    assert file.read_up_to(0, 100) == DATA[:100]
    assert asked == [file]
    assert file.meter[SINCE] == 0


def test_nothing_is_given_out_of_another_file(opened: Open, path: Path) -> None:
    def refuse(file: SourceFile) -> None:
        raise SourceChangedError("another file stands there")

    file = opened(refuse)
    os.utime(path, (1, 1))
    with pytest.raises(SourceChangedError, match="another file"):
        file.read(0, 10)
    assert file.meter[SINCE] == 0


@pytest.mark.parametrize(
    ("number", "error"), [(errno.EACCES, SourceUnreadableError), (errno.ENOENT, SourceReadError)]
)
def test_a_path_that_cannot_be_looked_at_again(
    opened: Open, path: Path, number: int, error: type[Exception]
) -> None:
    def fail(file: SourceFile) -> None:
        raise OSError(number, os.strerror(number))

    file = opened(fail)
    os.utime(path, (1, 1))
    with pytest.raises(error):
        file.read(0, 10)
    assert file.meter[SINCE] == 0


def test_another_opening_takes_its_place(opened: Open, path: Path) -> None:
    file = opened()
    os.utime(path, (1, 1))
    newer = SourceFile(os.open(path, os.O_RDONLY), b"a/file", file.meter)
    number = file.fd
    file.replace(newer)
    newer.close()
    assert file.fd == number
    assert not os.get_inheritable(file.fd)
    assert (file.identity, file.mtime_ns) == (newer.identity, 1_000_000_000)
    assert not file.has_changed()
    assert file.read(5, 5) == DATA[5:10]


def test_a_descriptor_that_is_none_has_changed(path: Path) -> None:
    file = SourceFile(os.open(path, os.O_RDONLY), b"x", [0] * SOURCE_WORDS)
    file.close()
    assert file.has_changed()
    file.hint(0, 10)


# --- without a copy -------------------------------------------------------------------------------


def test_bytes_are_poured_and_counted(opened: Open, pipe: tuple[int, int]) -> None:
    file = opened()
    assert file.splice_to(pipe[1], 100, 5000)
    assert os.read(pipe[0], 1 << 16) == DATA[100:5100]
    assert counts(file) == [0, 1, 5000, 0]


def test_what_is_not_all_there_is_not_poured(opened: Open, pipe: tuple[int, int]) -> None:
    file = opened()
    assert not file.splice_to(pipe[1], len(DATA) - 10, 11)
    assert counts(file) == [0, 1, 10, 0]


def test_what_has_changed_is_not_poured(opened: Open, path: Path, pipe: tuple[int, int]) -> None:
    file = opened()
    os.utime(path, (1, 1))
    assert not file.splice_to(pipe[1], 0, 10)
    assert file.meter[REQUESTS] == 1
