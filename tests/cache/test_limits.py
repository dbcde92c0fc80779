"""What status says limits the readers: a slow source, a slow reader, a slow disk of the cache."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cache.directory import prepare
from tests.helpers.bench import until
from tests.helpers.cache import PLENTY, epoch, files, make_train
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import slow_source

QUICK = {"imagenetfs.server.activity_recorder:SAMPLE_SECONDS": 0.2}
"""A supervisor that takes a sample five times a second: what it says of now is of one second."""

LOOKS = 3


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("train")
    make_train(source, classes=2, images=100)
    return source


@contextlib.contextmanager
def reading(paths: list[Path], *, readers: int = 2, pause: float = 0.0) -> Iterator[None]:
    """Readers that go through these images, past the page cache, with a pause after each."""
    over = threading.Event()

    def read(seed: int) -> None:
        while not over.is_set():
            for path in paths:
                epoch([path], seed)
                if over.wait(pause):
                    return

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(readers)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def limits(mounted: Mounted) -> list[str]:
    """What the limit is, in looks with other samples each, once all they see is of now."""
    begin = seen = _samples(mounted)
    assert until(lambda: _samples(mounted) >= begin + 7)
    found = []
    for _ in range(LOOKS):
        seen = _samples(mounted)
        assert until(lambda seen=seen: _samples(mounted) > seen)  # type: ignore[misc]
        found.append(mounted.status()["limit"]["by"])
    return found


def _samples(mounted: Mounted) -> int:
    return len(mounted.status()["history"]["images_per_second"])


def test_a_slow_source(train: Path, mount: Mount) -> None:
    with slow_source(train) as source:
        mounted = mount(source.path, QUICK)
        paths = files(mounted.root / "train")
        source.set(latency=0.1)
        with reading(paths):
            assert until(lambda: limits(mounted) == ["source"] * LOOKS)
            now: dict[str, Any] = mounted.status()["now"]
        assert 0.08 < now["median"] < 2, "to a factor of two, and more where others work too"
        assert now["source_requests"] > 0
        assert now["origins"]["source"] > 0.9


def test_a_slow_reader(train: Path, mount: Mount) -> None:
    mounted = mount(train, QUICK)
    with reading(files(mounted.root / "train"), readers=1, pause=0.2):
        assert until(lambda: limits(mounted) == ["readers"] * LOOKS)


@pytest.mark.timeout(120)
def test_a_slow_disk_of_the_cache(
    train: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler, library, cache = shutil.which("gcc"), tmp_path / "faults.so", tmp_path / "cache"
    if compiler is None:
        pytest.skip("no gcc to compile what makes calls slow")
    code = Path(__file__).with_name("faults.c")
    options = ["-shared", "-fPIC", "-O2", "-o"]
    subprocess.run([compiler, *options, library, code, "-ldl"], check=True)
    prepare(cache)
    switch = tmp_path / "slow"
    facts = {"DIRECTORY": cache, "SWITCH": switch, "CALLS": "rw", "EVERY": 1}
    with monkeypatch.context() as environ:
        environ.setenv("LD_PRELOAD", os.fspath(library))
        for name, value in {**facts, "MICROSECONDS": 50_000}.items():
            environ.setenv(f"FAULT_{name}", str(value))
        mounted = mount(train, cache_dir=cache, cache_size=PLENTY)
    paths = files(mounted.root / "train")
    epoch(paths, seed=1)
    switch.touch()
    with reading(paths):
        assert until(lambda: limits(mounted) == ["cache_disk"] * LOOKS)
