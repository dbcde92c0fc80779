"""The test run as a whole: what it inherits, how it is spread, and that it leaves nothing behind.

The process that controls the run makes a directory for it; each test process, of which
pytest-xdist starts several, has a part of its own in it: TMPDIR, HOME, cache, state and run
directory. At the end the run fails for whatever is left (see tests.helpers.leaks). Two runs
side by side share nothing.
"""

from __future__ import annotations

import compileall
import contextlib
import fcntl
import functools
import gc
import logging
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers import isolation, log_watch, scratch
from tests.helpers.isolation import BASE, MARKER
from tests.helpers.leaks import Held, left_on_machine, shared_memory
from tests.helpers.mounts import unmount_all

_REPOSITORY = Path(__file__).parents[2]
_CODE = [_REPOSITORY / "tests", _REPOSITORY / "imagenetfs"]
_DIRECTORIES = ("tmp", "cache", "config", "state", "run", "home")

_ORDER = ("jobs", "benchmarks", "mount", "faults", "nfs", "cache", "loaders", "ci", "lint", "unit")
"""Folders in the order in which their tests begin: long ones first, so that
none is alone at the end.
"""

_LARGEST_RUN = 8

_CURRENT = "PYTEST_CURRENT_TEST"
"""Pytest's own variable, which it sets anew for each phase of a test."""

_CHECK_LOGS = os.environ.get("IMAGENETFS_TEST_CHECK_LOGS") != "0"

_run: Run | None = None


class Run:
    """This process's part of a test run."""

    def __init__(self, config: pytest.Config) -> None:
        self.is_worker = hasattr(config, "workerinput")
        self.is_controller = not self.is_worker
        self.shared_before = shared_memory()
        self.has_own_file_system = False
        if self.is_worker:
            self.base = Path(os.environ[BASE])
        else:
            # A run that a test starts has its place within that of the test.
            is_within_another = BASE in os.environ
            self.base = Path(tempfile.mkdtemp(prefix="imagenetfs-test-"))
            self.has_own_file_system = not is_within_another and scratch.mount_own(self.base)
            self.base.chmod(0o755)
            os.environ[MARKER] = uuid.uuid4().hex
        self.own = self.base / os.environ.get("PYTEST_XDIST_WORKER", "main")
        self.own.mkdir(mode=0o755)
        for name in _DIRECTORIES:
            (self.own / name).mkdir(mode=0o700)
        isolation.replace_environment(isolation.environment(os.environ, self.base, self.own))
        tempfile.tempdir = str(self.own / "tmp")
        config.option.basetemp = str(self.own / "pytest")
        log_watch.watch(self.own / "state")
        log_watch.watch(self.own / "records.log")
        logging.getLogger("imagenetfs").addHandler(log_watch.Handler(self.own / "records.log"))
        self.held = Held()
        self.leaks: list[str] = []


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Give the run its directory, before anything is imported that looks at the environment."""
    global _run
    config.addinivalue_line("markers", "expects_log(*regex): lines of our logs that may appear")
    config.addinivalue_line("markers", "spread: each test may run in another process")
    config.addinivalue_line("markers", "slow: a unit test that `make quick` leaves to `make test`")
    isolation.normalise_process()
    _run = Run(config)
    if _run.is_controller:
        # The tests start hundreds of programs, and each would compile 70
        # modules, and its server again.
        for directory in _CODE:
            compileall.compile_dir(directory, quiet=2)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two a CPU: the tests wait most of their time, for mounts, signals and deadlines. With ``-n
    logical``, for unit tests, one: each collects all of them.
    """
    each = 1 if config.option.numprocesses == "logical" else 2
    return min(each * len(os.sched_getaffinity(0)), _LARGEST_RUN)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """A file's tests run in one process, and share its fixtures, but for those of a file that is
    marked ``spread``: it is long, and has no fixtures worth sharing.

    (xdist's own groups change an item's ``_nodeid``, which pytest 9.2 does not look at: each test
    ran anywhere, and there were four clusters of Slurm in a run.)
    """
    from xdist.scheduler import LoadScopeScheduling

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = _scope
    return scheduler


def _scope(nodeid: str) -> str:
    path = nodeid.partition("::")[0]
    return nodeid if _is_spread(path) else path


