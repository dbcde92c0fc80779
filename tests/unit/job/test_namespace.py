"""A job's namespaced mount: which names are tried, which directory it lies in, who may enter.

How runs find one another by the names, and strangers: test_rendezvous.py.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from imagenetfs import config
from imagenetfs.errors import FuseUnavailableError, NotMountedError
from imagenetfs.job import namespace, preflight, rendezvous
from imagenetfs.job.mount_paths import MountPaths
from imagenetfs.job.rendezvous import NamespaceServer, RendezvousAddress, RendezvousListener
from imagenetfs.system import namespaces

HOST = NamespaceServer(4711, "/media", "/media/imagenet")
JOB = {"SLURM_JOB_ID": "77"}


def nothing(sentence: str) -> None:
    raise AssertionError(sentence)


# --- names ----------------------------------------------------------------------------------------


def addresses(source: Path, environ: dict[str, str], at: Path | None = None) -> list[Any]:
    return namespace._addresses(source, config.resolve(), at, environ)


def test_a_step_tries_its_own_name_and_then_its_jobs(tmp_path: Path) -> None:
    own, scripts = addresses(tmp_path, {**JOB, "SLURM_STEP_ID": "3"})
    [script] = addresses(tmp_path, JOB)
    assert scripts == script
    assert own != script and own.digest == script.digest


def test_what_is_mounted_otherwise_has_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [one] = addresses(tmp_path, JOB)
    (tmp_path / "link").symlink_to(tmp_path)
    assert addresses(tmp_path / "link", JOB) == [one]
    others = [addresses(tmp_path / "x", JOB), addresses(tmp_path, JOB, tmp_path / "at")]
    monkeypatch.setenv("IMAGENETFS_PREFER", "directories")
    others.append(addresses(tmp_path, JOB))
    monkeypatch.delenv("IMAGENETFS_PREFER")
    monkeypatch.setattr(os, "getegid", lambda: 12345)  # the kernel shows a mount to this one only
    others.append(addresses(tmp_path, JOB))
    digests = {one.digest, *(other.digest for [other] in others)}
    assert len(digests) == 5


@pytest.mark.parametrize(
    ("wanted", "fits"),
    [
        (None, True),
        ("77", True),
        ("77.3", True),
        ("77.3/aa", True),
        ("77.3/bb", False),
        ("7", False),  # of another job whose number begins so
        ("77.", False),
        ("77.33", False),
        ("", False),
    ],
)
def test_of_which_job_an_address_is(wanted: str | None, fits: bool) -> None:
    assert namespace._is_of(RendezvousAddress("77.3", "aa"), wanted) is fits


def test_jobs_are_named_with_a_digest_only_where_they_have_several() -> None:
    found = [RendezvousAddress("a", "1"), RendezvousAddress("b", "2"), RendezvousAddress("a", "3")]
    assert namespace._names(found) == ["a/1", "b", "a/3"]


# --- joining and making ---------------------------------------------------------------------------


class Made:
    """What is joined or started in the place of real namespaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.entered: list[int] = []
        self.used: list[tuple[MountPaths, bool]] = []
        self.error: OSError | None = None
        self.may_mount = True
        monkeypatch.setattr(preflight, "check_fuse", lambda needs_helper: None)
        monkeypatch.setattr(preflight, "check_source", lambda source: None)
        monkeypatch.setattr(namespaces, "enter_namespaces", self._enter)
        monkeypatch.setattr(namespaces, "may_mount", lambda: self.may_mount)
        monkeypatch.setattr(namespaces, "make_own", self._make)
        monkeypatch.setattr(namespaces, "mount_private", lambda root: None)
        monkeypatch.setattr(namespace, "join_or_start", self._join)

    def _enter(self, pid: int) -> None:
        self.entered.append(pid)
        if self.error is not None:
            raise self.error

    def _make(self) -> None:
        if self.error is not None:
            raise self.error

    def _join(
        self,
        paths: MountPaths,
        source: Path,
        settings: object,
        say: object,
        listener: object = None,
    ) -> str:
        self.used.append((paths, listener is not None))
        return "handle"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Made:
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    monkeypatch.setattr(namespace, "_QUIET_DIRECTORIES", (quiet,))
    return Made(monkeypatch)


@pytest.fixture
def environ() -> dict[str, str]:
    return {"SLURM_JOB_ID": f"test-{uuid.uuid4().hex}"}


@contextlib.contextmanager
def serving(address: RendezvousAddress) -> Iterator[None]:
    """A server that answers at a name."""
    listener = rendezvous.listen(address)
    assert listener is not None
    watcher, is_over = RendezvousListener(listener, HOST), threading.Event()

    def answer() -> None:
        while not is_over.wait(0.001):
            watcher.answer_waiting()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
        watcher.close()


def acquire(source: Path, environ: dict[str, str], say: Any = nothing) -> Any:
    return namespace.acquire(source, config.resolve(), None, environ, say)


