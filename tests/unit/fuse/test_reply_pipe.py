"""Answers that stand in a pipe until the kernel takes them from there."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.counters import SOURCE_WORDS
from imagenetfs.fuse.channel import Channel
from imagenetfs.fuse.protocol import REPLY
from imagenetfs.fuse.reply_pipe import ReplyPipe, SplicedReply
from imagenetfs.read.backend import MIN_SPLICE_BYTES
from imagenetfs.source.file import SourceFile
from tests.helpers.leaks import descriptors, opened_since


def sent_to(reader: int) -> tuple[int, int, bytes]:
    """(unique, errno, answer) of the one reply that stands in a pipe."""
    data = os.read(reader, 1 << 20)
    length, error, unique = REPLY.unpack_from(data)
    assert length == len(data)
    return unique, -error, data[REPLY.size :]


class Held:
    """What can be spliced, whatever is asked for; ``splice`` is given the pipe."""

    def __init__(self, splice: Callable[[int], bool]) -> None:
        self._splice = splice

    def splice_to(self, pipe: int, offset: int, length: int) -> bool:
        return self._splice(pipe)


def holding(data: bytes) -> Held:
    return Held(lambda pipe: os.write(pipe, data) == len(data))


@pytest.fixture
def device() -> Iterator[tuple[int, int]]:
    """A pipe in the device's place: splice cuts a long message for a socket into many."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
    yield reader, writer
    os.close(reader)
    os.close(writer)


def test_an_answer_by_the_pipe(device: tuple[int, int]) -> None:
    one = Channel(device[1])
    for unique, data in ((1, b"a" * 100_000), (2, b"b"), (3, os.urandom(128 * 1024))):
        answer = one.reply_pipe.fill(unique, holding(data), 0, len(data))
        assert answer == SplicedReply(len(data))
        one.reply(answer)
        assert sent_to(device[0]) == (unique, 0, data)


def test_what_was_spliced_in_part_is_never_sent(device: tuple[int, int]) -> None:
    one = Channel(device[1])

    def fail(pipe: int) -> bool:
        os.write(pipe, b"half of i")
        return False

    before = descriptors()
    assert one.reply_pipe.fill(1, Held(fail), 0, 100) is None
    assert opened_since(before) == {}
    answer = one.reply_pipe.fill(2, holding(b"all"), 0, 3)
    assert answer is not None
    one.reply(answer)
    assert sent_to(device[0]) == (2, 0, b"all")


def test_more_than_the_pipe_holds() -> None:
    """A write to a full pipe would wait for ever: nothing empties it."""
    file = Held(lambda pipe: pytest.fail("spliced"))
    assert ReplyPipe().fill(1, file, 0, 512 * 1024) is None


def test_no_pipe_to_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(flags: int) -> tuple[int, int]:
        asked.append(flags)
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(os, "pipe2", refuse)
    pipe = ReplyPipe()
    for _ in range(3):
        assert pipe.fill(1, holding(b""), 0, 1) is None
    assert len(asked) == 1


# --- a process on this node overwrites the archive in place ---------------------------------------

OLD, NEW = b"o" * MIN_SPLICE_BYTES, b"n" * MIN_SPLICE_BYTES


class Archive:
    """A file of the source, which a writer overwrites without giving it another size."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(OLD)
        os.utime(path, (1, 1))  # so that a write shows, however coarse the file system's clock is
        self._writer = os.open(path, os.O_WRONLY)
        self.file = SourceFile(os.open(path, os.O_RDONLY), os.fsencode(path), [0] * SOURCE_WORDS)

    def overwrite(self) -> None:
        os.pwrite(self._writer, NEW, 0)

    def close(self) -> None:
        self.file.close()
        os.close(self._writer)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    found = Archive(tmp_path / "a.tar")
    yield found
    found.close()


def test_what_was_overwritten_before_the_comparison_is_refused(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S9: also between the splice and the comparison, while the bytes stand in the pipe."""
    pipe, splice = ReplyPipe(), os.splice

    def late(*where: int) -> int:
        done = splice(*where)
        archive.overwrite()
        return done

    monkeypatch.setattr(os, "splice", late)
    assert pipe.fill(1, archive.file, 0, len(OLD)) is None
    monkeypatch.undo()
    assert pipe.fill(2, archive.file, 0, len(OLD)) is None  # and for good


def test_what_is_overwritten_after_the_comparison_cannot_be_seen(
    archive: Archive, device: tuple[int, int]
) -> None:
    """The limit that docs/semantics.md states beside S9: the pipe refers to the archive's pages
    until the kernel takes them. It is that one answer; the next one is refused.
    """
    one = Channel(device[1])
    answer = one.reply_pipe.fill(1, archive.file, 0, len(OLD))
    archive.overwrite()
    assert answer is not None
    one.reply(answer)
    assert sent_to(device[0]) == (1, 0, NEW)
    assert one.reply_pipe.fill(2, archive.file, 0, len(OLD)) is None
