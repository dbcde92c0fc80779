"""The index: tables on demand, once for all processes, from files that are still true."""

from __future__ import annotations

import errno
import logging
import os
import signal
import stat
import time
from functools import partial
from pathlib import Path

import pytest

from imagenetfs.byte_range import ByteRange
from imagenetfs.counters import Counter
from imagenetfs.errors import ArchiveError, NoEntryError, SourceReadError
from imagenetfs.fuse.stats import SharedStats
from imagenetfs.index.archives import OUTER, Kind
from imagenetfs.index.bulk_build import save
from imagenetfs.index.index import Index
from tests.helpers.archives import (
    Scans,
    class_tar,
    contents,
    forget_files,
    image,
    index_of,
    tar_of,
    tar_table,
    train_tar,
)
from tests.helpers.children import ended, in_child
from tests.helpers.system_calls import patch_os

pytestmark = pytest.mark.usefixtures("no_fsync")


# --- what is in it --------------------------------------------------------------------------------


def test_a_tar_of_class_tars(tmp_path: Path) -> None:
    (tmp_path / "train.tar").write_bytes(train_tar(3, 4))
    scans = Scans()
    index = index_of(tmp_path, "train.tar", scan=scans)
    assert list(tar_table(index, 0).names()) == [b"n%08d.tar" % n for n in (1, 2, 3)]
    assert len(scans.extents) == 1
    assert index.nested(0).tolist() == [0, 1, 2]
    assert not index.known(0, 1)
    assert contents(index, 0, 1) == {
        b"n00000002_%d.JPEG" % k: image(200 + k, 600 + k) for k in range(4)
    }
    assert index.known(0, 1)
    assert len(scans.extents) == 2
    assert index.container(0, 1).members is index.container(0, 1).members
    assert index.title(0, 1) == "train.tar: n00000002.tar"


def test_a_directory_of_class_directories(tmp_path: Path) -> None:
    for number in (1, 2):
        below = tmp_path / "train" / f"n{number:08d}" / "deep"
        below.mkdir(parents=True)
        (below / "x.JPEG").write_bytes(image(number))
        (below.parent / "y.JPEG").write_bytes(image(number + 10))
    (tmp_path / "train" / "link").symlink_to("n00000001")
    (tmp_path / "train" / "n3.tar").write_bytes(class_tar(3))
    index = index_of(tmp_path, "train")
    assert list(tar_table(index, 0).names()) == [
        b"link",
        b"n00000001",
        b"n00000002",
        b"n3.tar",
    ]
    assert index.nested(0).tolist() == [1, 2, 3]
    assert contents(index, 0, 1) == {b"deep/x.JPEG": image(2), b"y.JPEG": image(12)}
    assert contents(index, 0, 2)[b"n00000003_0.JPEG"] == image(300, 600)
    members = index.container(0).members
    assert members.links[0] == b"n00000001"
    assert stat.S_ISLNK(members.mode(0))


def test_numbers_that_there_are_not(tmp_path: Path) -> None:
    (tmp_path / "train.tar").write_bytes(train_tar(2))
    index = index_of(tmp_path, "train.tar")
    for archive, inner in ((1, OUTER), (-1, OUTER), (0, 2), (0, -2), (7, 7)):
        with pytest.raises(NoEntryError):
            index.container(archive, inner)
    assert not index.known(9)


@pytest.mark.expects_log("bytes, cut off by the end; whole before that")
def test_a_broken_tar_serves_its_whole_members(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = tar_of({f"{n}.JPEG": image(n, 2000) for n in range(5)})
    (tmp_path / "x.tar").write_bytes(data[: 3 * 2560 + 700])
    index = index_of(tmp_path, "x.tar")
    assert contents(index, 0) == {b"%d.JPEG" % n: image(n, 2000) for n in range(3)}
    assert "7,680" in (index.container(0).members.problem or "")
    assert "x.tar is broken at byte 7,680" in caplog.text
    assert caplog.text.count("is broken") == 1
    assert index.check(0)


@pytest.mark.expects_log("no tar header here: its checksum does not hold;")
def test_a_broken_class_tar_names_its_offset_in_the_file(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bad = bytearray(class_tar(2))
    bad[1536 + 100] ^= 1
    (tmp_path / "t.tar").write_bytes(tar_of({"n1.tar": class_tar(1), "n2.tar": bytes(bad)}))
    index = index_of(tmp_path, "t.tar")
    assert len(index.container(0, 1).members) == 2  # all but the one whose header is damaged
    at = index.extent(0, 1).start + 1536
    assert f"t.tar: n2.tar is broken at byte 1,536 (byte {at:,} of t.tar)" in caplog.text
    assert index.container(0, 0).members.problem is None


@pytest.mark.expects_log(
    "bytes are no tar archive, it has", "no tar header here: its checksum does not hold;"
)
def test_check_reads_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3, 3))
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)
    assert index.check(0) is None
    assert scans.extents == []
    (tmp_path / "garbage.tar").write_bytes(b"no tar" * 1000)
    (tmp_path / "empty.tar").write_bytes(b"")
    other = index_of(tmp_path, "garbage.tar", "empty.tar")
    assert other.check(0)
    assert other.check(1)


