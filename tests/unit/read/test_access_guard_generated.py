"""What a worker asks before it answers for a file that is made of several others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.errors import SourceRefusedError
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.source.source import Source


class Backing:
    """Inode 7 is a file that is made of three others."""

    def __init__(self) -> None:
        self.asked = 0

    def paths(self, inode: int) -> Iterator[bytes]:
        self.asked += 1
        yield from ((b"a", b"b", b"c") if inode == 7 else ())


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    source = Source(tmp_path)
    yield source
    source.close()


def test_a_file_that_is_made_is_refused_with_each_that_it_is_of(source: Source) -> None:
    backing = Backing()
    guard = AccessGuard(source, backing)  # type: ignore[arg-type]
    for path in (b"a", b"b", b"c"):
        guard.check(7)
        source.known.refuse(path)
        with pytest.raises(SourceRefusedError):
            guard.check(7)
        guard.check(8)
        source.known.permit(path)
    guard.check(7)


def test_the_paths_are_looked_through_once_a_verdict(source: Source) -> None:
    """Reading winter21's list must not ask for 19,167 paths with each of its pages."""
    backing = Backing()
    guard = AccessGuard(source, backing)  # type: ignore[arg-type]
    guard.check(7)
    assert backing.asked == 0, "nothing is refused"
    source.known.refuse(b"elsewhere")
    for _ in range(100):
        guard.check(7)
    assert backing.asked == 1
    source.known.refuse(b"b")
    for _ in range(100):
        with pytest.raises(SourceRefusedError):
            guard.check(7)
    assert backing.asked == 2


def test_words_are_shown_while_their_file_may_be_read(source: Source) -> None:
    guard = AccessGuard(source, Backing())  # type: ignore[arg-type]
    assert guard.may_show(7, (b"words",))
    source.known.refuse(b"words")
    assert not guard.may_show(7, (b"meta", b"words"))
    assert guard.may_show(7, (b"meta",))
