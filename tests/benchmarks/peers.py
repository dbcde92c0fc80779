"""The programs that imagenetfs is measured against: found, or installed, or left out with a reason.

ratarmount gets a virtual environment of its own in a cache directory; squashfuse and
squashfs-tools come from the distribution, and only where the user is root. The user's
environment is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

RATARMOUNT = "1.3.0"

_INSTALL_SECONDS = 300
_PACKAGES = {"squashfuse_ll": "squashfuse", "mksquashfs": "squashfs-tools"}


@dataclass(slots=True)
class Peers:
    """Where the programs are (None: not there), their versions, and why one is absent, by name."""

    ratarmount: Path | None = None
    squashfuse: Path | None = None
    mksquashfs: Path | None = None
    versions: dict[str, str] = field(default_factory=dict)
    absent: dict[str, str] = field(default_factory=dict)


def find_peers(*, install: bool) -> Peers:
    """All peers, installed first where they are missing and ``install`` allows it."""
    peers = Peers()
    _find_ratarmount(peers, install)
    _find_squashfuse(peers, install)
    return peers


def cache_directory() -> Path:
    """Where peers are installed."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "imagenetfs-bench"


def _find_ratarmount(peers: Peers, install: bool) -> None:
    place = cache_directory() / f"ratarmount-{RATARMOUNT}"
    program = place / "bin" / "ratarmount"
    done = place / "installed"
    if not done.exists() and install:
        shutil.rmtree(place, ignore_errors=True)
        why = _run([sys.executable, "-m", "venv", place]) or _run(
            [place / "bin" / "python", "-m", "pip", "install", "-q", f"ratarmount=={RATARMOUNT}"]
        )
        if why:
            peers.absent["ratarmount"] = f"it could not be installed ({why})"
            return
        done.touch()
    if done.exists():
        peers.ratarmount = program
        peers.versions["ratarmount"] = RATARMOUNT
    else:
        peers.absent["ratarmount"] = "it is not installed"


def _find_squashfuse(peers: Peers, install: bool) -> None:
    missing = [package for name, package in _PACKAGES.items() if not shutil.which(name)]
    if missing and install and os.geteuid() == 0 and shutil.which("apt-get"):
        _run(["apt-get", "update", "-q"])
        _run(["apt-get", "install", "-y", "-q", "--no-install-recommends", *missing])
        missing = [package for name, package in _PACKAGES.items() if not shutil.which(name)]
    if missing:
        peers.absent["squashfuse_ll"] = f"an administrator must install {' and '.join(missing)}"
        return
    peers.squashfuse = Path(shutil.which("squashfuse_ll") or "")
    peers.mksquashfs = Path(shutil.which("mksquashfs") or "")
    peers.versions["squashfuse_ll"] = _squashfuse_version(peers.squashfuse)


def _squashfuse_version(program: Path) -> str:
    """The version that stands in the first line of its help."""
    answer = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=30)
    words = (answer.stderr + answer.stdout).split()
    return words[1] if len(words) > 1 and words[0].startswith("squashfuse") else "unknown"


def _run(command: Sequence[str | Path]) -> str | None:
    """Run an installer quietly. Returns what went wrong, or None."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    try:
        answer = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_INSTALL_SECONDS,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {_INSTALL_SECONDS} s"
    except OSError as error:
        return str(error.strerror)
    if answer.returncode == 0:
        return None
    return (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
