"""The sample tree, and mounts of it. What holds for the run as a whole stands in the plugin."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import Mounted, mounted

pytest_plugins = ["tests.helpers.pytest_plugin"]


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
    shutil.copytree(sample / "ILSVRC2012", copy / "ILSVRC2012", symlinks=True)
    return copy


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[..., Mounted]]:
    """``mount(source, **plan)`` mounts for the rest of the test."""
    started: list[Mounted] = []

    def start(source: Path, **plan: object) -> Mounted:
        one = mounted(source, tmp_path / f"mnt{len(started)}", **plan)
        started.append(one)
        return one

    try:
        yield start
    finally:
        for one in reversed(started):
            one.close()


@pytest.fixture
def sample_mount_here(sample: Path, mount: Callable[..., Mounted]) -> Mounted:
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