def test_a_failed_build_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(class_tar(1))
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)

    def fail(start: int) -> None:
        raise SourceReadError("not now")

    scans.before = fail
    with pytest.raises(SourceReadError):
        index.container(0)
    assert not index.known(0)
    scans.before = lambda start: None
    assert len(index.container(0).members) == 3


def test_several_processes_build_each_container_once(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(12, 5))
    log = os.open(tmp_path / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    scans = Scans()
    scans.before = lambda start: os.write(log, b"%d\n" % start)
    index = index_of(tmp_path, "t.tar", scan=scans)

    def build(turn: int) -> None:
        index.after_fork()
        for n in range(12):
            assert len(index.container(0, (n + turn) % 12).members) == 5

    children = [in_child(partial(build, turn)) for turn in (0, 3, 6)]
    assert [ended(pid) for pid in children] == [0, 0, 0]
    starts = (tmp_path / "log").read_text().split()
    assert len(starts) == len(set(starts)) == 13
    assert all(index.known(0, inner) for inner in range(12))
    os.close(log)


def test_waiting_for_another_builder_shows(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(1))
    stats, (reader, writer) = SharedStats(), os.pipe()
    scans = Scans()
    index = index_of(tmp_path, "t.tar", scan=scans)
    index.container(0)

    def stop(start: int) -> None:
        os.write(writer, b"x")
        signal.pause()

    def build_slowly() -> None:
        index.after_fork()
        scans.before = stop
        index.container(0, 0)

    def wait() -> None:
        index.after_fork()
        index.source.count_on(stats.row(1))
        index.container(0, 0)

    builder = in_child(build_slowly)
    os.read(reader, 1)
    waiter = in_child(wait)
    try:
        fcntl_number = {"x86_64": "72", "aarch64": "25"}.get(os.uname().machine, "none")
        deadline = time.monotonic() + 5
        while Path(f"/proc/{waiter}/syscall").read_text().split()[0] != fcntl_number:
            assert time.monotonic() < deadline
            time.sleep(0.005)  # no event tells when a process has begun to wait
        assert stats.row(1)[Counter.LOCK_SINCE]
    finally:
        os.kill(builder, signal.SIGKILL)
        ended(builder)
        assert ended(waiter) == 0
        os.close(reader)
        os.close(writer)


def test_a_loose_file_is_where_its_name_says(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"x")
    index = index_of(tmp_path, "d")
    assert index.container(0).locate(0) == (b"d/a", 0, 1)


def test_what_is_read_without_asking_what_it_is(tmp_path: Path) -> None:
    """A tar of nothing but regular files: the outer one of ImageNet's too, but neither directories
    in a tar nor a directory.
    """
    (tmp_path / "train.tar").write_bytes(train_tar(2, 3))
    (tmp_path / "mixed.tar").write_bytes(tar_of({"d/": b"", "d/a": b"x"}))
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "a").write_bytes(b"x")
    index = index_of(tmp_path, "train.tar", "mixed.tar", "d")
    for inner in (OUTER, 0, 1):
        container = index.container(0, inner)
        plain = container.plain
        assert plain is container.members
        assert [plain.byte_range(row) for row in range(plain.rows)] == [
            ByteRange.sized(*container.locate(row)[1:]) for row in range(plain.rows)
        ]
    assert index.container(1).plain is index.container(2).plain is None


# --- index files ----------------------------------------------------------------------------------


def _stored(tmp_path: Path, *paths: str) -> Path:
    """Index everything and write the index file."""
    index = index_of(tmp_path, *paths)
    for archive in range(len(paths)):
        for inner in range(-1, len(index.nested(archive))):
            index.container(archive, inner)
    place = tmp_path / "index" / "x.idx"
    save(index, list(range(len(paths))), place)
    return place


def _again(tmp_path: Path, place: Path, *paths: str) -> tuple[Index, Scans]:
    scans = Scans()
    stores = [(frozenset(range(len(paths))), [place])]
    return index_of(tmp_path, *paths, stores=stores, scan=scans), scans


def _everything(index: Index) -> list[dict[bytes, bytes]]:
    return [contents(index, 0, inner) for inner in range(len(index.nested(0)))]


