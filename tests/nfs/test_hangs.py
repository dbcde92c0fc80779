"""A source that stops answering: every system call ends in time, and all goes
on when it answers again.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import mmap
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.benchmarks.pagecache import in_page_cache
from tests.helpers.bench import until
from tests.helpers.cache import PLENTY, make_train
from tests.helpers.imagenet_tars import train_images
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import SlowSource, slow_source

Images = dict[str, bytes]

TRAIN = "ILSVRC2012_img_train.tar"
TIMEOUT = 6.0
"""Seconds; the mount's --read-timeout."""

HANG_SECONDS = 100.0

EVERYTHING = ["lookup", "getattr", "open", "read", "opendir", "readdir"]
PAGE = 4096
FAILED = {errno.EIO, errno.ECONNABORTED}
"""What a call that nobody could answer gives: the second where its worker was ended."""


pytestmark = [pytest.mark.timeout(180), pytest.mark.spread]


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images larger than a page, so that none comes with the headers of others."""
    made = tmp_path_factory.mktemp("imagenet")
    make_train(made, classes=5, images=12)
    return made


@pytest.fixture(scope="module")
def images(directory: Path) -> Images:
    """Path below train/ -> bytes, by Python's own tarfile."""
    return train_images(directory / "ILSVRC2012" / TRAIN)


@pytest.fixture
def source(directory: Path) -> Iterator[SlowSource]:
    with slow_source(directory, pages=True) as slow:
        yield slow


@dataclass
class Answer:
    """What a process saw: 0 or an errno, or the signal that ended it, negative; and when."""

    code: int
    seconds: float


class Reader:
    """``work`` in a process of its own: this one must not wait for the mount."""

    def __init__(self, work: Callable[[], object]) -> None:
        self._started = time.monotonic()
        self._pid = os.fork()
        if self._pid:
            return
        code = 255
        faulthandler.disable()  # a SIGBUS is an answer here
        try:
            work()
            code = 0
        except OSError as error:
            code = error.errno or 255
        finally:
            os._exit(code)

    def answer(self, patience: float = HANG_SECONDS) -> Answer:
        """Wait for its end."""
        while time.monotonic() - self._started < patience:
            pid, status = os.waitpid(self._pid, os.WNOHANG)
            if pid:
                seconds = time.monotonic() - self._started
                return Answer(os.waitstatus_to_exitcode(status), seconds)
            time.sleep(0.01)
        os.kill(self._pid, signal.SIGKILL)
        pytest.fail(f"it still waits after {patience} s")


def wait_until_indexed(mounted: Mounted) -> None:
    """Until the rest of the split is indexed, and nobody else asks the source."""
    assert until(lambda: "indexed " in mounted.log.read_text())


def read(path: Path, expected: bytes) -> None:
    assert path.read_bytes() == expected


def read_mapped(path: Path, expected: bytes) -> None:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[:] == expected


