"""Many containers of a slow source at once: no request too many, no thread
idle, no reader disturbed.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from imagenetfs.errors import ArchiveError
from imagenetfs.formats.tar.concurrency import FixedConcurrency
from imagenetfs.formats.tar.threaded_scanner import ThreadedScanner
from imagenetfs.formats.tar.walk import MemberColumns
from imagenetfs.index.bulk_workers import build_with_readahead, build_with_threads
from imagenetfs.index.container_builder import BuildInProgressError
from imagenetfs.index.table_builder import Scan
from imagenetfs.source.file import SourceFile
from tests.helpers.archives import index_of, tar_of, tar_table
from tests.helpers.children import ended, in_child
from tests.helpers.tars import END, header, member

SIZES = (500, 3, 260, 40)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    tars = {}
    for number, size in enumerate(SIZES):
        images = (b"%d.JPEG" % i for i in range(size))
        tars[f"n{number}.tar"] = b"".join(member(name, b"\xff" * 700) for name in images) + END
    (tmp_path / "t.tar").write_bytes(tar_of(tars))
    return tmp_path


class Watched:
    """How many reads of the source are under way at once, and by which threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.threads: set[int] = set()
        read_up_to = SourceFile.read_up_to

        def slowly(file: SourceFile, offset: int, length: int) -> bytes:
            with self.lock:
                self.now += 1
                self.most = max(self.most, self.now)
                self.threads.add(threading.get_ident())
            time.sleep(0.001)
            try:
                os.fstat(file.fd)
                return read_up_to(file, offset, length)
            finally:
                with self.lock:
                    self.now -= 1

        monkeypatch.setattr(SourceFile, "read_up_to", slowly)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    yield Watched(monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2, 7, 32])
def test_the_tables_are_those_of_a_scan(source: Path, watched: Watched, threads: int) -> None:
    index = index_of(source, "t.tar")
    index.container(0)
    seen: list[tuple[int, int]] = []
    work = [(0, inner) for inner in range(len(SIZES))]
    build_with_threads(
        FixedConcurrency(threads), index, work, lambda done, members: seen.append((done, members))
    )
    assert seen[-1] == (len(SIZES), sum(SIZES))
    assert watched.most <= threads
    assert len(watched.threads) >= min(
        threads, 12
    )  # those that have no container of their own help
    other = index_of(source, "t.tar")
    for item in work:
        mine, its = tar_table(index, *item), tar_table(other, *item)
        assert mine.columns.keys() == its.columns.keys()
        assert list(mine.names()) == list(its.names())
        assert [index.container(*item).locate(row) for row in range(SIZES[item[1]])] == [
            other.container(*item).locate(row) for row in range(SIZES[item[1]])
        ]


@pytest.mark.slow
@pytest.mark.parametrize("in_flight", [1, 2, 7, 32])
def test_one_thread_reads_all_headers(source: Path, watched: Watched, in_flight: int) -> None:
    index, other = index_of(source, "t.tar"), index_of(source, "t.tar")
    index.container(0)
    announced, hint = list[int](), SourceFile.hint
    seen: list[tuple[int, int]] = []

    def note(file: SourceFile, offset: int, length: int) -> None:
        announced.append(threading.get_ident())
        hint(file, offset, length)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(SourceFile, "hint", note)
        work = [(0, inner) for inner in range(len(SIZES))]
        build_with_readahead(
            FixedConcurrency(in_flight), index, work, lambda *now: seen.append(now)
        )
    assert seen[-1] == (len(SIZES), sum(SIZES))
    assert sum(SIZES) <= len(announced) < 1.2 * sum(SIZES)
    assert len(set(announced)) == 1
    assert watched.most <= min(in_flight, len(SIZES) + 1)
    for item in work:
        mine, its = tar_table(index, *item).columns, tar_table(other, *item).columns
        assert {name: column.tobytes() for name, column in mine.items()} == {
            name: column.tobytes() for name, column in its.items()
        }


@pytest.mark.slow
@pytest.mark.parametrize("build", [build_with_threads, build_with_readahead])
def test_what_a_reader_builds_is_left_to_it(
    source: Path, watched: Watched, build: Callable[..., None]
) -> None:
    index = index_of(source, "t.tar")
    index.container(0)
    ready, go = os.pipe()
    begun, told = os.pipe()

    def read() -> None:
        index.after_fork()
        with index.builder.building_lock(0, 0):
            os.write(told, b"x")
            os.read(ready, 1)
            block = index.build_task(0, 0)()
            index.tables.publish(0, 0, block)

    child = in_child(read)
    os.read(begun, 1)
    with pytest.raises(BuildInProgressError), index.builder.building_lock(0, 0):
        pass
    scanned: list[int] = []
    made = index.build_task

    def noted(archive: int, inner: int, scan: Scan | None = None) -> Callable[[], bytes]:
        scanned.append(inner)
        return made(archive, inner, scan)

    def count(done: int, members: int) -> None:
        if done == len(SIZES) - 1:
            os.write(go, b"x")  # all others are done: the reader may go on

    work = [(0, inner) for inner in range(len(SIZES))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "build_task", noted)
        build(FixedConcurrency(4), index, work, count)
    assert ended(child) == 0
    assert sorted(scanned) == [1, 2, 3]
    assert index.known(0, 0)
    for fd in (ready, go, begun, told):
        os.close(fd)


def test_a_scan_returns_when_nobody_reads_for_it_any_more() -> None:
    """Whoever opened the file closes it then."""
    images = [member(b"%d" % i, b"\xff" * 700) for i in range(2000)]
    cut = header(b"cut", 1 << 30)  # it ends the walk, with chains behind it
    archive = b"".join([*images[:130], cut, *images[130:]])
    threads, late, returned = set[int](), list[int](), threading.Event()

    def read_at(offset: int, length: int) -> bytes:
        threads.add(threading.get_ident())
        time.sleep(0.001)
        if returned.is_set():
            late.append(offset)
        return archive[offset : offset + length]

    scanner, found = ThreadedScanner(FixedConcurrency(8)), MemberColumns()
    helpers = [threading.Thread(target=scanner.help) for _ in range(7)]
    for thread in helpers:
        thread.start()
    with pytest.raises(ArchiveError, match="cut off by the end"):
        scanner.scan(read_at, 0, len(archive), found)
    returned.set()
    time.sleep(0.02)
    scanner.close()
    for thread in helpers:
        thread.join()
    assert found.names == [b"%d" % i for i in range(130)]
    assert len(threads) > 4
    assert late == []