@functools.cache
def _is_spread(path: str) -> bool:
    # The process that hands out the tests does not import them.
    return "pytest.mark.spread" in (_REPOSITORY / path).read_text()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long folders come first."""

    def rank(item: pytest.Item) -> int:
        folder = item.nodeid.removeprefix("tests/").partition("/")[0]
        return _ORDER.index(folder) if folder in _ORDER else len(_ORDER)

    items.sort(key=rank)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """Collect the tests; the garbage collector, which would look through all of them time and
    again, waits.

    Where pytest has not yet kept its own form of most test modules, one process makes it for
    the others: to compile them takes 15 s of a CPU.
    """
    gc.disable()
    if _run is None or not _run.is_worker:
        return (yield)
    with (_run.base / "collection.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _are_compiled():
            return (yield)
    return (yield)


def _are_compiled() -> bool:
    modules = list((_REPOSITORY / "tests").rglob("test_*.py"))
    kept = sum(1 for _ in (_REPOSITORY / "tests").rglob(f"test_*-pytest-{pytest.__version__}.pyc"))
    return kept > len(modules) // 2


def pytest_collection_finish() -> None:
    """The thousands of tests, and the modules, are looked through by no later collection.

    A full collection takes a second with them, in each of the test processes and their forks.
    """
    gc.enable()
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, Any, Any]:
    """Note which test left a descriptor or a shared mapping."""
    result = yield
    if _run is not None:
        _run.held.note(item.nodeid)
        if nextitem is None or nextitem.nodeid.partition("::")[0] != item.nodeid.partition("::")[0]:
            _run.held.note_mappings(item.nodeid)
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that passed fails for a warning in a log of ours that it did not expect."""
    report = yield
    if call.when == "teardown":
        marked: list[str] = [p for mark in item.iter_markers("expects_log") for p in mark.args]
        expected = item.stash.get(_EXPECTED, [])
        lines = log_watch.unexpected(log_watch.new_lines(), [*marked, *expected])
        if lines and report.passed and _CHECK_LOGS:
            report.outcome = "failed"
            report.longrepr = "unexpected in a log of ours:\n  " + "\n  ".join(lines[:20])
    # File names that are no text are logged with surrogates, which a worker cannot send.
    report.sections = [(_printable(name), _printable(text)) for name, text in report.sections]
    return report


def _printable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()


_EXPECTED = pytest.StashKey[list[str]]()


@pytest.fixture
def expect_log(request: pytest.FixtureRequest) -> Callable[..., None]:
    """``expect_log("regex", ...)``: lines that may appear in a log of ours during this test."""

    def expect(*patterns: str) -> None:
        request.node.stash.setdefault(_EXPECTED, []).extend(patterns)

    return expect


@pytest.fixture(autouse=True)
def _same_process_state() -> Iterator[None]:
    """A test that changes the working directory, umask or signal mask comes back, and with it the
    environment, which some of the product's commands change where they run in this process.
    """
    import signal

    directory, environ = Path.cwd(), dict(os.environ)
    yield
    now = dict(os.environ)
    before = {**environ, _CURRENT: now.get(_CURRENT, "")}
    if now != before:
        isolation.replace_environment(before)
    after, umask = Path.cwd(), os.umask(0o022)
    mask = signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.chdir(directory)
    assert (after, umask, mask) == (directory, 0o022, set())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker found left."""
    if _run is not None:
        _run.leaks += getattr(node, "workeroutput", {}).get("leaks", [])


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail the run for whatever is left, then take it away."""
    assert _run is not None
    _run.leaks += _run.held.left()
    if _run.is_worker:
        leaks = [_printable(leak) for leak in _run.leaks]
        session.config.workeroutput["leaks"] = leaks  # type: ignore[attr-defined]
        return
    _run.leaks += left_on_machine(_run.base, _run.shared_before)
    _run.leaks += _changed_sample(_run.base)
    for directory in _run.base.iterdir():
        unmount_all(directory)
    tempfile.tempdir = None
    if _run.leaks:
        print("\nleft behind by the tests:\n  " + "\n  ".join(_run.leaks), file=sys.stderr)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if _run.has_own_file_system:
        scratch.unmount_own(_run.base)
    shutil.rmtree(_run.base, ignore_errors=True)


def shared_sample() -> Path:
    """The miniature source tree of this run, made by the process that comes first."""
    assert _run is not None
    from imagenetfs.sample import make_sample

    directory = _run.base / "source"
    with (_run.base / "source.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (done := _run.base / "source.state").exists():
            make_sample(directory / "imagenet")
            done.write_text(_state_of(directory))
    return directory / "imagenet"


def _state_of(directory: Path) -> str:
    """Every file's path, size and time of change, a line each."""
    lines = []
    for path in sorted(directory.rglob("*")):
        with contextlib.suppress(OSError):
            status = path.lstat()
            lines.append(f"{path} {status.st_mode:o} {status.st_size} {status.st_mtime_ns}")
    return "\n".join(lines)


def _changed_sample(base: Path) -> list[str]:
    if not (base / "source.state").exists():
        return []
    before = set((base / "source.state").read_text().splitlines())
    after = set(_state_of(base / "source").splitlines())
    return [
        f"changed in the shared sample: {line.split(' ')[0]}" for line in sorted(before ^ after)
    ]