def test_the_first_run_makes_one_and_answers_at_its_name(
    made: Made, tmp_path: Path, environ: dict[str, str]
) -> None:
    assert acquire(tmp_path, environ) == "handle"
    [(paths, has_listener)] = made.used
    assert has_listener
    assert paths.root == tmp_path / "quiet"
    assert (paths.mountpoint, paths.is_private) == (paths.root / "imagenet", True)
    assert made.entered == []


def test_the_next_one_joins_it(made: Made, tmp_path: Path, environ: dict[str, str]) -> None:
    [address] = addresses(tmp_path, environ)
    with serving(address):
        assert acquire(tmp_path, environ) == "handle"
    assert made.entered == [4711]
    assert made.used == [(MountPaths(Path("/media/imagenet"), Path("/media"), address.job), False)]


def test_what_may_not_be_joined_is_left_to_its_container(
    made: Made, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [address] = addresses(tmp_path, environ)
    made.error = PermissionError(1, "not ours")
    monkeypatch.setattr(namespaces, "make_own", lambda: None)
    with serving(address):
        assert acquire(tmp_path, environ) == "handle"
    assert made.entered == [4711]
    assert made.used == [
        (MountPaths(tmp_path / "quiet" / "imagenet", tmp_path / "quiet", address.job), False)
    ]


def test_what_ends_while_it_is_joined_is_made_anew(
    made: Made, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    [address] = addresses(tmp_path, environ)
    server = serving(address)
    server.__enter__()

    def gone(pid: int) -> None:
        server.__exit__(None, None, None)
        raise ProcessLookupError

    monkeypatch.setattr(namespaces, "enter_namespaces", gone)
    assert acquire(tmp_path, environ) == "handle"
    [(paths, has_listener)] = made.used
    assert (paths.root, has_listener) == (tmp_path / "quiet", True)


def test_a_node_that_lets_users_make_none_says_what_to_do(
    made: Made, tmp_path: Path, environ: dict[str, str]
) -> None:
    made.error = OSError(28, "No space left", "unshare")
    with pytest.raises(FuseUnavailableError) as caught:
        acquire(tmp_path, environ)
    assert "(unshare: No space left)" in str(caught.value)
    assert "user.max_user_namespaces" in str(caught.value)


def test_what_does_not_work_inside_is_said_once(
    made: Made, tmp_path: Path, environ: dict[str, str]
) -> None:
    said: list[str] = []
    made.may_mount = False
    acquire(tmp_path, environ, said.append)
    assert said == [namespace.SAID_ONCE]
    made.may_mount = True
    acquire(tmp_path, {"SLURM_JOB_ID": uuid.uuid4().hex}, nothing)


# --- entering -------------------------------------------------------------------------------------


@pytest.mark.parametrize("handle", [SimpleNamespace(), None])
def test_entering_by_the_jobs_name(
    made: Made, monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], handle: object
) -> None:
    job = environ["SLURM_JOB_ID"]
    monkeypatch.setattr(namespace, "_use", lambda paths, say: handle)
    with serving(RendezvousAddress(job, "0123456789abcdef")):
        for name, variables in ((job, {}), (None, environ)):
            if handle is not None:
                assert namespace.enter(name, variables, nothing) is handle
            else:
                with pytest.raises(NotMountedError, match=f"{job} could not be entered: it is end"):
                    namespace.enter(name, variables, nothing)
    assert made.entered == [4711, 4711]


def test_one_that_may_not_be_entered(made: Made, environ: dict[str, str]) -> None:
    job = environ["SLURM_JOB_ID"]
    for made.error in (PermissionError(), ProcessLookupError(), FileNotFoundError()):
        with serving(RendezvousAddress(job, "0123456789abcdef")), pytest.raises(NotMountedError):
            namespace.enter(job, {}, nothing)


def test_none_at_all() -> None:
    job = uuid.uuid4().hex
    with pytest.raises(NotMountedError, match=f"No namespace of the job {job} made by"):
        namespace.enter(job, {}, nothing)
    with pytest.raises(NotMountedError, match=f"of the job {job}"):
        namespace.enter(None, {"SLURM_JOB_ID": job}, nothing)


# --- where ----------------------------------------------------------------------------------------


def test_an_empty_directory_of_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("used", "free"):
        (tmp_path / name).mkdir()
    (tmp_path / "used" / "x").touch()
    (tmp_path / "link").symlink_to("free")
    candidates = [tmp_path / name for name in ("gone", "used", "link", "free")]
    monkeypatch.setattr(namespace, "_QUIET_DIRECTORIES", tuple(candidates))
    assert namespace._quiet_directory() == tmp_path / "free"
    monkeypatch.setattr(namespace, "_QUIET_DIRECTORIES", tuple(candidates[:3]))
    assert namespace._quiet_directory() is None


def test_where_there_is_none_the_usual_root_is_taken(
    made: Made, tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(namespace, "_QUIET_DIRECTORIES", ())
    monkeypatch.setenv("IMAGENETFS_RUN_DIR", str(tmp_path / "run"))
    acquire(tmp_path, environ)
    [(paths, _)] = made.used
    assert paths.root == tmp_path / "run"
    assert replace(paths, job="") == MountPaths(tmp_path / "run" / "imagenet", tmp_path / "run")