def test_an_index_file_spares_every_scan(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(4, 3))
    (tmp_path / "flat.tar").write_bytes(class_tar(9))
    place = _stored(tmp_path, "t.tar", "flat.tar")
    expected = _everything(index_of(tmp_path, "t.tar", "flat.tar"))
    index, scans = _again(tmp_path, place, "t.tar", "flat.tar")
    assert _everything(index) == expected
    assert len(contents(index, 1)) == 3
    assert scans.extents == []


def test_only_some_of_it_is_there(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(4, 3))
    index = index_of(tmp_path, "t.tar")
    index.container(0, 2)
    place = tmp_path / "x.idx"
    assert save(index, [0], place) == 2
    again, scans = _again(tmp_path, place, "t.tar")
    again.container(0, 2)
    assert scans.extents == []
    again.container(0, 1)
    assert len(scans.extents) == 1
    assert save(again, [0], place) == 3


def test_another_mtime_alone_changes_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar())
    place = _stored(tmp_path, "t.tar")
    os.utime(tmp_path / "t.tar", (1, 1))
    index, scans = _again(tmp_path, place, "t.tar")
    _everything(index)
    assert scans.extents == []
    assert caplog.text == ""


_BELIEVED = (
    "wrong bytes: the table of a class tar is believed without a look at the class tar, even "
    "when the outer archive was just found to be another one (build.py)"
)


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_an_archive_of_another_size_is_indexed_anew(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3))
    place = _stored(tmp_path, "t.tar")
    (tmp_path / "t.tar").write_bytes(train_tar(20, 4))
    index, scans = _again(tmp_path, place, "t.tar")
    assert _everything(index) == _everything(index_of(tmp_path, "t.tar"))
    assert len(index.nested(0)) == 20
    assert scans.extents


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_an_archive_of_another_size_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.tar").write_bytes(class_tar(3))
    place = _stored(tmp_path, "t.tar")
    (tmp_path / "t.tar").write_bytes(class_tar(3, 20))
    index, _ = _again(tmp_path, place, "t.tar")
    index.container(0)
    assert "anew" in caplog.text


def _shuffled(number: int) -> bytes:
    """A class tar of the same length as class_tar(number, 2), its two
    images the other way about.
    """
    names = [f"n{number:08d}_{k}.JPEG" for k in (1, 0)]
    return tar_of({names[0]: image(number * 100 + 1, 601), names[1]: image(number * 100, 600)})


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_an_archive_of_the_same_size_with_other_headers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "flat.tar").write_bytes(class_tar(1, 2))
    place = _stored(tmp_path, "flat.tar")
    (tmp_path / "flat.tar").write_bytes(_shuffled(1))
    index, scans = _again(tmp_path, place, "flat.tar")
    assert contents(index, 0) == {b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in (0, 1)}
    assert len(scans.extents) == 1
    assert "the archive is another one now; indexing flat.tar anew" in caplog.text


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_another_outer_archive_makes_its_class_tars_suspect(tmp_path: Path) -> None:
    def outer(first: bytes, mtime: int) -> bytes:
        return tar_of({"n00000001.tar": first, "n00000002.tar": class_tar(2, 2)}, mtime)

    (tmp_path / "t.tar").write_bytes(outer(class_tar(1, 2), 1))
    place = _stored(tmp_path, "t.tar")
    (tmp_path / "t.tar").write_bytes(outer(_shuffled(1), 2))
    index, _ = _again(tmp_path, place, "t.tar")
    assert contents(index, 0, 0) == {
        b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in (0, 1)
    }


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_another_class_tar_in_the_same_outer_archive(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(tar_of({"n00000001.tar": class_tar(1, 2)}))
    place = _stored(tmp_path, "t.tar")
    (tmp_path / "t.tar").write_bytes(tar_of({"n00000001.tar": _shuffled(1)}))
    index, _ = _again(tmp_path, place, "t.tar")
    assert contents(index, 0, 0) == {
        b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in (0, 1)
    }


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_replaced_between_indexing_and_saving(tmp_path: Path) -> None:
    (tmp_path / "flat.tar").write_bytes(class_tar(1, 2))
    index = index_of(tmp_path, "flat.tar")
    index.container(0)
    (tmp_path / "new").write_bytes(_shuffled(1))
    (tmp_path / "new").rename(tmp_path / "flat.tar")
    forget_files(index.source)  # as in a process that has not opened it yet
    place = tmp_path / "x.idx"
    save(index, [0], place)
    again, _ = _again(tmp_path, place, "flat.tar")
    assert contents(again, 0) == {b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in (0, 1)}


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_an_index_file_heals(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(class_tar(1, 2))
    place = _stored(tmp_path, "t.tar")
    data = (tmp_path / "t.tar").read_bytes()
    owner = bytearray(data)  # another uid in the first header: no part of the table
    owner[108:115] = b"0001750"
    owner[148:156] = b"%06o\0 " % (sum(owner[:148]) + 8 * 32 + sum(owner[156:512]))
    (tmp_path / "t.tar").write_bytes(owner)
    index, scans = _again(tmp_path, place, "t.tar")
    index.container(0)
    assert len(scans.extents) == 1
    save(index, [0], place)
    index, scans = _again(tmp_path, place, "t.tar")
    index.container(0)
    assert scans.extents == []


@pytest.mark.expects_log(
    "is not used: the index file is cut off;", "a block of the index file is damaged; indexing"
)
@pytest.mark.parametrize("cut", [1, 40, 200])
def test_a_damaged_index_file_costs_a_scan(
    tmp_path: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3))
    place = _stored(tmp_path, "t.tar")
    os.truncate(place, place.stat().st_size - cut)
    index, scans = _again(tmp_path, place, "t.tar")
    assert _everything(index) == _everything(index_of(tmp_path, "t.tar"))
    assert 1 <= len(scans.extents) <= 4
    assert "anew" in caplog.text


@pytest.mark.slow
def test_each_byte_of_an_index_file_flipped(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(1, 2))
    place = _stored(tmp_path, "t.tar")
    expected = _everything(index_of(tmp_path, "t.tar"))
    data = place.read_bytes()
    logging.getLogger("imagenetfs").setLevel(logging.ERROR)
    try:
        with place.open("r+b", buffering=0) as file:
            for at in range(0, len(data), 3):
                os.pwrite(file.fileno(), bytes([data[at] ^ 0x55]), at)
                index, _ = _again(tmp_path, place, "t.tar")
                assert _everything(index) == expected
                os.pwrite(file.fileno(), data[at : at + 1], at)
    finally:
        logging.getLogger("imagenetfs").setLevel(logging.NOTSET)


@pytest.mark.expects_log("it cannot be read")
def test_an_index_file_that_goes_away_while_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3))
    place = _stored(tmp_path, "t.tar")
    index, scans = _again(tmp_path, place, "t.tar")
    index.container(0)

    def stale(self: object, place: object) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr("imagenetfs.index.index_file.IndexFile.block", stale)
    assert len(index.container(0, 1).members) == 3
    assert len(scans.extents) == 1


