"""Room in a nameless file that processes share."""

from __future__ import annotations

import errno
import os
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from imagenetfs.cache.scratch_file import ScratchFile
from imagenetfs.system.process import is_waiting
from tests.helpers.children import ended, in_child
from tests.helpers.forked import answer, wait_until


@pytest.fixture
def scratch(tmp_path: Path) -> ScratchFile:
    return ScratchFile(tmp_path)


def test_it_has_no_name(scratch: ScratchFile, tmp_path: Path) -> None:
    scratch.write(scratch.reserve(100), b"x")
    assert list(tmp_path.iterdir()) == []
    assert not os.get_inheritable(scratch._fd)


def test_what_is_written_is_read(scratch: ScratchFile) -> None:
    first, second = scratch.reserve(5000), scratch.reserve(1)
    scratch.write(first, b"a" * 5000)
    scratch.write(second, b"b")
    assert scratch.read(first, 5000) == b"a" * 5000
    assert scratch.read(first + 4990, 10) == b"a" * 10
    assert scratch.read(second, 1) == b"b"
    assert scratch.read(second, 10) == b"b"  # the end of the file
    assert scratch.read(second + 100, 10) == b""


def test_pieces_are_written_to_their_end(
    scratch: ScratchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, offset = os.pwrite, scratch.reserve(1000)
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: real(fd, data[:7], at))
    scratch.write(offset, bytes(range(200)) * 5)
    assert scratch.read(offset, 1000) == bytes(range(200)) * 5


def test_each_has_room_of_its_own_from_a_page_on(scratch: ScratchFile) -> None:
    lengths = (1, 4096, 4097, 0, 10, 3)
    places = [(scratch.reserve(length), length) for length in lengths]
    assert all(at % 4096 == 0 for at, _ in places)
    ends = sorted((at, at + length) for at, length in places if length)
    assert all(first[1] <= second[0] for first, second in pairwise(ends))


def test_room_is_taken_on_disk_and_given_back(scratch: ScratchFile) -> None:
    kept = scratch.reserve(8192)
    assert scratch.used >= 8192
    scratch.write(kept, b"k" * 8192)
    before = scratch.used
    given = scratch.reserve(1 << 20)
    assert scratch.used >= before + (1 << 20)
    scratch.punch_hole(given, 1 << 20)
    assert scratch.used == before
    assert scratch.read(kept, 8192) == b"k" * 8192
    assert scratch.reserve(10) >= given + (1 << 20)


def test_more_than_the_disk_has_is_refused_before_it_is_tried(
    scratch: ScratchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = os.fstat(scratch._fd).st_size
    with pytest.raises(OSError, match="No space left") as caught:
        scratch.reserve(1 << 60)
    assert caught.value.errno == errno.ENOSPC
    assert os.fstat(scratch._fd).st_size == size


def test_a_disk_that_fills_meanwhile_keeps_nothing_of_it(
    scratch: ScratchFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.posix_fallocate

    def half(fd: int, offset: int, length: int) -> None:
        real(fd, offset, length // 2)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", half)
    with pytest.raises(OSError, match="No space left"):
        scratch.reserve(1 << 20)
    assert scratch.used == 0


@pytest.mark.expects_log("cannot be written to: No such file or directory")
def test_where_the_directory_cannot_be_written_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = ScratchFile(tmp_path / "nothing")
    assert f"{tmp_path / 'nothing'} cannot be written to: No such file" in caplog.text
    assert one.used == 0
    with pytest.raises(OSError, match="No space left"):
        one.reserve(1)
    one.after_fork()
    with one.locked(5):
        pass


def test_processes_reserve_apart_and_see_each_others_bytes(scratch: ScratchFile) -> None:
    def child(letter: bytes) -> list[int]:
        scratch.after_fork()
        places = [scratch.reserve(100) for _ in range(20)]
        for at in places:
            scratch.write(at, letter * 100)
        return places

    held = {letter: answer(partial(child, letter)) for letter in (b"a", b"b")}
    places = [at for some in held.values() for at in some]
    assert len(set(places)) == 40
    assert all(scratch.read(at, 100) == letter * 100 for letter in held for at in held[letter])


@pytest.mark.slow
def test_processes_that_reserve_at_once_get_room_apart(scratch: ScratchFile) -> None:
    def child(letter: int) -> None:
        scratch.after_fork()
        for _ in range(200):
            at = scratch.reserve(8)
            assert scratch.read(at, 8) == bytes(8)
            scratch.write(at, bytes([letter]) * 8)

    children = [in_child(partial(child, letter)) for letter in range(1, 5)]
    assert [ended(pid) for pid in children] == [0] * 4
    size = os.fstat(scratch._fd).st_size
    counts = [scratch.read(at, 8)[0] for at in range(0, size, 4096)]
    assert {letter: counts.count(letter) for letter in range(1, 5)} == dict.fromkeys(
        range(1, 5), 200
    )


def test_a_lock_excludes_other_processes_that_opened_anew(scratch: ScratchFile) -> None:
    reader, writer = os.pipe()

    def child() -> None:
        scratch.after_fork()
        os.write(writer, b"!")
        with scratch.locked(7):
            os.write(writer, b"!")

    with scratch.locked(7):
        pid = in_child(child)
        assert os.read(reader, 1) == b"!"
        wait_until(lambda: is_waiting(pid))
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    assert ended(pid) == 0
    assert os.read(reader, 1) == b"!"
    with scratch.locked(7), scratch.locked(8):  # other bytes are other locks
        pass
    os.close(reader)
    os.close(writer)


def test_a_lock_is_released_where_it_fails(scratch: ScratchFile) -> None:
    with pytest.raises(ZeroDivisionError), scratch.locked(7):
        raise ZeroDivisionError

    def child() -> bool:
        scratch.after_fork()
        with scratch.locked(7):
            return True

    assert answer(child) is True
