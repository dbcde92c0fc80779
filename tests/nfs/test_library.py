"""The tree in the process over a source that fails, hangs, denies and changes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import imagenetfs
from imagenetfs.errors import SourceChangedError, SourceReadError
from tests.helpers.bench import until
from tests.helpers.forked import answer
from tests.helpers.imagenet_tars import TRAIN
from tests.helpers.passthrough import SlowSource, slow_source
from tests.helpers.randomness import SEED, seeded

ARCHIVE = f"*{TRAIN}"
SOME = 40


@pytest.fixture
def source(sample_copy: Path) -> Iterator[SlowSource]:
    with slow_source(sample_copy, seed=SEED, pages=True) as slow:
        yield slow


@pytest.fixture
def tree(source: SlowSource) -> Iterator[imagenetfs.Tree]:
    with imagenetfs.open(source.path, index_dir="none", revalidate=0.01) as opened:
        yield opened


@pytest.fixture
def split(tree: imagenetfs.Tree) -> imagenetfs.Split:
    return tree["ILSVRC2012/train"]


@pytest.fixture
def wanted(sample: Path, split: imagenetfs.Split) -> list[bytes]:
    """The bytes of the split's images, from another source."""
    with imagenetfs.open(sample, index_dir="none") as other:
        return other[split.name].read_many(range(len(split)))


def forget(source: SlowSource) -> None:
    """Have the kernel keep nothing of the archive."""
    fd = os.open(source.path / "ILSVRC2012" / TRAIN, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def test_errors_that_pass_are_not_seen(
    source: SlowSource, split: imagenetfs.Split, wanted: list[bytes]
) -> None:
    """S24: one attempt of many fails; what comes is right."""
    forget(source)
    source.fault("EIO", rate=0.2, count=20, paths=ARCHIVE)
    assert split.read_many(range(SOME)) == wanted[:SOME]


def test_errors_that_last_are_errors_and_never_short(
    source: SlowSource, split: imagenetfs.Split, wanted: list[bytes]
) -> None:
    forget(source)
    source.fault("EIO", paths=ARCHIVE)
    with pytest.raises(SourceReadError, match=r"cannot read .*: Input/output error"):
        split.read(0)
    source.clear()
    assert split.read_many(range(SOME)) == wanted[:SOME]


@pytest.mark.parametrize("kind", ["short", "empty"])
def test_answers_that_are_short(
    source: SlowSource, split: imagenetfs.Split, wanted: list[bytes], kind: str
) -> None:
    source.fault(kind, rate=0.3, count=30, paths=ARCHIVE)
    for number in seeded(kind).sample(range(SOME), SOME):
        forget(source)
        try:
            assert split.read(number) == wanted[number]
        except SourceReadError:
            continue


def test_what_becomes_forbidden(
    source: SlowSource, split: imagenetfs.Split, wanted: list[bytes]
) -> None:
    assert split.read(0) == wanted[0]
    source.fault("EACCES", operations=["open"], paths=ARCHIVE)
    with pytest.raises(PermissionError, match="you may not read"):
        until(lambda: split.read(0) != wanted[0])
    source.clear()
    assert split.read(0) == wanted[0]


@pytest.mark.expects_log(r"unmount and mount again to see what it holds\.")
def test_an_archive_that_is_replaced(
    source: SlowSource, sample_copy: Path, split: imagenetfs.Split, wanted: list[bytes]
) -> None:
    """S25: none of the new bytes, here and in a forked process; what is opened anew has them."""
    assert split.read_many(range(SOME)) == wanted[:SOME]
    archive = sample_copy / "ILSVRC2012" / TRAIN
    other = archive.with_suffix(".new")
    other.write_bytes(archive.read_bytes()[::-1])
    other.replace(archive)

    def read_on() -> str:
        try:
            while split.read(0) == wanted[0]:
                pass
        except SourceChangedError:
            return "refused"
        return "another"

    assert answer(read_on) == read_on() == "refused"
    with pytest.raises(SourceChangedError):
        split.read_many(range(SOME))


def test_all_requests_of_a_batch_are_under_way_at_once(
    source: SlowSource, split: imagenetfs.Split, wanted: list[bytes]
) -> None:
    """S26: while none is answered, many are asked for; the answers then are right."""
    apart = range(0, len(split), 40)  # not neighbours, which one request could bring
    forget(source)
    source.fault("hang", paths=ARCHIVE)
    found: list[list[bytes]] = []
    thread = threading.Thread(target=lambda: found.append(split.read_many(apart)))
    thread.start()
    try:
        assert until(lambda: source.hanging() >= 4)
    finally:
        source.clear()
        thread.join()
    assert found == [[wanted[number] for number in apart]]


def test_a_source_that_is_away_when_it_is_opened(tmp_path: Path) -> None:
    with pytest.raises(imagenetfs.ImagenetfsError, match="does not exist on this node"):
        imagenetfs.open(tmp_path / "nowhere")
