"""One look while nothing is refused, then at the paths behind an inode."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from imagenetfs.errors import SourceRefusedError
from imagenetfs.read.access_guard import AccessGuard
from imagenetfs.source.source import Source
from imagenetfs.tree.source_paths import SourcePaths
from tests.helpers.children import ended, in_child


class Paths:
    """The paths behind some inodes; who was asked for stands in ``asked``."""

    def __init__(self) -> None:
        self.behind = {1: [], 2: [b"a.tar"], 3: [b"a.tar", b"b.tar"], 4: [b"d", b"d/x"]}
        self.asked: list[int] = []

    def paths(self, number: int) -> Iterator[bytes]:
        self.asked.append(number)
        return iter(self.behind[number])


@pytest.fixture
def source(tmp_path: Path) -> Iterator[Source]:
    one = Source(tmp_path)
    yield one
    one.close()


def guard_of(source: Source) -> tuple[AccessGuard, Paths]:
    paths = Paths()
    return AccessGuard(source, cast(SourcePaths, paths)), paths


def test_while_nothing_is_refused_nothing_is_looked_up(source: Source) -> None:
    guard, paths = guard_of(source)
    for number in paths.behind:
        guard.check(number)
    assert paths.asked == []
    assert source.meter[1] == 0


@pytest.mark.parametrize(
    ("refused", "numbers"),
    [(b"a.tar", {2, 3}), (b"b.tar", {3}), (b"d", {4}), (b"d/x", {4}), (b"x.tar", set())],
)
def test_each_path_behind_an_inode_counts(
    source: Source, refused: bytes, numbers: set[int]
) -> None:
    guard, paths = guard_of(source)
    source.known.refuse(refused)
    found = set()
    for number in paths.behind:
        try:
            guard.check(number)
        except SourceRefusedError as error:
            assert refused.decode() in str(error)
            found.add(number)
    assert found == numbers
    assert source.meter[1] == 0


def test_what_is_permitted_again_is_served_again(source: Source) -> None:
    guard, paths = guard_of(source)
    source.known.refuse(b"a.tar")
    source.known.permit(b"a.tar")
    guard.check(2)
    assert paths.asked == []


def test_what_one_process_refuses_all_do(source: Source) -> None:
    guard, _ = guard_of(source)
    assert ended(in_child(lambda: source.known.refuse(b"a.tar"))) == 0
    with pytest.raises(SourceRefusedError):
        guard.check(2)
