"""Unpacking: once for all who ask, right or not at all; kept in the cache, or
given back when it fails.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.cache.block_cache import BlockCache
from imagenetfs.cache.inflated_arrays import InflatedArrays, Job
from imagenetfs.cache.quota import Limits
from imagenetfs.cache.volume import Volume
from imagenetfs.cache.volume_writer import Pieces
from imagenetfs.counters import REQUESTS, SOURCE_WORDS
from imagenetfs.errors import ArchiveError, NoSpaceError, SourceUnreadableError
from imagenetfs.index.archives import Archive, Kind
from imagenetfs.index.arena import Arena
from imagenetfs.index.index import Index
from imagenetfs.source.source import Source
from imagenetfs.system.clock import SYSTEM_CLOCK, Clock
from tests.helpers.block_cache import fresh
from tests.helpers.clocks import FakeClock, RushingClock

DATA = np.random.default_rng(7).integers(0, 256, (3000, 192), dtype=np.uint8)


@pytest.fixture
def index(tmp_path: Path) -> Index:
    source = tmp_path / "source"
    source.mkdir()
    np.savez_compressed(source / "a.npz", data=DATA, labels=np.ones(3000, int))
    archives = [Archive(0, b"a.npz", Kind.NPZ)]
    return Index(Source(source), archives, Arena(1))


def unpacked_of(
    index: Index, directory: Path | None = None, clock: Clock = SYSTEM_CLOCK
) -> InflatedArrays:
    return InflatedArrays(index.source, {0: b"a.npz"}, index.array, directory, clock=clock)


def test_rows_are_numpys(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    unpacked = unpacked_of(index)
    for row in (0, 2999, 17):
        assert unpacked.read(0, row * 192, 192) == DATA[row].tobytes()
    assert caplog.text.count("unpacking a.npz") == 1
    assert caplog.text.count("unpacked a.npz") == 1


@pytest.mark.slow
def test_processes_unpack_once(index: Index) -> None:
    index.container(0)
    unpacked, children = unpacked_of(index), []
    reader, writer = os.pipe()
    for child in range(6):
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                meter = [0] * SOURCE_WORDS
                index.source.count_on(meter)
                index.after_fork()
                unpacked.after_fork()
                right = unpacked.read(0, child * 192, 192) == DATA[child].tobytes()
                os.write(writer, b"x" if meter[REQUESTS] else b"-")
                code = 0 if right else 1
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 6
    assert sorted(os.read(reader, 100)) == sorted(b"-----x"), "one process alone read the source"
    os.close(reader)
    os.close(writer)


def test_what_others_unpack_is_waited_for(index: Index) -> None:
    index.container(0)
    unpacked = unpacked_of(index)
    unpacked.by_others = True
    pid = os.fork()
    if pid == 0:
        unpacked.after_fork()
        os._exit(0 if unpacked.read(0, 192, 192) == DATA[1].tobytes() else 1)
    while not unpacked.asked():
        pass
    assert unpacked.asked() == [Job(0, kept=False)]
    unpacked.unpack(Job(0, kept=False))
    assert os.waitpid(pid, 0)[1] == 0
    assert unpacked.asked() == []


def test_given_up(index: Index) -> None:
    index.container(0)
    unpacked = unpacked_of(index)
    unpacked.by_others = True
    pid = os.fork()
    if pid == 0:
        try:
            unpacked.read(0, 0, 192)
        except Exception as error:
            os._exit(5 if "could not be unpacked" in str(error) else 1)
        os._exit(0)
    while not unpacked.asked():
        pass
    unpacked.give_up(Job(0, kept=False))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 5


@pytest.mark.expects_log("data is damaged: its checksum does not hold")
def test_damage_is_never_served(tmp_path: Path, index: Index) -> None:
    path = tmp_path / "source" / "a.npz"
    whole = bytearray(path.read_bytes())
    array = index.array(0)
    whole[array.place + array.packed - 100] ^= 0xFF
    path.write_bytes(whole)
    # Indexed as it is now: a file that changes behind its table is refused before it is read.
    unpacked = unpacked_of(Index(Source(path.parent), index.archives, Arena(1)))
    for _ in range(2):
        with pytest.raises(ArchiveError, match="see the log"):
            unpacked.read(0, 0, 192)
    assert unpacked.scratch.used < DATA.nbytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root mounts a tmpfs")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", place], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", place], check=True)


@pytest.mark.expects_log("point --cache-dir or TMPDIR to a directory on this")
def test_no_room(index: Index, small_disk: Path) -> None:
    unpacked = unpacked_of(index, small_disk)
    with pytest.raises(NoSpaceError, match=r"--cache-dir or TMPDIR"):
        unpacked.read(0, 0, 192)
    assert unpacked.scratch.used == 0


@pytest.mark.expects_log(
    "cannot be written to: No such file or directory",
    "point --cache-dir or TMPDIR to a directory on this",
)
def test_no_directory(index: Index, tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError, match="576,000 bytes"):
        unpacked_of(index, tmp_path / "missing").read(0, 0, 192)


def test_how_far_it_is_can_be_seen_while_it_is_under_way(
    index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked, seen = unpacked_of(index, clock=FakeClock()), list[tuple[int, int]]()
    write = unpacked.scratch.write

    def look(at: int, piece: bytes) -> None:
        write(at, piece)
        [one] = unpacked.under_way()
        assert (one.title, one.seconds) == ("a.npz", 0.0)
        seen.append((one.done, one.size))

    monkeypatch.setattr(unpacked.scratch, "write", look)
    assert unpacked.under_way() == []
    unpacked.read(0, 0, 192)
    assert unpacked.under_way() == []
    assert {size for _, size in seen} == {index.array(0).size}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_long_work_tells_how_far_it_is(index: Index, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    unpacked_of(index, clock=RushingClock(11.0)).read(0, 0, 192)
    assert "unpacking a.npz: 100 %" in caplog.text


@pytest.mark.expects_log(
    "cannot be written to: No such file or directory",
    "point --cache-dir or TMPDIR to a directory on this",
)
def test_what_failed_is_tried_again_after_ten_seconds(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, tries = FakeClock(), []
    unpacked = unpacked_of(index, tmp_path / "missing", clock)
    for seconds in (0.0, 9.9, 0.2):
        clock.advance(seconds)
        with pytest.raises(NoSpaceError):
            unpacked.read(0, 0, 192)
        tries.append(caplog.text.count("there is no room"))
    assert tries == [1, 1, 2]


# --- into the cache -------------------------------------------------------------------------------

VOLUME = Volume(b"k" * 32, DATA.nbytes, {"archive": "a.npz"})


def kept_in(cache: BlockCache, index: Index) -> InflatedArrays:
    def keep(archive: int, pieces: Pieces, moved: Callable[[], None]) -> None:
        cache.writer().write(VOLUME, pieces, moved)

    return InflatedArrays(index.source, {0: b"a.npz"}, index.array, keep=keep)


@pytest.mark.expects_log("you may not read a.npz")
def test_what_was_closed_is_refused_until_it_is_opened(
    index: Index, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As the file itself is: EACCES, told once; and at once no more when the rights are back."""
    index.container(0)
    unpacked = unpacked_of(index)

    def refuse(path: bytes) -> NoReturn:
        raise SourceUnreadableError("you may not read a.npz.", path)

    with monkeypatch.context() as closed:
        closed.setattr(index.source, "opened", refuse)
        for _ in range(3):
            with pytest.raises(SourceUnreadableError, match="you may not read"):
                unpacked.read(0, 0, 192)
    assert caplog.text.count("you may not read a.npz") == 1
    assert unpacked.read(0, 0, 192) == DATA[0].tobytes()


