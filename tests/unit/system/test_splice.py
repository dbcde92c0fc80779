"""Bytes of a file into a pipe: exactly so many, or how many there were."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.system.splice import MAX_SPLICE_BYTES, PIPE_BYTES, make_pipe, splice_exactly
from tests.helpers.leaks import descriptors, opened_since

DATA = bytes(range(256)) * 1000


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "file").write_bytes(DATA)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.mark.parametrize(("offset", "length"), [(0, 1), (5, 70_000), (len(DATA) - 7, 7), (9, 0)])
def test_exactly_these_bytes(file: int, pipe: tuple[int, int], offset: int, length: int) -> None:
    assert splice_exactly(file, pipe[1], offset, length) == length
    os.write(pipe[1], b"!")
    assert os.read(pipe[0], 1 << 20) == DATA[offset : offset + length] + b"!"
    assert os.lseek(file, 0, os.SEEK_CUR) == 0


def test_the_kernel_may_hand_on_less_at_a_time(
    file: int, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.splice
    monkeypatch.setattr(
        os, "splice", lambda src, dst, count, offset: real(src, dst, min(count, 999), offset)
    )
    assert splice_exactly(file, pipe[1], 3, 5000) == 5000
    assert os.read(pipe[0], 1 << 20) == DATA[3:5003]


def test_a_file_that_ends_before(file: int, pipe: tuple[int, int]) -> None:
    assert splice_exactly(file, pipe[1], len(DATA) - 10, 11) == 10
    assert splice_exactly(file, pipe[1], len(DATA) + 1, 5) == 0


def test_an_error_says_how_far_it_came(
    file: int, pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.splice, []

    def fail(src: int, dst: int, count: int, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(src, dst, min(count, 100), offset)

    monkeypatch.setattr(os, "splice", fail)
    assert splice_exactly(file, pipe[1], 50, 300) == 100
    assert calls == [50, 150]


def test_what_cannot_be_read(tmp_path: Path, pipe: tuple[int, int]) -> None:
    fd = os.open(tmp_path / "other", os.O_WRONLY | os.O_CREAT)
    assert splice_exactly(fd, pipe[1], 0, 1) == 0
    os.close(fd)


def test_a_pipe_that_holds_what_the_kernel_asks_for() -> None:
    pipe = make_pipe()
    assert pipe is not None
    os.set_blocking(pipe[1], False)
    os.write(pipe[1], b"header")
    data = os.urandom(MAX_SPLICE_BYTES)
    assert os.write(pipe[1], data) == len(data)
    for end in pipe:
        os.close(end)


@pytest.mark.parametrize("call", ["pipe2", "fcntl"])
def test_no_pipe_of_that_size_to_be_had(monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(errno.EPERM, "the user's pipes hold 64 MB")

    monkeypatch.setattr(os if call == "pipe2" else fcntl, call, refuse)
    before = descriptors()
    assert make_pipe() is None
    assert opened_since(before) == {}


def test_a_pipe_that_stays_smaller_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "fcntl", lambda *arguments: PIPE_BYTES // 2)
    assert make_pipe() is None
