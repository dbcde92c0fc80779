"""Many readers, two mounts, and a stager on one cache: each byte is fetched
once, and readers come first.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time
from functools import partial
from multiprocessing.pool import ThreadPool
from pathlib import Path

import pytest

from imagenetfs.cache.directory import prepare
from tests.helpers.bench import until
from tests.helpers.cache import PLENTY, epoch, files, make_train
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import slow_source

TRAIN = "ILSVRC2012/ILSVRC2012_img_train.tar"
HANG_SECONDS = 100


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A source of 120 MB, and the bytes of its images."""
    source = tmp_path_factory.mktemp("train")
    return source, make_train(source, classes=11, images=100)


def _read(path: Path) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)  # past the page cache: each reader asks the mount
    with open(fd, "rb", buffering=0) as file:
        return file.read()


def _has_indexed(mounted: Mounted) -> bool:
    return "indexed" in mounted.log.read_text()


@pytest.mark.parametrize("mounts", [1, 2])
def test_24_cold_readers_of_one_image(
    train: tuple[Path, int], mount: Mount, cache_dir: Path, mounts: int
) -> None:
    with slow_source(train[0]) as source:
        plan = {"cache_dir": cache_dir, "cache_size": PLENTY, "workers": 32}
        mounted = [mount(source.path, **plan) for _ in range(mounts)]
        name = files(mounted[0].root / "train")[500].relative_to(mounted[0].root)
        for one in mounted:
            files(one.root / "train")
            until(partial(_has_indexed, one))
        source.set(latency=0.02)
        source.reset()
        with ThreadPool(24) as pool:
            paths = [mounted[n % mounts].root / name for n in range(24)]
            contents = pool.map(_read, paths)
        assert source.counters()["read"] <= 1 + (len(contents[0]) > 1 << 17)
        assert len(set(contents)) == 1
        assert len(contents[0]) == (mounted[0].root / name).stat().st_size


def test_whoever_waits_for_a_fetch_waits_for_the_source(
    train: tuple[Path, int], mount: Mount, cache_dir: Path
) -> None:
    """Two workers wait for one slow fetch; a third is started, and serves
    somebody else meanwhile.
    """
    with slow_source(train[0]) as source:
        mounted = mount(source.path, cache_dir=cache_dir, cache_size=PLENTY, workers=8)
        images = files(mounted.root / "train")
        local = images[-1]
        _read(local)
        source.fault("hang", "read")
        with ThreadPool(6) as pool:
            slow = pool.map_async(_read, [images[0]] * 6)
            assert until(source.hanging)
            _read(local)  # else it hangs, as they do
            assert source.hanging()
            assert not slow.ready()
            source.clear()
            assert len(set(slow.get(HANG_SECONDS))) == 1


def _has_staged(mounted: Mounted) -> bool:
    return "staged ILSVRC2012/train" in mounted.log.read_text()


def _rate(paths: list[Path], seconds: float) -> float:
    """Images a second that four processes read, until the time is over or
    each has read its share.
    """
    with multiprocessing.get_context("fork").Pool(4) as pool:
        parts = [(paths[n::4], seconds) for n in range(4)]
        return sum(pool.starmap(_reads, parts))


def _reads(paths: list[Path], seconds: float) -> float:
    begun, done = time.monotonic(), 0
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            file.read()
        done += 1
        if time.monotonic() - begun > seconds:
            break
    return done / (time.monotonic() - begun)


@pytest.mark.timeout(240)
def test_staging_beside_four_readers(train: tuple[Path, int], mount: Mount, tmp_path: Path) -> None:
    """It comes to its end, and the readers read on. How fast is a figure of the benchmarks."""
    rates: dict[bool, list[float]] = {True: [], False: []}
    with slow_source(train[0], latency=0.001, bandwidth=100e6) as source:
        for turn in range(4):
            staged = turn % 2 == 1
            cache = tmp_path / f"cache{turn}"
            prepare(cache)
            stage = ["ILSVRC2012/train"] if staged else []
            mounted = mount(source.path, cache_dir=cache, cache_size=PLENTY, stage=stage)
            paths = files(mounted.root / "train")
            rates[staged].append(_rate(paths, 1.0))
            if staged:
                assert until(partial(_has_staged, mounted), HANG_SECONDS)
                before = mounted.source_bytes()
                epoch(paths, seed=1)
                assert mounted.source_bytes() == before
            mounted.close()
    beside = statistics.median(rates[True]) / statistics.median(rates[False])
    print(f"\nthe readers' rate beside the stager: {beside:.2f} of that without it")


@pytest.mark.expects_log("is not all staged: cannot read")
def test_staging_outlives_the_sources_trouble(
    train: tuple[Path, int], mount: Mount, cache_dir: Path
) -> None:
    """Said once, in a sentence; what was fetched is not fetched again."""
    quickly = {"imagenetfs.server.background_stager:_TRY_AGAIN_SECONDS": 0.2}
    size = (train[0] / TRAIN).stat().st_size
    with slow_source(train[0], bandwidth=40e6) as source:
        plan = {"cache_dir": cache_dir, "cache_size": PLENTY, "stage": ["ILSVRC2012/train"]}
        mounted = mount(source.path, constants=quickly, **plan)
        assert until(lambda: source.counters()["bytes"] > size // 4)
        source.fault("EIO", "read")
        assert until(
            lambda: "is not all staged: cannot read" in mounted.log.read_text(), HANG_SECONDS
        )
        source.clear()
        source.set(bandwidth=0)
        assert until(lambda: "staged ILSVRC2012/train" in mounted.log.read_text(), HANG_SECONDS)
        assert source.counters()["bytes"] < 1.1 * size
        log = mounted.log.read_text()
        assert log.count("is not all staged") == 1
        assert "Traceback" not in log
        paths = files(mounted.root / "train")
        before = mounted.source_bytes()
        epoch(paths, seed=1)
        assert mounted.source_bytes() == before
        mounted.close()  # before its source goes
