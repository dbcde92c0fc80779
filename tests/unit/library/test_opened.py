"""One tree for threads and forked processes, also where one of them is killed or closes it."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs.errors import TreeClosedError
from tests.helpers.children import children_of, ended, in_child
from tests.helpers.forked import answer
from tests.helpers.leaks import descriptors, opened_since
from tests.helpers.sources import train_and_test


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return train_and_test(tmp_path / "imagenet", classes=6, images=10)


@pytest.fixture
def tree(source: Path) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(source, index_dir="none") as opened:
        yield opened


def digest(split: imagenetfs.Split) -> str:
    return hashlib.sha256(b"".join(split.read(n) for n in range(len(split)))).hexdigest()


def test_threads_read_side_by_side(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(digest(split))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) == {digest(split)} and len(found) == 8


def test_a_thread_that_ends_leaves_nothing_open(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    digest(split)
    before = descriptors()
    thread = threading.Thread(target=lambda: digest(split))
    thread.start()
    thread.join()
    assert opened_since(before) == {}


def test_closing_waits_for_reads_and_ends_them(source: Path) -> None:
    tree = imagenetfs.open(source, index_dir="none")
    split = tree["ILSVRC2012/train"]
    wanted = {number: split.read(number) for number in range(len(split))}
    wrong: list[object] = []
    begun = threading.Barrier(5)

    def read() -> None:
        begun.wait()
        try:
            while True:
                for number, data in wanted.items():
                    if split.read(number) != data:
                        wrong.append(number)
        except TreeClosedError:
            return
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    begun.wait()
    tree.close()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.slow
@pytest.mark.parametrize("listed", [False, True], ids=["indexed in the child", "indexed before"])
def test_forked_children(tree: imagenetfs.Tree, listed: bool) -> None:
    split = tree["ILSVRC2012/train"]
    if listed:
        digest(split)
    found = [answer(lambda: digest(split)) for _ in range(3)]
    assert set(found) == {digest(split)}


def test_a_fork_while_another_thread_has_the_lock(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    held, over = threading.Event(), threading.Event()

    def hold() -> None:
        with tree._opened.locked() as parts:
            with parts.catalogue.source.known._lock.held():
                held.set()
                over.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    try:
        pid = in_child(lambda: os._exit(0 if digest(split) and tree.versions else 1))
    finally:
        over.set()
        thread.join()
    assert ended(pid) == 0


def test_a_child_that_is_killed_while_it_reads(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    reader, writer = os.pipe()

    def read_on() -> None:
        while True:
            digest(split)
            os.write(writer, b".")

    pid = in_child(read_on)
    os.read(reader, 1)
    os.kill(pid, signal.SIGKILL)
    assert ended(pid) == -signal.SIGKILL
    os.close(reader)
    os.close(writer)
    assert digest(split) == answer(lambda: digest(split))


def test_a_child_that_closes_its_tree_leaves_the_parents(tree: imagenetfs.Tree) -> None:
    split = tree["ILSVRC2012/train"]
    before = digest(split)

    def close() -> bool:
        tree.close()
        return tree.closed

    assert answer(close) is True
    assert digest(split) == before and not tree.closed


def test_a_thread_that_closes_after_a_fork(tree: imagenetfs.Tree) -> None:
    """The locks of a child are new: no thread of the parent's is waited for."""
    split = tree["ILSVRC2012/train"]
    reader = threading.Thread(target=lambda: digest(split))
    reader.start()
    reader.join()
    assert answer(lambda: digest(split)) == digest(split)


def test_nothing_is_left(source: Path) -> None:
    gc.collect()
    before, before_it = set(descriptors().values()), children_of(os.getpid())
    threads = threading.active_count()
    with imagenetfs.open(source, index_dir="none") as tree:
        digest(tree["ILSVRC2012/train"])
        assert threading.active_count() == threads
        assert children_of(os.getpid()) == before_it
    assert set(descriptors().values()) <= before


@pytest.mark.slow
def test_what_a_mount_needs_is_not_imported(source: Path) -> None:
    code = f"""
import sys, imagenetfs
with imagenetfs.open({str(source)!r}, index_dir="none") as tree:
    tree["ILSVRC2012/train"].read_many(range(9))
print([n for n in ("pyfuse3", "trio", "imagenetfs.fuse", "imagenetfs.server", "torch", "fsspec")
       if n in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_through_the_cache(source: Path, cache_dir: Path) -> None:
    with imagenetfs.open(source, index_dir="none") as plain:
        wanted = digest(plain["ILSVRC2012/train"])
    with imagenetfs.open(source, index_dir="none", cache_dir=cache_dir) as tree:
        split = tree["ILSVRC2012/train"]
        assert digest(split) == wanted
        kept = sorted(cache_dir.glob("*.0*"))
        assert kept
        assert answer(lambda: digest(split)) == wanted
        threads = [threading.Thread(target=lambda: digest(split)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert split.read_many(range(9)) == [split.read(number) for number in range(9)]


@pytest.mark.expects_log("the cache is bypassed")
def test_a_cache_that_fails_is_told_once(
    source: Path, cache_dir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*arguments: object) -> None:
        raise OSError(5, os.strerror(5))

    with imagenetfs.open(source, index_dir="none", cache_dir=cache_dir) as tree:
        monkeypatch.setattr("imagenetfs.cache.segment_handles.make_segment", fail)
        split = tree["ILSVRC2012/train"]
        assert split.read(0) == tree.read(split.path(0))
        split.read_many(range(20))
    assert [r.message for r in caplog.records if "is bypassed" in r.message] == [
        "the cache is bypassed (Input/output error): what it does not have is read from the source "
        "and not kept; it tries again every few seconds"
    ]
