"""What a cache holds, for people: listed, verified, cleared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.cache.directory import CacheDirectory, prepare, segment_name
from imagenetfs.cache.inventory import VolumeUsage, clear, list_volumes, verify
from imagenetfs.cache.segment import BLOCK, Segment, SegmentPath, Verified
from imagenetfs.cache.segment_file import make_segment
from tests.helpers.leaks import descriptors, opened_since

DATA_AT = 4096 + (1 << 14) * 16
"""Where a segment's first block stands in its file."""

Tell = list[tuple[int, int]]


class Directory(CacheDirectory):
    """It closes what a test has put into it, too."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.opened: list[Segment] = []

    def close(self) -> None:
        for segment in self.opened:
            segment.close()
        super().close()


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Directory]:
    prepare(tmp_path / "cache")
    one = Directory(tmp_path / "cache")
    yield one
    one.close()


def held(
    directory: Directory,
    letter: bytes,
    blocks: list[bytes],
    number: int = 0,
    **about: object,
) -> Segment:
    """A segment of the volume of this letter that holds these blocks; it stays open."""
    key = letter * 32
    name = segment_name(key, number)
    facts = {"source": "/s", "version": "v", "archive": letter.decode(), "size": 9 * BLOCK, **about}
    place = SegmentPath(directory.fd, name, key, number, 9 * BLOCK)
    segment = make_segment(place, facts, Verified())
    directory.opened.append(segment)
    for at, block in enumerate(blocks):
        segment.write(at, block)
    return segment


def full(letter: bytes) -> bytes:
    return letter * BLOCK


def path_of(directory: Directory, letter: bytes, number: int = 0) -> Path:
    return directory.path / segment_name(letter * 32, number)


def damage(path: Path, block: int) -> None:
    with path.open("r+b") as file:
        file.seek(DATA_AT + block * BLOCK + 100)
        file.write(b"?")


# --- listed ---------------------------------------------------------------------------------------


def test_nothing_in_it(directory: Directory) -> None:
    assert list_volumes(directory) == []


def test_a_volume_is_the_sum_of_its_segments(directory: Directory) -> None:
    first = held(directory, b"a", [full(b"x"), b"end"])
    second = held(directory, b"a", [full(b"y")], number=3)
    first.count(5, 2, 700)
    second.count(1, 1, 30)
    os.utime(path_of(directory, b"a"), (1, 50))
    os.utime(path_of(directory, b"a", 3), (1, 40))
    (found,) = list_volumes(directory)
    allocated = sum(path.stat().st_blocks * 512 for path in directory.path.iterdir())
    names = [segment_name(b"a" * 32, number) for number in (0, 3)]
    assert found == VolumeUsage(
        *("/s", "v", "a", 9 * BLOCK),
        bytes=2 * BLOCK + 3,
        allocated=allocated,
        used=50.0,
        hits=6,
        misses=3,
        saved=730,
        names=names,
    )


def test_they_stand_by_version_and_archive(directory: Directory) -> None:
    for letter, version in ((b"c", "2"), (b"a", "2"), (b"b", "1"), (b"d", "10")):
        held(directory, letter, [], version=version)
    found = [(one.version, one.archive) for one in list_volumes(directory)]
    assert found == [("1", "b"), ("10", "d"), ("2", "a"), ("2", "c")]


def test_what_is_no_segment_takes_room_all_the_same(directory: Directory) -> None:
    path_of(directory, b"a").write_bytes(b"x" * 8192)
    path_of(directory, b"b").write_bytes(b"")
    found = list_volumes(directory)
    assert [(one.source, one.archive, one.bytes) for one in found] == [("?", "?", 0)] * 2
    assert sum(one.allocated for one in found) >= 8192


def test_a_segment_under_a_name_that_is_not_its_own_holds_nothing(
    directory: Directory,
) -> None:
    held(directory, b"a", [full(b"x")])
    path_of(directory, b"a").rename(path_of(directory, b"b"))
    (found,) = list_volumes(directory)
    assert (found.archive, found.bytes) == ("?", 0)


def test_nothing_stays_open(directory: Directory) -> None:
    held(directory, b"a", [full(b"x")])
    path_of(directory, b"b").write_bytes(b"")
    before = descriptors()
    list_volumes(directory)
    verify(directory, lambda done, total: None)
    assert opened_since(before) == {}


# --- verified -------------------------------------------------------------------------------------


def test_what_is_right_stays(directory: Directory) -> None:
    held(directory, b"a", [full(b"x"), full(b"y"), b"z"])
    held(directory, b"b", [full(b"x")])
    held(directory, b"c", [])
    told: Tell = []
    verdict = verify(directory, lambda done, total: told.append((done, total)))
    assert (verdict.right, verdict.wrong, verdict.files) == (4, 0, 0)
    assert len(told) == 4
    totals = {total for _, total in told}
    assert totals == {sum(path.stat().st_blocks * 512 for path in directory.path.iterdir())}
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert list_volumes(directory)[0].bytes == 2 * BLOCK + 1


@pytest.mark.parametrize("block", [0, 1, 2])
def test_a_wrong_block_goes_and_no_other(directory: Directory, block: int) -> None:
    contents = [full(b"x"), full(b"y"), full(b"z")]
    segment = held(directory, b"a", contents)
    damage(path_of(directory, b"a"), block)
    verdict = verify(directory, lambda done, total: None)
    assert (verdict.right, verdict.wrong, verdict.files) == (2, 1, 0)
    assert [at for at, _ in segment.present(0, 9)] == [at for at in range(3) if at != block]
    again = verify(directory, lambda done, total: None)
    assert (again.right, again.wrong) == (2, 0)


def test_a_wrong_block_that_another_process_has_locked_is_left_to_it(
    directory: Directory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be about to write it."""
    monkeypatch.setattr("imagenetfs.cache.segment._PATIENCE_SECONDS", 0.0)
    segment = held(directory, b"a", [full(b"x")])
    damage(path_of(directory, b"a"), 0)
    with segment.locked(0, 1) as had:
        assert had
        verdict = verify(directory, lambda done, total: None)
    assert (verdict.right, verdict.wrong) == (0, 1)
    assert segment.present(0, 9) == [(0, BLOCK)]