def read_directly(path: Path, expected: bytes) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    room = mmap.mmap(-1, -(-len(expected) // PAGE) * PAGE)
    assert os.readv(fd, [room]) == len(expected)
    assert room[: len(expected)] == expected
    os.close(fd)


def look_up(path: Path, expected: bytes) -> None:
    assert path.stat().st_size == len(expected)


def list_class(path: Path, expected: bytes) -> None:
    assert path.name in os.listdir(path.parent)


@pytest.mark.expects_log(
    "could not be read: others waited for it in",
    "s for the source; it is ended",
    "s; another takes its place",
)
@pytest.mark.parametrize(
    ("how", "indexed", "ends", "cached"),
    [
        (read, True, FAILED, False),
        (read, True, FAILED, True),
        (read_mapped, True, {-signal.SIGBUS}, False),
        (read_mapped, True, {-signal.SIGBUS}, True),
        (read_directly, True, FAILED, False),
        (look_up, False, FAILED, False),
        (list_class, False, FAILED, False),
    ],
    ids=["read", "read cached", "mapped", "mapped cached", "O_DIRECT", "lookup", "listing"],
)
def test_every_call_ends_in_time(
    source: SlowSource,
    images: Images,
    mount: Mount,
    how: Callable[[Path, bytes], None],
    indexed: bool,
    ends: set[int],
    cached: bool,
    tmp_path: Path,
) -> None:
    """S15: several at once, so that they wait for one another too; S3: no remount is needed."""
    (tmp_path / "cache").mkdir(mode=0o700)
    keep = {"cache_dir": tmp_path / "cache", "cache_size": PLENTY} if cached else {}
    one = mount(source.path, read_timeout=TIMEOUT, **keep)
    train = one.root / "train"
    last = [name for name in images if name.startswith(max(os.listdir(train)))]
    if indexed:
        os.listdir((train / last[0]).parent)
        wait_until_indexed(one)
    source.fault("hang", EVERYTHING)
    readers = [Reader(partial(how, train / name, images[name])) for name in last[:8:2]]
    answers = [reader.answer() for reader in readers]
    print(answers)
    assert {answer.code for answer in answers} <= ends
    source.clear()
    for name in last:
        how(train / name, images[name])


def test_others_go_on(
    source: SlowSource,
    images: Images,
    mount: Mount,
) -> None:
    """S16: what is kept or indexed is there at once, while fewer requests hang
    than there may be workers.
    """
    one = mount(source.path, read_timeout=HANG_SECONDS, workers=8)
    train = one.root / "train"
    classes = sorted(os.listdir(train))
    first, second = ([n for n in images if n.startswith(wnid)] for wnid in classes[:2])
    for wnid in classes[:3]:
        os.listdir(train / wnid)
    for name in first:
        assert (train / name).read_bytes() == images[name]
    wait_until_indexed(one)
    with contextlib.ExitStack() as held:
        for name in first[:5]:
            held.enter_context(in_page_cache(train / name))
        source.fault("hang", EVERYTHING)
        hanging = second[:3]  # an image may be two requests
        stuck = [Reader(partial(read, train / name, images[name])) for name in hanging]
        assert until(source.hanging)
        others: list[Callable[[], object]] = [
            *[partial(read, train / name, images[name]) for name in first[:5]],
            # Never looked up before, but indexed: a lookup and a listing ask the source nothing.
            lambda: os.stat(train / classes[3]),
            lambda: [entry.stat() for entry in os.scandir(train / classes[2])],
            lambda: one.status(),
        ]
        for work in others:
            assert Reader(work).answer().code == 0
        assert source.hanging(), "and those that hang still do"
        source.clear()
        assert {reader.answer().code for reader in stuck} == {0}
    for name in hanging:
        assert (train / name).read_bytes() == images[name]


@pytest.mark.expects_log("s for the source; it is ended", "s; another takes its place")
def test_the_bytes_before_are_right(directory: Path, source: SlowSource, mount: Mount) -> None:
    """S1: a read that goes on into what hangs gives what came before, then fails."""
    one = mount(source.path, read_timeout=TIMEOUT)
    tar = one.mountpoint / "source" / "ILSVRC2012" / TRAIN
    whole = (directory / "ILSVRC2012" / TRAIN).read_bytes()
    half = len(whole) // 2 // PAGE * PAGE
    fd = os.open(tar, os.O_RDONLY)
    try:
        assert os.pread(fd, half, 0) == whole[:half]
        source.fault("hang", EVERYTHING)

        def go_on() -> None:
            got = os.pread(fd, len(whole), half - PAGE)
            assert got == whole[half - PAGE :][: len(got)]
            os.pread(fd, PAGE, half - PAGE + len(got))

        answer = Reader(go_on).answer()
        assert answer.code in FAILED
        source.clear()
        assert os.pread(fd, len(whole), 0) == whole
    finally:
        os.close(fd)


def test_the_end_comes_while_it_hangs(source: SlowSource, mount: Mount) -> None:
    """A mount can be ended at any time."""
    one = mount(source.path, read_timeout=HANG_SECONDS)
    wnid = sorted(os.listdir(one.root / "train"))[-1]
    source.fault("hang", EVERYTHING)
    reader = Reader(lambda: os.listdir(one.root / "train" / wnid))
    assert until(source.hanging)
    assert one.close() == 0  # which waits for it for a while only
    assert reader.answer().code != 0
