"""What status says limits the readers: a slow source, a slow reader, a slow disk of the cache.

IMAGENETFS_TEST_LIMITS=10 makes so many looks at each, with other readers every time and the
samples of the product, and every look has to be right.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagenetfs.cache.directory import prepare
from imagenetfs.fuse.status_files import NOW_SECONDS
from tests.helpers.bench import until
from tests.helpers.cache import PLENTY, epoch, files, make_train
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import slow_source
from tests.helpers.randomness import seeded

QUICK = {"imagenetfs.server.activity_recorder:SAMPLE_SECONDS": 0.2}
"""A supervisor that takes a sample five times a second: what it says of now is of one second."""

LOOKS = 3

ROUNDS = int(os.environ.get("IMAGENETFS_TEST_LIMITS", "0"))

long_form = pytest.mark.skipif(not ROUNDS, reason="by the long form")


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("train")
    make_train(source, classes=12 if ROUNDS else 2, images=100)  # no round shall read any twice
    return source


@contextlib.contextmanager
def reading(paths: list[Path], *, readers: int = 2, pause: float = 0.0) -> Iterator[None]:
    """Readers that go through these images, past the page cache, with a pause after each."""
    over = threading.Event()

    def read(seed: int) -> None:
        choose = random.Random(seed)
        while not over.is_set():
            for path in choose.sample(paths, len(paths)):  # two at one image are one to the mount
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


@pytest.fixture(scope="module")
def slow_calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is preloaded into a server whose cache lies on a slow disk."""
    compiler, library = shutil.which("gcc"), tmp_path_factory.mktemp("slow") / "faults.so"
    if compiler is None:
        pytest.skip("no gcc to compile what makes calls slow")
    code = Path(__file__).with_name("faults.c")
    options = ["-shared", "-fPIC", "-O2", "-o"]
    subprocess.run([compiler, *options, library, code, "-ldl"], check=True)
    return library


def on_slow_disk(library: Path, cache: Path, switch: Path, milliseconds: int) -> dict[str, str]:
    """The environment of a server whose calls on ``cache`` take so long while ``switch`` is
    there.
    """
    facts = {"DIRECTORY": cache, "SWITCH": switch, "CALLS": "rw", "EVERY": 1}
    facts |= {"MICROSECONDS": 1000 * milliseconds}
    preloaded = {"LD_PRELOAD": os.fspath(library)}
    return preloaded | {f"FAULT_{name}": str(value) for name, value in facts.items()}


@pytest.mark.timeout(120)
def test_a_slow_disk_of_the_cache(
    train: Path, mount: Mount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slow_calls: Path
) -> None:
    cache, switch = tmp_path / "cache", tmp_path / "slow"
    prepare(cache)
    with monkeypatch.context() as environ:
        for name, value in on_slow_disk(slow_calls, cache, switch, 50).items():
            environ.setenv(name, value)
        mounted = mount(train, cache_dir=cache, cache_size=PLENTY)
    paths = files(mounted.root / "train")
    epoch(paths, seed=1)
    switch.touch()
    with reading(paths):
        assert until(lambda: limits(mounted) == ["cache_disk"] * LOOKS)


# --- the long form --------------------------------------------------------------------------------


def look_at(mounted: Mounted, *, readers: int, pause: float = 0.0) -> str:
    """What the limit is while so many read, once all that status looks at is of their time."""
    paths = files(mounted.root / "train")
    with reading(paths, readers=readers, pause=pause):
        for _ in range(NOW_SECONDS + 2):
            seen = mounted.status()["now"]
            assert until(lambda seen=seen: mounted.status()["now"] != seen)  # type: ignore[misc]
        status = mounted.status()
    print(f"{readers} readers, pause {pause} s: {status['limit']['sentence']}; {status['now']}")
    limit: str = status["limit"]["by"]
    return limit


@long_form
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_throttled_source_is_named(train: Path, mount: Mount, tmp_path: Path, turn: int) -> None:
    """By its latency or its bandwidth; without a cache, and while one is filled."""
    choose = seeded("source", turn)
    throttle = [{"latency": choose.choice([0.05, 0.1, 0.3])}, {"bandwidth": 1e6}][turn % 2]
    cache = {"cache_dir": tmp_path / "cache", "cache_size": PLENTY} if turn % 4 == 3 else {}
    if cache:
        prepare(tmp_path / "cache")
    with slow_source(train) as source:
        mounted = mount(source.path, **cache)
        source.set(**throttle)
        assert look_at(mounted, readers=choose.choice([1, 2, 4])) == "source", throttle
        mounted.close()


@long_form
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_slow_reader_is_named(train: Path, mount: Mount, turn: int) -> None:
    """Whose own work takes five times as long as the source and more."""
    choose = seeded("reader", turn)
    with slow_source(train) as source:
        mounted = mount(source.path)
        source.set(latency=0.01 * (turn % 3))
        readers, pause = choose.choice([1, 2, 4]), choose.choice([0.2, 0.4])
        assert look_at(mounted, readers=readers, pause=pause) == "readers"
        mounted.close()


@long_form
@pytest.mark.parametrize("turn", range(ROUNDS))
def test_a_slow_disk_of_the_cache_is_named(
    train: Path,
    mount: Mount,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    slow_calls: Path,
    turn: int,
) -> None:
    """When the cache answers, and while it is filled."""
    choose, cache, switch = seeded("disk", turn), tmp_path / "cache", tmp_path / "slow"
    prepare(cache)
    with monkeypatch.context() as environ:
        slowness = choose.choice([10, 50, 100])
        for name, value in on_slow_disk(slow_calls, cache, switch, slowness).items():
            environ.setenv(name, value)
        mounted = mount(train, cache_dir=cache, cache_size=PLENTY)
    if turn % 2:
        epoch(files(mounted.root / "train"), seed=1)
    switch.touch()
    assert look_at(mounted, readers=choose.choice([1, 2, 4])) == "cache_disk"
    mounted.close()
