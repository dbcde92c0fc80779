"""What a test run inherits, put right: the same process state whoever starts it, and from wherever.

:func:`normalise_process` is for the test process itself, before anything else is imported;
:func:`environment` is what it and its children see. Nothing else of the
caller's environment counts.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import resource
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

MARKER = "IMAGENETFS_TEST_RUN"
"""A variable with the run's identity, in the environment of every process that the run starts."""

BASE = "IMAGENETFS_TEST_BASE"
"""A variable with the run's directory: set by the controller, read by pytest-xdist's workers."""

_KEPT = ("PATH", "TMPDIR", "VIRTUAL_ENV")
_KEPT_PREFIXES = ("IMAGENETFS_TEST_", "PYTEST_", "COVERAGE_", "HYPOTHESIS_")
_SYSTEM_PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
_DESCRIPTORS = 4096
_PYTHONS = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by every Python: a write then fails with EPIPE or EFBIG."""


def normalise_process() -> None:
    """Default signals, none blocked; umask 022; open standard streams; soft limits raised."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        # What was inherited as ignored is inherited by every child again. Handlers are ours.
        if signal.getsignal(number) is signal.SIG_IGN and number not in _PYTHONS:
            with contextlib.suppress(OSError, ValueError):
                signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DESCRIPTORS if hard == resource.RLIM_INFINITY else min(_DESCRIPTORS, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    sys.dont_write_bytecode = False


def environment(inherited: Mapping[str, str], base: Path, own: Path) -> dict[str, str]:
    """The whole environment of a test process and of what it starts.

    ``base`` is the run's directory, ``own`` this process's part of it.
    """
    kept = {
        name: value
        for name, value in inherited.items()
        if name in _KEPT or name.startswith(_KEPT_PREFIXES)
    }
    there = kept.get("PATH", "").split(os.pathsep)
    kept["PATH"] = os.pathsep.join(
        [p for p in there if p] + [p for p in _SYSTEM_PATH if p not in there]
    )
    return {
        **kept,
        BASE: str(base),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "TERM": "xterm",
        "OPENBLAS_NUM_THREADS": "1",  # as the commands have it, also where they run in this process
        "USER": _user(),
        "TMPDIR": str(own / "tmp"),
        "HOME": str(own / "home"),
        "XDG_CACHE_HOME": str(own / "cache"),
        "XDG_CONFIG_HOME": str(own / "config"),
        "XDG_STATE_HOME": str(own / "state"),
        "IMAGENETFS_RUN_DIR": str(own / "run"),
        "IMAGENETFS_SITE_CONFIG": str(own / "config" / "site.toml"),
        "TORCHINDUCTOR_CACHE_DIR": str(own / "cache" / "torchinductor"),
    }


def replace_environment(new: Mapping[str, str]) -> None:
    """Make ``new`` the environment of this process."""
    for name in set(os.environ) - set(new):
        del os.environ[name]
    os.environ.update(new)
    time.tzset()


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