def test_a_file_that_is_no_segment_goes(directory: Directory) -> None:
    path_of(directory, b"a").write_bytes(b"x" * 8192)
    path_of(directory, b"b").write_bytes(b"")
    held(directory, b"c", [full(b"x")])
    os.truncate(path_of(directory, b"c"), DATA_AT)
    held(directory, b"d", [full(b"x")])
    verdict = verify(directory, lambda done, total: None)
    assert (verdict.right, verdict.wrong, verdict.files) == (1, 0, 3)
    assert [path.name for path in directory.path.iterdir()] == [segment_name(b"d" * 32, 0)]


# --- cleared --------------------------------------------------------------------------------------


def test_what_is_wanted_goes_with_all_of_its_segments(directory: Directory) -> None:
    held(directory, b"a", [full(b"x")])
    held(directory, b"a", [full(b"x")], number=1)
    held(directory, b"b", [full(b"x")])
    (directory.path / "used").write_bytes(b"")
    sizes = {path.name: path.stat().st_blocks * 512 for path in directory.path.iterdir()}
    asked: list[str] = []

    def wanted(one: VolumeUsage) -> bool:
        asked.append(one.archive)
        return one.archive == "a"

    freed = clear(directory, wanted)
    assert asked == ["a", "b"]
    assert freed == sum(sizes[segment_name(b"a" * 32, number)] for number in (0, 1))
    left = sorted(path.name for path in directory.path.iterdir())
    assert left == [segment_name(b"b" * 32, 0), "used"]
    assert clear(directory, lambda one: False) == 0
