"""A mount over a source that fails all the time: each read gives the right bytes
or an errno, nothing else.

IMAGENETFS_TEST_FAULTED_READS sets how many faults the readers meet: 2,000 by itself,
100,000 for the full run.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.helpers.bench import until
from tests.helpers.mounts import Mount
from tests.helpers.passthrough import SlowSource, slow_source
from tests.helpers.randomness import SEED, seeded

FAULTS = int(os.environ.get("IMAGENETFS_TEST_FAULTED_READS", "2000"))
READERS = 8
ALLOWED = {errno.EIO, errno.EACCES}


@pytest.fixture
def source(sample: Path) -> Iterator[SlowSource]:
    with slow_source(sample, seed=SEED) as slow:
        yield slow


def _read(path: Path, choose: random.Random, expected: bytes) -> None:
    """Read all of an image, or a part, past the kernel's cache; the bytes must be right."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        if choose.random() < 0.5:
            data = b"".join(iter(lambda: os.read(fd, 1 << 20), b""))
            assert data == expected, path
        else:
            offset = choose.randrange(len(expected))
            length = choose.randrange(1, len(expected) + 100)
            wanted = expected[offset : offset + length]
            data = os.pread(fd, length, offset)
            while len(data) < len(wanted):
                # The kernel gives what it has before a page that failed; whoever reads on gets the
                # errno, or the rest, and never an end where there is none.
                assert (offset + len(data)) % mmap.PAGESIZE == 0, (path, offset, length, len(data))
                more = os.pread(fd, length - len(data), offset + len(data))
                assert more, (path, offset, length, len(data))
                data += more
            assert data == wanted, (path, offset, length)
    finally:
        os.close(fd)


class Readers:
    """Threads that read at random until told to end; what they saw is counted by
    errno (0: the right bytes).
    """

    def __init__(self, root: Path, images: dict[str, bytes], count: int = READERS) -> None:
        self.seen: Counter[int | None] = Counter()
        self.wrong: list[BaseException] = []
        self._root = root
        self._images = images
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=(n,)) for n in range(count)]
        for thread in self._threads:
            thread.start()

    def _go(self, number: int) -> None:
        choose, names = seeded("faulted reads", number), sorted(self._images)
        try:
            while not self._ending.is_set():
                name = choose.choice(names)
                try:
                    _read(self._root / name, choose, self._images[name])
                    self.seen[0] += 1
                except OSError as error:
                    self.seen[error.errno] += 1
        except BaseException as error:
            self.wrong.append(error)

    def end(self) -> None:
        """End them; raises what one of them found wrong."""
        self._ending.set()
        for thread in self._threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self._threads)
        if self.wrong:
            raise self.wrong[0]


def _faults(source: SlowSource) -> int:
    """Faults that were met so far."""
    return sum(n for kind, n in source.counters().items() if kind.startswith("fault."))


@pytest.mark.expects_log("you may no longer read", "does not add up")
@pytest.mark.timeout(max(120, FAULTS // 20))
def test_faulted_reads(source: SlowSource, images: dict[str, bytes], mount: Mount) -> None:
    """S1 S2 S3: right bytes or an errno, and well again as soon as the source is."""
    one = mount(source.path)
    for kind, rate in (("short", 0.3), ("empty", 0.02), ("EIO", 0.02), ("ESTALE", 0.02)):
        source.fault(kind, "read", rate=rate)
    source.fault("EACCES", "read", rate=0.002)
    source.fault("ESTALE", ["lookup", "open", "getattr"], rate=0.02)
    source.fault("EIO", ["open"], rate=0.01)
    readers = Readers(one.root, images)
    try:
        while _faults(source) < FAULTS and not readers.wrong:
            time.sleep(0.1)
    finally:
        source.clear()
        readers.end()
    print(f"reads by errno: {dict(readers.seen)}; the source: {dict(source.counters())}")
    assert readers.seen[0] > 100
    assert set(readers.seen) - {0} <= ALLOWED, readers.seen
    choose = seeded("after the faults")
    for name, data in images.items():
        _read(one.root / name, choose, data)


@pytest.mark.expects_log("cannot read")
def test_a_source_that_is_away_for_a_while(
    source: SlowSource, images: dict[str, bytes], mount: Mount
) -> None:
    """S3: no remount is needed; what the kernel keeps is read meanwhile."""
    one = mount(source.path)
    kept, *_, other = images
    assert (one.root / kept).read_bytes() == images[kept]
    source.fault("EIO", ["read", "open", "lookup", "getattr"])
    assert (one.root / kept).read_bytes() == images[kept]
    with pytest.raises(OSError) as caught:
        (one.root / other).read_bytes()
    assert caught.value.errno == errno.EIO
    source.clear()
    assert (one.root / other).read_bytes() == images[other]


_SOON = {"imagenetfs.server.background_indexer:_PAUSE_SECONDS": 0.2}


@contextlib.contextmanager
def _mounted_at(place: Path, source: SlowSource) -> Iterator[None]:
    subprocess.run(["mount", "--bind", source.path, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.expects_log("cannot read", "is not connected")
def test_a_source_that_is_unmounted_and_mounted_again(
    sample: Path, images: dict[str, bytes], tmp_path: Path, mount: Mount
) -> None:
    """S3: its old root answers nothing any more; the one that stands at its path now does."""
    place = tmp_path / "source"
    place.mkdir()
    kept, *_, other = images
    tars = 1 + len({name.split("/")[1] for name in images if name.startswith("train/")})
    with slow_source(sample) as first, _mounted_at(place, first):
        one = mount(place, revalidate=0.1, constants=_SOON)
        assert (one.root / kept).read_bytes() == images[kept]
    with pytest.raises(OSError) as caught:
        (one.root / other).read_bytes()
    assert caught.value.errno == errno.EIO
    assert one.status()["problems"]
    with slow_source(sample) as second, _mounted_at(place, second):
        for name, data in images.items():
            assert until(partial(_can_be_read, one.root / name)), name
            assert (one.root / name).read_bytes() == data
        # What could not be indexed while it was away is, so that nothing is counted short.
        assert until(lambda: f"indexed {tars:,} containers" in one.log.read_text())
        assert all("can be read again" in problem for problem in one.status()["problems"])
        text = one.log.read_text()
    assert "does not add up" not in text
    assert text.count(f"another directory stands at {place}") == 1
    assert "no longer there" not in text, "the empty mountpoint is no source"


def _can_be_read(path: Path) -> bool:
    with contextlib.suppress(OSError):
        path.read_bytes()
        return True
    return False


def test_a_short_pause_of_the_source_is_not_seen(
    source: SlowSource, images: dict[str, bytes], mount: Mount
) -> None:
    """S2: errors that pass within a second are waited for."""
    one = mount(source.path)
    for kind in ("EIO", "ESTALE"):
        for name in list(images)[:5]:
            source.fault(kind, ["read"], count=2)
            choose = seeded(name)
            _read(one.root / name, choose, images[name])
    assert _faults(source) == 20
