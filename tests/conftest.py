"""One miniature source tree for all tests, everything in one directory, and nothing left behind.

Every process that a test starts inherits the environment set here: a private TMPDIR, cache, state and run
directory, and a marker. At the end the run fails if a mount, a marked process or a temporary file is left.
Two runs side by side share nothing.
"""

from __future__ import annotations

import compileall
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.helpers.mounts import Mounted, mounted, mounts_below, processes_marked, unmount_all

MARKER = "IMAGENETFS_TEST_RUN"

_base: Path | None = None

_CODE = [Path(__file__).parent, Path(__file__).parents[1] / "imagenetfs"]


def pytest_configure(config: pytest.Config) -> None:
    """Give the run a directory of its own, before anything is imported that looks at the environment."""
    global _base
    _base = Path(tempfile.mkdtemp(prefix="imagenetfs-test-"))
    _base.chmod(0o755)
    config.option.basetemp = str(_base / "pytest")
    for name in ("tmp", "cache", "config", "state", "run", "home"):
        (_base / name).mkdir(mode=0o700)
    os.environ.update(
        {
            MARKER: uuid.uuid4().hex,
            "TMPDIR": str(_base / "tmp"),
            "HOME": str(_base / "home"),
            "XDG_CACHE_HOME": str(_base / "cache"),
            "XDG_CONFIG_HOME": str(_base / "config"),
            "XDG_STATE_HOME": str(_base / "state"),
            "IMAGENETFS_RUN_DIR": str(_base / "run"),
            "IMAGENETFS_SITE_CONFIG": str(_base / "config" / "site.toml"),
            "TORCHINDUCTOR_CACHE_DIR": str(_base / "cache" / "torchinductor"),
        }
    )
    for name in [n for n in os.environ if n.startswith("SLURM_") or n == "IMAGENETFS_SOURCE"]:
        del os.environ[name]
    tempfile.tempdir = str(_base / "tmp")
    # The tests start hundreds of programs. Where PYTHONDONTWRITEBYTECODE is set, as in many containers, each of
    # them would compile 70 modules, and its server again.
    for directory in _CODE:
        compileall.compile_dir(directory, quiet=2)


@pytest.fixture(autouse=True)
def _same_working_directory() -> Iterator[None]:
    """A test that goes elsewhere comes back: those after it start programs by ``-m tests...``."""
    before = Path.cwd()
    yield
    after = Path.cwd()
    os.chdir(before)
    assert after == before


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run for whatever is left, then take it away."""
    assert _base is not None
    left = [f"mount: {path}" for path in mounts_below(_base)]
    left += [f"process: {line}" for line in processes_marked(MARKER, os.environ[MARKER])]
    left += [f"temporary file: {path}" for path in sorted((_base / "tmp").iterdir())]
    unmount_all(_base)
    tempfile.tempdir = None
    if left:
        print("\nleft behind by the tests:\n  " + "\n  ".join(left), file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    shutil.rmtree(_base, ignore_errors=True)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The miniature source tree, made once; read it, never write to it (see ``sample_copy``)."""
    from imagenetfs.sample import make_sample

    directory = tmp_path_factory.mktemp("source") / "imagenet"
    make_sample(directory)
    return directory


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
