"""Index files: what was written comes back or is refused; never a wrong record."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagenetfs.errors import ArchiveError
from imagenetfs.index import index_file as store_module
from imagenetfs.index.archives import container_key
from imagenetfs.index.index_file import (
    IndexFile,
    Record,
    open_index_file,
    write_index_file,
)
from imagenetfs.index.search_path import IndexSearchPath
from tests.helpers.children import ended, in_child
from tests.helpers.examples import examples

_U64 = st.integers(0, (1 << 63) - 1)
_RECORDS = st.lists(
    st.builds(
        Record,
        key=st.binary(max_size=20),
        start=_U64,
        stop=_U64,
        file_size=_U64,
        sample=st.integers(0, (1 << 32) - 1),
        block=st.binary(max_size=50),
    ),
    unique_by=lambda record: record.key,
    max_size=5,
)


def records_of(count: int) -> list[Record]:
    """A few records that differ in everything, in the order of their keys."""
    return [
        Record(
            b"a/%02d.tar\0n%d" % (n, n),
            n * 512,
            n * 4096 + 512,
            1 << 30,
            n * 77,
            b"block%d" % n * n,
        )
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def somewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("store") / "x.idx"


@pytest.fixture(autouse=True, scope="module")
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda fd: None)
        yield


@examples()
@given(records=_RECORDS)
def test_round_trip(somewhere: Path, records: list[Record]) -> None:
    write_index_file(somewhere, records)
    store = IndexFile(somewhere)
    try:
        in_order = sorted(records, key=lambda record: record.key)
        assert store.records() == in_order
        assert store.keys() == [record.key for record in in_order]
        for record in records:
            entry = store.entry(record.key)
            assert entry is not None
            assert store.block(entry) == record.block
        assert store.entry(b"\0nobody's") is None
    finally:
        store.close()


def test_keys_do_not_run_into_one_another() -> None:
    assert container_key(b"a", b"b") != container_key(b"ab") != container_key(b"a")


def test_nothing_stands_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "x.idx"
    write_index_file(path, records_of(3))
    write_index_file(path, records_of(4))
    assert list(path.parent.iterdir()) == [path]
    assert path.parent.stat().st_mode & 0o022 == 0  # but a site's may be read by all
    assert path.stat().st_mode & 0o777 == 0o644


def _open(path: Path) -> list[Record] | None:
    store = open_index_file(path)
    if store is None:
        return None
    found = store.records()
    store.close()
    return found


@pytest.mark.expects_log(
    "is not used: the index file is cut off;", "is not used: the index file's directory is damaged;"
)
def test_truncated_at_every_length(tmp_path: Path) -> None:
    path, records = tmp_path / "x.idx", records_of(4)
    write_index_file(path, records)
    for length in reversed(range(path.stat().st_size)):
        os.truncate(path, length)
        found = _open(path)
        assert found is None or (len(found) < len(records) and all(r in records for r in found))


@pytest.mark.slow
@pytest.mark.expects_log(
    "is not used: the index file has another format;",
    "is not used: the index file is cut off;",
    "is not used: the index file's directory is damaged;",
)
@pytest.mark.parametrize("mask", [0x01, 0x40, 0xFF])
def test_each_byte_flipped(tmp_path: Path, mask: int) -> None:
    path, records = tmp_path / "x.idx", records_of(3)
    write_index_file(path, records)
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for at in range(len(data)):
            os.pwrite(file.fileno(), bytes([data[at] ^ mask]), at)
            found = _open(path)
            assert found is None or all(record in records for record in found)
            # Bytes 24..32 mean nothing; elsewhere something is refused.
            assert found != records or 24 <= at < 32
            os.pwrite(file.fileno(), data[at : at + 1], at)
    assert _open(path) == records


@pytest.mark.expects_log(
    "is not used: the index file has another format;", "is not used: the index file is cut off;"
)
def test_garbage(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x.idx"
    for data in (b"", b"\0" * 4096, os.urandom(4096), b"INFSIDX1" + b"\xff" * 100):
        path.write_bytes(data)
        caplog.clear()
        assert open_index_file(path) is None
        assert "indexing anew" in caplog.text


@pytest.mark.expects_log("is not used: the index file has another format;")
def test_another_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.idx"
    monkeypatch.setattr(store_module, "FORMAT_VERSION", store_module.FORMAT_VERSION + 1)
    write_index_file(path, records_of(2))
    monkeypatch.undo()
    assert open_index_file(path) is None
    assert "another format" in caplog.text


def test_none_is_no_trouble(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert open_index_file(tmp_path / "none.idx") is None
    assert caplog.text == ""


# --- whose file it is -----------------------------------------------------------------------------


@pytest.mark.expects_log("is not used: the index file may be written")
@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_others_may_not_write_it(
    tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(2))
    path.chmod(mode)
    assert open_index_file(path) is None
    assert "written by others" in caplog.text
    path.chmod(0o400)
    assert _open(path) == records_of(2)


@pytest.mark.expects_log("is not used: the index file may be written")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_somebody_elses(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(2))
    os.chown(path, 12345, -1)
    assert open_index_file(path) is None


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_roots_file_serves_everybody(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(2))
    fd = os.open(path, os.O_RDONLY)

    def read() -> None:
        os.setresuid(12345, 12345, 12345)
        assert [r.key for r in IndexFile(Path(f"/proc/self/fd/{fd}").resolve()).records()]

    for directory in (tmp_path, *tmp_path.parents):
        if not directory.stat().st_mode & 0o005:
            os.close(fd)
            pytest.skip("the directory of the tests may not be entered by others")
    assert ended(in_child(read)) == 0
    os.close(fd)


@pytest.mark.expects_log("cannot be read", "is not used: the index file is no regular")
def test_links_and_directories_are_refused(tmp_path: Path) -> None:
    write_index_file(tmp_path / "real.idx", records_of(1))
    (tmp_path / "link.idx").symlink_to(tmp_path / "real.idx")
    (tmp_path / "dir.idx").mkdir(mode=0o755)
    assert open_index_file(tmp_path / "link.idx") is None
    assert open_index_file(tmp_path / "dir.idx") is None


@pytest.mark.expects_log("is not used: the index file is no regular")
def test_a_fifo_is_not_waited_for(tmp_path: Path) -> None:
    import signal

    os.mkfifo(tmp_path / "x.idx", 0o600)

    def read() -> None:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        assert open_index_file(tmp_path / "x.idx") is None

    assert ended(in_child(read)) == 0


# --- trouble while it is read or written ----------------------------------------------------------


def test_reading_fails_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(2))
    store = IndexFile(path)
    entry = store.entry(records_of(2)[1].key)
    assert entry is not None

    def stale(fd: int, length: int, offset: int) -> bytes:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(os, "pread", stale)
    try:
        with pytest.raises(ArchiveError):
            store.block(entry)
    finally:
        monkeypatch.undo()
        store.close()


def test_renamed_over_while_open(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(3))
    store = IndexFile(path)
    write_index_file(path, records_of(1))
    assert store.records() == records_of(3)
    store.close()
    assert _open(path) == records_of(1)


def test_cut_while_open(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(3))
    store = IndexFile(path)
    os.truncate(path, path.stat().st_size - 3)
    assert store.records() == records_of(2)
    store.close()


def test_a_failed_write_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.idx"
    write_index_file(path, records_of(2))

    def full(fd: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_index_file(path, records_of(3))
    monkeypatch.undo()
    assert _open(path) == records_of(2)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.slow
def test_concurrent_writers_leave_one_sound_file(tmp_path: Path) -> None:
    path = tmp_path / "x.idx"

    def write(count: int) -> None:
        for _ in range(10):
            write_index_file(path, records_of(count))

    children = [in_child(partial(write, count)) for count in (1, 20, 60)]
    seen = 0
    for _ in range(50):
        found = _open(path)
        if found is not None:
            seen += 1
            assert found == records_of(len(found))
            assert len(found) in (1, 20, 60)
    assert [ended(pid) for pid in children] == [0, 0, 0]
    assert _open(path) in [records_of(count) for count in (1, 20, 60)]
    assert list(tmp_path.iterdir()) == [path]


def test_a_writer_of_the_same_name_elsewhere_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    path = tmp_path / "x.idx"
    seen: list[bool] = []
    fsync = os.fsync

    def another(fd: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        before = set(tmp_path.iterdir())
        try:
            write_index_file(path, records_of(1))
        except OSError:
            seen.append(before <= set(tmp_path.iterdir()))
        else:
            seen.append(before <= set(tmp_path.iterdir()))

    monkeypatch.setattr(os, "fsync", another)
    write_index_file(path, records_of(2))
    assert seen == [True]


# --- places ---------------------------------------------------------------------------------------


def test_places(tmp_path: Path) -> None:
    places = IndexSearchPath(tmp_path, Path("/data/imagenet"))
    one = places.file("train")
    assert one is not None
    assert places.files("train") == [one]
    assert one.parent.parent == tmp_path
    assert one.parent.name.startswith("imagenet-")
    other = IndexSearchPath(tmp_path, Path("/other/imagenet")).file("train")
    assert other is not None
    assert other.parent != one.parent
    assert IndexSearchPath(None, Path("/data")).file("train") is None
    assert IndexSearchPath(None, Path("/data")).files("train") == []
    assert IndexSearchPath(tmp_path, Path("/")).file("train") is not None