def test_the_cache_has_it_for_the_next_mount(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for mount in range(2):
        cache = fresh(tmp_path / "cache")
        unpacked = kept_in(cache, index)
        assert unpacked.keep(0, unpacked.kept_at(0))
        assert cache.read_if_cached(VOLUME, ByteRange.sized(192, 192)) == DATA[1].tobytes()
        assert unpacked.was_brought(0) == (mount == 0)
        assert not unpacked.has(0)
        assert unpacked.scratch.used == 0
    assert caplog.text.count("unpacking a.npz (576000 bytes) into the cache") == 1
    assert caplog.text.count("unpacked a.npz") == 1


def test_what_was_unpacked_meanwhile_is_not_asked_for_again(index: Index, tmp_path: Path) -> None:
    unpacked = kept_in(fresh(tmp_path / "cache"), index)
    seen = unpacked.kept_at(0)
    assert unpacked.keep(0, seen)
    unpacked.by_others = True  # who asks now waits for somebody
    assert unpacked.keep(0, seen)
    assert unpacked.asked() == []


@pytest.mark.expects_log("is unpacked for this mount alone, into")
def test_what_the_cache_does_not_take_is_unpacked_for_this_mount(
    index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    unpacked = kept_in(fresh(tmp_path / "cache", Limits(300_000, 0)), index)
    for _ in range(2):
        assert not unpacked.keep(0, unpacked.kept_at(0))
    assert not unpacked.has(0)
    assert unpacked.read(0, 192, 192) == DATA[1].tobytes()
    assert unpacked.has(0)
    assert caplog.text.count("a.npz is unpacked for this mount alone") == 1
    assert "the cache has no room for it" in caplog.text


@pytest.mark.expects_log("is unpacked for this mount alone, into")
def test_a_cache_that_fails(index: Index, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = fresh(tmp_path / "cache")
    (tmp_path / "cache" / "unpacking").mkdir()
    unpacked = kept_in(cache, index)
    assert not unpacked.keep(0, unpacked.kept_at(0))
    assert unpacked.read(0, 0, 192) == DATA[0].tobytes()
    assert "the cache fails (Is a directory)" in caplog.text


@pytest.mark.expects_log("data is damaged: its checksum does not hold")
def test_damage_is_never_kept(tmp_path: Path, index: Index) -> None:
    path = tmp_path / "source" / "a.npz"
    whole = bytearray(path.read_bytes())
    array = index.array(0)
    whole[array.place + array.packed - 100] ^= 0xFF
    path.write_bytes(whole)
    cache = fresh(tmp_path / "cache")
    unpacked = kept_in(cache, Index(Source(path.parent), index.archives, Arena(1)))
    for _ in range(2):
        with pytest.raises(ArchiveError, match="see the log"):
            unpacked.keep(0, unpacked.kept_at(0))
    assert list(cache._directory.segments()) == []
