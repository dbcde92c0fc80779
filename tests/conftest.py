"""The sample tree, and mounts of it. What holds for the run as a whole stands in the plugin."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagenetfs.system.patience import PATIENCE
from tests.helpers import forkserver
from tests.helpers.bench import Bench
from tests.helpers.forkserver import Constants
from tests.helpers.mounts import Mount, Mounted, mounted
from tests.helpers.user_bench import Make, There, places

_NUMBERS = itertools.count()

pytest_plugins = ["tests.helpers.pytest_plugin"]


@pytest.fixture(scope="session", autouse=True)
def _fork_server() -> Iterator[None]:
    """The process that forks the tests' programs starts with the first of them and ends with the
    run.
    """
    forkserver.at_first()
    yield
    forkserver.close_shared()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a command of its own: what root has waited for in others is none of it."""
    monkeypatch.setattr(PATIENCE, "_spent", deque())
    monkeypatch.setattr(PATIENCE, "_forgets", True)


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """A default index directory for each test, because the sample is the same file for all: an
    index of it that one test made would change what a command says in another.
    """
    base = os.environ["XDG_CACHE_HOME"]
    monkeypatch.setenv("XDG_CACHE_HOME", os.path.join(base, str(next(_NUMBERS))))


@pytest.fixture(scope="session")
def sample() -> Path:
    """The miniature source tree, made once a run; read it, never write to
    it (see ``sample_copy``).
    """
    from tests.helpers.pytest_plugin import shared_sample

    return shared_sample()


@pytest.fixture
def sample_copy(sample: Path, tmp_path: Path) -> Path:
    """A copy of ILSVRC2012 from the sample, to break."""
    copy = tmp_path / "imagenet"
    copy.mkdir()
    subprocess.run(["cp", "-a", sample / "ILSVRC2012", copy], check=True)  # half of shutil's cost
    return copy


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """``mount(source, **plan)`` mounts for the rest of the test."""
    started: list[Mounted] = []

    def start(source: Path, constants: Constants | None = None, **plan: object) -> Mounted:
        one = mounted(source, tmp_path / f"mnt{len(started)}", constants, **plan)
        started.append(one)
        return one

    try:
        yield start
    finally:
        for one in reversed(started):
            one.close()


@pytest.fixture
def sample_mount_here(sample: Path, mount: Mount) -> Mounted:
    """The sample, mounted for this test alone, to be ill-treated."""
    return mount(sample)


@pytest.fixture(scope="session")
def sample_mount(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """The sample, mounted once for all tests that only read it."""
    one = mounted(sample, tmp_path_factory.mktemp("mount") / "mnt")
    try:
        yield one
    finally:
        one.close()


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Bench]:
    """The command in this test's own directories; whatever a failed test leaves is cleaned up."""
    bench = Bench(tmp_path)
    try:
        yield bench
    finally:
        bench.clean_up()


@pytest.fixture
def make(tmp_path: Path, sample: Path) -> Iterator[Make]:
    """``make(user, broken={...}, member_of=[...])``: a bench of an ordinary user's, who can read
    the sample.
    """
    for closed in (tmp_path, tmp_path.parent, sample.parent):
        closed.chmod(0o755)
    yield from places(tmp_path)


@pytest.fixture
def ana(make: Make) -> There:
    """A bench of the user `ana`'s."""
    return make("ana")


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    """A prepared directory for the block cache."""
    from imagenetfs.cache.directory import prepare

    prepare(tmp_path / "cache")
    return tmp_path / "cache"