def test_a_place_that_cannot_be_used(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3))
    (tmp_path / "file").write_bytes(b"")
    index, _ = _again(tmp_path, tmp_path / "file" / "x.idx", "t.tar")
    assert len(index.container(0, 0).members) == 3
    with pytest.raises(OSError, match=r"Not a directory|exists"):
        save(index, [0], tmp_path / "file" / "x.idx")


def test_the_first_place_that_has_it_counts(tmp_path: Path) -> None:
    (tmp_path / "t.tar").write_bytes(train_tar(3))
    place = _stored(tmp_path, "t.tar")
    scans = Scans()
    stores = [(frozenset([0]), [tmp_path / "none.idx", place])]
    index = index_of(tmp_path, "t.tar", stores=stores, scan=scans)
    index.container(0, 0)
    assert scans.extents == []


@pytest.mark.expects_log("the archive is another one now; indexing")
def test_tars_in_a_directory_are_known_again_each_by_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "tars").mkdir()
    for number in (1, 2):
        (tmp_path / "tars" / f"n{number}.tar").write_bytes(class_tar(number, 2))
    place = _stored(tmp_path, "tars")
    (tmp_path / "tars" / "n1.tar").write_bytes(_shuffled(1))
    index, scans = _again(tmp_path, place, "tars")
    assert contents(index, 0, 0) == {
        b"n00000001_%d.JPEG" % k: image(100 + k, 600 + k) for k in (0, 1)
    }
    assert len(contents(index, 0, 1)) == 2
    assert len(scans.extents) == 1
    assert "n1.tar anew" in caplog.text


def test_directories_are_not_kept(tmp_path: Path) -> None:
    (tmp_path / "d" / "n1").mkdir(parents=True)
    (tmp_path / "d" / "n1" / "x").write_bytes(b"x")
    index = index_of(tmp_path, "d")
    index.container(0, 0)
    assert save(index, [0], tmp_path / "x.idx") == 0
    assert index.archives[0].kind is Kind.DIRECTORY
    assert not (tmp_path / "x.idx").exists()


def test_no_room_in_the_arena_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagenetfs.errors import NoSpaceError

    (tmp_path / "t.tar").write_bytes(train_tar(3))
    index = index_of(tmp_path, "t.tar")
    index.container(0)

    def full(fd: int, data: bytes, offset: int) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch_os(patch, "imagenetfs.system", pwrite=full)
        with pytest.raises(NoSpaceError):
            index.container(0, 1)
    assert not index.known(0, 1)
    assert len(index.container(0, 1).members) == 3  # there is room again


def test_archive_errors_say_where() -> None:
    assert str(ArchiveError("cut off", 1234567)) == "cut off (at byte 1,234,567)"
