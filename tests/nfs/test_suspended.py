"""Processes of a mount that are stopped: single workers, and all of them for a while."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from imagenetfs.system.process import is_stopped
from tests.helpers.bench import until
from tests.helpers.cache import make_train
from tests.helpers.children import children_of
from tests.helpers.imagenet_tars import train_images
from tests.helpers.mounts import Mount, Mounted
from tests.helpers.passthrough import slow_source

pytestmark = pytest.mark.timeout(180)

TRAIN = "ILSVRC2012_img_train.tar"
TIMEOUT = 20.0
"""Seconds; the mount's --read-timeout: a worker is overdue after 5.7."""

SUSPENDED = 8.0


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("imagenet")
    make_train(made, classes=3, images=8)
    return made


@pytest.fixture(scope="module")
def digests(directory: Path) -> dict[str, str]:
    """Path below train/ -> sha256 of its bytes, by Python's own tarfile."""
    images = train_images(directory / "ILSVRC2012" / TRAIN)
    return {name: hashlib.sha256(data).hexdigest() for name, data in images.items()}


class Digest:
    """Reads a file in a process of its own: this one must not wait for the mount."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            ["sha256sum", path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def result(self) -> str:
        """What it said, of an error too."""
        out, err = self._process.communicate(timeout=90)
        return out.partition(" ")[0] or err


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def processes(one: Mounted) -> list[int]:
    """The server and all its children."""
    pid = one.process.pid
    return [pid, *children_of(pid)]


def states(one: Mounted) -> dict[int, str]:
    return {worker["pid"]: worker["state"] for worker in one.status()["workers"]}


def silent(one: Mounted) -> list[int]:
    return sorted(pid for pid, state in states(one).items() if "does not answer: stopped" in state)


@pytest.mark.expects_log("is stopped and answers nothing; others serve beside it")
def test_readers_are_served_beside_stopped_workers(
    directory: Path, digests: dict[str, str], mount: Mount
) -> None:
    """S16: by workers that are started beside them; status says which ones do not answer."""
    one = mount(directory, read_timeout=TIMEOUT)
    first, second, *_ = digests
    asleep = one.worker_pids()
    with stopped(asleep):
        # One that has not stopped yet could still take a request, and keep it until it goes on.
        assert until(lambda: all(map(is_stopped, asleep)))
        assert Digest(one.root / "train" / first).result() == digests[first]
        assert until(lambda: silent(one) == sorted(asleep), 30.0), states(one)
    assert until(lambda: not any("stopped" in state for state in states(one).values()), 30.0)
    assert Digest(one.root / "train" / second).result() == digests[second]
    assert one.status()["worker_restarts"] == 0


def test_a_job_that_is_suspended_goes_on(
    directory: Path, digests: dict[str, str], mount: Mount
) -> None:
    """S20: a read that was under way, over a source that answers only afterwards."""
    with slow_source(directory, pages=True) as source:
        one = mount(source.path, read_timeout=TIMEOUT)
        name = max(digests)
        os.listdir((one.root / "train" / name).parent)
        assert until(lambda: "indexed " in one.log.read_text())
        source.fault("hang", ["read"])
        reader = Digest(one.root / "train" / name)
        assert until(lambda: any("source" in state for state in states(one).values()))
        with stopped(processes(one)):
            time.sleep(SUSPENDED)
        assert until(lambda: "deadlines are put off" in one.log.read_text())
        source.clear()
        assert reader.result() == digests[name]
        assert one.status()["worker_restarts"] == 0
        assert "is ended" not in one.log.read_text()
