"""The checks around the tests: planted leaks and warnings are seen, what a
run inherits has no effect.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.helpers.forkserver import REPOSITORY
from tests.helpers.isolation import MARKER

LEAKS = """
import mmap, os, subprocess, sys, threading
from pathlib import Path
import pytest

kept = []

def test_descriptor():
    kept.append(open("/etc/hostname"))

def test_memfd():
    kept.append(os.memfd_create("planted"))

def test_mapping():
    kept.append(mmap.mmap(-1, 4096))

def test_thread():
    threading.Thread(target=threading.Event().wait, args=(2.0,), name="planted-thread").start()

def test_process():
    kept.append(subprocess.Popen(["sleep", "30"]))
    Path("{pid}").write_text(str(kept[-1].pid))

def test_file():
    Path(os.environ["TMPDIR"], "planted-file").touch()

def test_shared_memory():
    Path("/dev/shm/imagenetfs-planted-{pid_name}").touch()

@pytest.mark.skipif(os.getuid() != 0, reason="only root may mount a tmpfs")
def test_mount(tmp_path):
    subprocess.run(["mount", "-t", "tmpfs", "planted", tmp_path], check=True)
"""

WARNINGS = """
import logging, os
from pathlib import Path
import pytest

def test_record():
    logging.getLogger("imagenetfs.planted").warning("planted record")

def test_fork():
    pid = os.fork()
    if pid == 0:
        logging.getLogger("imagenetfs.planted").error("planted in a child")
        os._exit(0)
    os.waitpid(pid, 0)

def test_server_log():
    log = Path(os.environ["XDG_STATE_HOME"], "imagenetfs", "x.log")
    log.parent.mkdir()
    log.write_text("2026-01-01 00:00:00,000 7 WARNING imagenetfs.x: planted in a log\\n")

@pytest.mark.expects_log("planted, and")
def test_expected():
    logging.getLogger("imagenetfs.planted").warning("planted, and expected")

def test_expected_by_fixture(expect_log):
    expect_log("expected too")
    logging.getLogger("imagenetfs.planted").warning("expected too")
"""

INHERITED = """
import locale, os, signal, sys, time

def test_state():
    for number in (signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD, signal.SIGUSR1):
        assert signal.getsignal(number) is signal.SIG_DFL, number
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()
    umask = os.umask(0o022)
    assert umask == 0o022
    assert os.environ["LANG"] == "C.UTF-8" and "LC_ALL" not in os.environ
    assert time.tzname == ("UTC", "UTC")
    assert os.path.isdir(os.environ["HOME"])
    named = ("PYTHON", "IMAGENETFS_SOURCE", "SLURM")
    assert not [name for name in os.environ if name.startswith(named)]
    for descriptor in (0, 1, 2):
        os.fstat(descriptor)
    assert sys.flags.ignore_environment
"""

SHARED_MEMORY = 'mount -t tmpfs own /dev/shm && exec "$@"'
"""A shell's words: a program with shared memory of its own."""


def run_pytest(
    directory: Path,
    text: str,
    *,
    before: Callable[[], None] | None = None,
    environ: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """A run of its own over one file, with the plugin of the real one."""
    (directory / "test_planted.py").write_text(text)
    words = [
        "-E",
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "tests.helpers.pytest_plugin",
    ]
    inherited = {"PATH": os.environ["PATH"], "IMAGENETFS_TEST_CHECK_LOGS": "1"}
    # Another run must not find what is planted: /dev/shm is the machine's.
    alone = ["unshare", "-m", "sh", "-c", SHARED_MEMORY, "sh"] if os.getuid() == 0 else []
    return subprocess.run(
        [*alone, sys.executable, *words, "--rootdir", directory, "-c", os.devnull, directory],
        cwd=REPOSITORY,
        env={**inherited, **({} if environ is None else environ)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
        check=False,
        preexec_fn=before,
    )


@pytest.mark.slow
def test_planted_leaks_are_seen(tmp_path: Path) -> None:
    pid, name = tmp_path / "pid", f"{os.environ[MARKER]}"
    shared = Path(f"/dev/shm/imagenetfs-planted-{name}")
    try:
        done = run_pytest(tmp_path, LEAKS.format(pid=pid, pid_name=name))
    finally:
        shared.unlink(missing_ok=True)
        if pid.exists():
            os.kill(int(pid.read_text()), signal.SIGKILL)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    said = done.stdout.partition("left behind by the tests:")[2]
    expected = [
        "test_descriptor",
        "memfd:planted",
        "shared mapping: /dev/zero",
        "thread: planted-thread",
    ]
    expected += ["process: ", "planted-file", shared.name]
    expected += ["mount: "] if os.getuid() == 0 else []
    assert [what for what in expected if what not in said] == []
    assert "test_planted.py::test_memfd" in said


@pytest.mark.slow
def test_planted_warnings_are_seen(tmp_path: Path) -> None:
    done = run_pytest(tmp_path, WARNINGS)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    for sentence in ("planted record", "planted in a child", "planted in a log"):
        assert f"{sentence}\n" in done.stdout
    assert "and expected" not in done.stdout
    assert "expected too" not in done.stdout
    assert "3 errors" in done.stdout


@pytest.mark.slow
def test_what_a_run_inherits_has_no_effect(tmp_path: Path) -> None:
    def spoil() -> None:
        for number in (
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGQUIT,
            signal.SIGTERM,
            signal.SIGCHLD,
        ):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGALRM})
        os.umask(0o077)

    spoilt = {
        "LC_ALL": "de_DE.ISO-8859-1",
        "TZ": "Asia/Kathmandu",
        "HOME": "/nonexistent",
        "PYTHONPATH": "/nonexistent",
        "PYTHONWARNINGS": "error",
        "PYTHONDONTWRITEBYTECODE": "1",
        "IMAGENETFS_SOURCE": "/nonexistent",
        "SLURM_JOB_ID": "7",
    }
    done = run_pytest(tmp_path, INHERITED, before=spoil, environ=spoilt)
    assert done.returncode == 0, done.stdout
